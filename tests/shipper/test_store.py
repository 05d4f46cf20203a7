"""What is stored is stored once, whatever arrives again, and whatever goes wrong on the way."""

import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.shipper import store as stores
from support.shipper.positions import RefusedError
from support.shipper.source import Position
from support.shipper.store import DAY, Gap, Piece, Store, StoreError

NOON = 20_000 * DAY + DAY / 2  # of 2024-10-04
WEB1 = "web1.example.net"


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def new_store(tmp_path: Path, warnings: list[str]) -> Iterator[Callable[..., Store]]:
    """Makes a store below `tmp_path`; the one before it is closed."""
    made: list[Store] = []

    def make(output: str = "log-%Y%m%d", **more: int) -> Store:
        for each in made:
            each.close()
        made[:] = [Store(tmp_path, output=output, warn=warnings.append, **more)]
        return made[0]

    yield make
    for each in made:
        each.close()


def piece(
    data: bytes, start: int | None = 0, *, host: str = WEB1, source: str = "a", day: float = 0
) -> Piece:
    return Piece(host, source, start, data, NOON + day * DAY)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.glob("*/*") if path.is_file() and ".shipper" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


def test_a_host_has_its_file(tmp_path: Path, new_store: Callable[..., Store]) -> None:
    store = new_store()
    assert store.store([piece(b"one\n"), piece(b"two\n", host="db1"), piece(b"three\n", 4)]) == 14
    assert files(tmp_path) == {"db1/log-20241004": b"two\n", f"{WEB1}/log-20241004": b"one\nthree\n"}


def test_what_arrives_again_is_skipped_or_cut_to_its_new_part(
    tmp_path: Path, new_store: Callable[..., Store]
) -> None:
    store = new_store()
    store.store([piece(b"0123"), piece(b"0123"), piece(b"234567", 2)])
    store = new_store()
    assert store.store([piece(b"0123"), piece(b"45678", 4), piece(b"12", 1)]) == 1
    assert files(tmp_path) == {f"{WEB1}/log-20241004": b"012345678"}


def test_an_older_source_that_arrives_again_is_still_known(
    tmp_path: Path, new_store: Callable[..., Store]
) -> None:
    new_store().store([piece(b"a\n"), piece(b"b\n", source="b")])
    new_store().store([piece(b"a\n"), piece(b"b\n", source="b"), piece(b"c\n", 2, source="b")])
    assert files(tmp_path) == {f"{WEB1}/log-20241004": b"a\nb\nc\n"}


def test_messages_of_other_programs_are_known_by_their_sequence(
    tmp_path: Path, new_store: Callable[..., Store]
) -> None:
    numbered = [Piece(WEB1, "stream LOGS", None, b"x\n", NOON, number=number) for number in (7, 9, 7, 12)]
    new_store().store(numbered)
    new_store().store(numbered)
    assert files(tmp_path) == {f"{WEB1}/log-20241004": b"x\n" * 3}


def test_what_is_missing_is_written_down_and_reported(
    new_store: Callable[..., Store], warnings: list[str]
) -> None:
    store = new_store()
    store.store([piece(b"0123"), piece(b"89", 8)])
    after = Piece(WEB1, "b", 0, b"x", NOON, after=Position("a", 15))
    store.store([after, after])
    store = new_store()
    assert store.gaps() == [Gap(WEB1, "a", 4, 8), Gap(WEB1, "a", 10, 15)]
    assert warnings == [
        f"{WEB1}: bytes 4 to 8 of a never arrived",
        f"{WEB1}: bytes 10 to 15 of a never arrived",
    ]


def test_it_rotates_daily_at_the_end_of_a_line(tmp_path: Path, new_store: Callable[..., Store]) -> None:
    store = new_store()
    store.store([piece(b"one\ntw"), piece(b"o\n", 6, day=1), piece(b"three\n", 8, day=1)])
    store.store([piece(b"four\n", 14, day=0.5), piece(b"five\n", 19, day=0)])  # clocks differ
    assert files(tmp_path) == {
        f"{WEB1}/log-20241004": b"one\ntwo\n",
        f"{WEB1}/log-20241005": b"three\nfour\nfive\n",
    }


def test_a_clock_that_is_ahead_removes_nothing(
    tmp_path: Path, new_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    today = time.time() // DAY - NOON // DAY
    store = new_store()
    store.store([piece(b"x\n", host="web2", day=today)])
    store.store([piece(b"y\n", day=today + 400)])
    store.store([piece(b"z\n", 2, host="web2", day=today)])
    assert len(files(tmp_path)) == 2
    assert store.gaps() == []
    monkeypatch.setattr(stores.time, "time", lambda: NOON + (today + 12) * DAY)
    new_store().store([piece(b"w\n", 4, host="web2", day=today + 11)])
    assert len(files(tmp_path)) == 2, "and it does not keep all that is old, either"


def test_messages_of_other_programs_need_no_newline(tmp_path: Path, new_store: Callable[..., Store]) -> None:
    store = new_store(keep=3)
    for day in range(8):
        store.store([Piece(WEB1, "s", None, b"x", NOON + day * DAY, number=day + 1)])
    assert list(files(tmp_path)) == [f"{WEB1}/log-202410{day:02}" for day in (8, 9, 10, 11)]


def test_a_checkpoint_is_that_of_one_directory(tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = Store(tmp_path / "one", output="log", state=state)
    with pytest.raises(RefusedError, match="another consumer uses the checkpoint"):
        Store(tmp_path / "two", output="log", state=state)
    first.close()
    with pytest.raises(RefusedError, match=r"is that of .*one: give .*two a SHIPPER_STATE of its own"):
        Store(tmp_path / "two", output="log", state=state)


def test_a_source_that_is_missing_as_a_whole_is_reported(new_store: Callable[..., Store]) -> None:
    store = new_store()
    store.store([piece(b"one\n")])
    store.store([Piece(WEB1, "c", 0, b"three\n", NOON, after=Position("b", 4))])
    assert store.gaps() == [Gap(WEB1, "b", 0, 4)]


def test_a_host_that_was_silent_for_long_is_still_known(new_store: Callable[..., Store]) -> None:
    store = new_store()
    store.store([piece(b"one\n")])
    for day in range(60):
        store.store([piece(b"x\n", 2 * day, host="web2", day=day)])
    store.store([piece(b"two\n", 4, day=60)])
    assert store.gaps() == []


def test_up_to_where_all_is_stored_is_known_after_a_restart(new_store: Callable[..., Store]) -> None:
    store = new_store()
    assert store.reached("LOGS 0") is None
    store.store([piece(b"one\n")], ("LOGS 0", 7))
    assert new_store().reached("LOGS 0") == 7


def test_a_host_whose_place_is_taken_is_said(tmp_path: Path, new_store: Callable[..., Store]) -> None:
    store = new_store()
    (tmp_path / WEB1).touch()
    with pytest.raises(StoreError, match=r"file exists|not a directory"):
        store.store([piece(b"one\n")])


def test_files_are_kept_for_some_days(tmp_path: Path, new_store: Callable[..., Store]) -> None:
    store = new_store(keep=2)
    for day in range(6):
        store.store([piece(b"x\n", 2 * day, day=day)])
    (tmp_path / WEB1 / "not ours").touch()
    store = new_store(keep=2)
    store.store([piece(b"x\n", 12, day=6)])
    names = [f"{WEB1}/log-202410{day:02}" for day in (8, 9, 10)]
    assert list(files(tmp_path)) == [*names, f"{WEB1}/not ours"]


def test_a_second_store_on_the_same_directory_is_refused(
    tmp_path: Path, new_store: Callable[..., Store]
) -> None:
    new_store()
    with pytest.raises(RefusedError, match=f"another consumer writes to {tmp_path} already"):
        Store(tmp_path, output="log")
    with pytest.raises(RefusedError, match="another consumer"):
        Store(tmp_path, output="log", state=tmp_path / "elsewhere")


def test_a_file_that_was_there_is_kept(
    tmp_path: Path, new_store: Callable[..., Store], warnings: list[str]
) -> None:
    (tmp_path / WEB1).mkdir()
    (tmp_path / WEB1 / "log-20241004").write_bytes(b"precious\n")
    new_store().store([piece(b"one\n")])
    new_store()
    assert files(tmp_path) == {f"{WEB1}/log-20241004": b"precious\none\n"}
    assert "was there before" in warnings[0]


def test_a_file_that_somebody_cut_is_reported_and_gone_on_with(
    tmp_path: Path, new_store: Callable[..., Store], warnings: list[str]
) -> None:
    new_store().store([piece(b"one\ntwo\n")])
    os.truncate(tmp_path / WEB1 / "log-20241004", 4)
    new_store().store([piece(b"three\n", 8)])
    new_store()
    assert files(tmp_path) == {f"{WEB1}/log-20241004": b"one\nthree\n"}
    assert "4 of 8 bytes are left" in warnings[0]


@pytest.mark.parametrize("step", ["fsync", "commit", "note"])
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path, new_store: Callable[..., Store], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = new_store()
    store.store([piece(b"one\n")])
    before = files(tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    batch = [piece(b"two\n", 4), piece(b"x\n", host="db1"), piece(b"y\n", host="db2")]
    with monkeypatch.context() as patch:
        target = {
            "fsync": (stores.os, "fsync"),
            "commit": (store, "_commit"),
            "note": (store, "_note_new_files"),
        }
        patch.setattr(*target[step], full)
        with pytest.raises(StoreError, match="no space left on device"):
            store.store(batch)
    assert files(tmp_path) == before
    assert store.store(batch) == 8
    assert files(tmp_path)[f"{WEB1}/log-20241004"] == b"one\ntwo\n"


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A limit of the process on the size of a file stands in for the disk; the error is the system's."""
    code = f"""
import resource
from support.shipper.store import Store, StoreError
from test_store import files, piece
from pathlib import Path
folder = Path({str(tmp_path)!r})
store = Store(folder, output="log")
store.store([piece(b"one\\n")])
before = files(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for attempt in range(3):
    try:
        store.store([piece(b"x" * 300_000 + b"\\n", 4), piece(b"y\\n", host="db1")])
    except StoreError as error:
        assert "too large" in str(error), error
    else:
        raise SystemExit("it was stored")
    assert files(folder) == before, files(folder).keys()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.store([piece(b"x" * 300_000 + b"\\n", 4), piece(b"y\\n", host="db1")]) == 300_003
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30
    )
    assert run.returncode == 0, run.stderr


DIE = """
import os, sys
from pathlib import Path
from support.shipper import store as stores
from test_store import piece

left = int(sys.argv[2])
def dying(real):
    def call(*args, **more):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*args, **more)
    return call

# Each place where a power cut or SIGKILL could fall: before and after a write, a sync, a transaction.
stores.os.fsync = dying(os.fsync)
stores.Store._commit = dying(stores.Store._commit)
stores.Store._note_new_files = dying(stores.Store._note_new_files)
stores.Store._append = dying(stores.Store._append)
store = stores.Store(Path(sys.argv[1]), output="log-%Y%m%d")
for start in range(0, 40, 4):
    day = start // 20
    store.store([piece(b"%03d\\n" % start, start, host=host, day=day) for host in ("web1", "web2")])
    print(start, flush=True)
"""


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 7, 11, 23, 40, 41, 42])
def test_a_program_killed_at_any_step_goes_on_where_it_was(
    tmp_path: Path, new_store: Callable[..., Store], steps: int
) -> None:
    command = [sys.executable, "-c", DIE, str(tmp_path), str(steps)]
    run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=30)
    assert run.returncode == 9, run.stderr
    done = len(run.stdout.split())
    store = new_store()
    expected = b"".join(b"%03d\n" % start for start in range(0, 40, 4))
    kept = files(tmp_path)
    for host in ("web1", "web2"):
        stored = b"".join(data for name, data in kept.items() if name.startswith(host))
        assert stored in (expected[: 4 * done], expected[: 4 * done + 4]), "cut back to a checkpoint"
    for start in range(0, 40, 4):  # all of it comes again
        pieces = [piece(b"%03d\n" % start, start, host=host, day=start // 20) for host in ("web1", "web2")]
        store.store(pieces)
    kept = files(tmp_path)
    for host in ("web1", "web2"):
        assert b"".join(data for name, data in kept.items() if name.startswith(host)) == expected
    assert store.gaps() == []


@given(
    cuts=st.lists(st.integers(0, 60), max_size=12),
    again=st.lists(st.integers(0, 12), max_size=6),
    batches=st.integers(1, 5),
    data=st.binary(min_size=60, max_size=60),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cutting_with_any_repetition_yields_the_same_bytes(
    cuts: list[int], again: list[int], batches: int, data: bytes
) -> None:
    places = sorted({0, 60, *cuts})
    pieces = [piece(data[a:b], a, day=a // 20) for a, b in pairwise(places)]
    for number in again:  # delivered again: some pieces once more, before the rest
        place = number % len(pieces) + 1
        pieces[place:place] = pieces[max(0, place - 4) : place]
    with tempfile.TemporaryDirectory() as folder:
        seen = 0
        store = Store(Path(folder), output="log-%Y%m%d")
        try:
            for number in range(batches):
                part = pieces[number * len(pieces) // batches : (number + 1) * len(pieces) // batches]
                seen += store.store(part)
        finally:
            store.close()
        assert b"".join(files(Path(folder)).values()) == data
        assert seen == 60


def test_many_hosts_need_few_file_handles(tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from support.shipper.store import Store
from test_store import piece
store = Store(Path({str(tmp_path)!r}), output="log")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
assert store.store([piece(b"x\\n", host=f"web{{number}}") for number in range(1000)]) == 2000
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
    assert len(files(tmp_path)) == 1000
