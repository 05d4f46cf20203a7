"""Whatever happens to a log file, its bytes come out once, in order, in whole lines."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.shipper import positions
from support.shipper import tail as tails
from support.shipper.positions import Positions
from support.shipper.source import Batch, Position
from support.shipper.tail import Tail


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A renamed file is left as soon as it is read to its end."""
    monkeypatch.setattr(tails, "GRACE", -1.0)


class Log:
    """A log file, all that was ever written to it, and all that was read from it."""

    def __init__(self, folder: Path, *, size: int = 64, lines: bool = False) -> None:
        self.path, self.size, self.lines = folder / "app.log", size, lines
        self.written = bytearray()
        self.batches: list[Batch] = []
        self.warnings: list[str] = []
        self.start()

    def start(self) -> None:
        """As the producer does: positions from the disk, and on from the last message in the stream."""
        self.positions = Positions.load(self.path.with_name("positions.json"))
        self.tail = Tail(
            self.path, self.positions, size=self.size, lines=self.lines, warn=self.warnings.append
        )
        if self.batches:
            self.tail.seek(self.batches[-1].position)
        elif self.positions.sources:
            self.tail.seek(self.positions.sources[-1].position)

    def restart(self) -> None:
        self.tail.close()
        self.start()

    def write(self, data: bytes) -> None:
        self.written += data
        with self.path.open("ab") as file:
            file.write(data)

    def read(self, *, final: bool = False) -> None:
        while batch := self.tail.read(final=final):
            self.batches.append(batch)
            self.positions.reach(batch.position)

    def _shift(self) -> Path:
        """Make room for a new app.log.1."""
        for number in range(8, 0, -1):
            old = self.path.with_name(f"app.log.{number}")
            if old.exists():
                old.rename(self.path.with_name(f"app.log.{number + 1}"))
        return self.path.with_name("app.log.1")

    def rotate(self) -> None:
        if self.path.exists():
            self.path.rename(self._shift())
        self.path.touch()

    def cut(self) -> None:
        """As logrotate's copytruncate."""
        if self.path.exists():
            shutil.copyfile(self.path, self._shift())
            os.truncate(self.path, 0)

    @property
    def out(self) -> bytes:
        return b"".join(batch.data for batch in self.batches)

    def check(self) -> None:
        self.read(final=True)
        assert self.out == bytes(self.written)
        ends: dict[str, int] = {}
        for batch in self.batches:
            assert batch.start == ends.get(batch.source, 0), "a hole, or something twice"
            assert len(batch.data) <= self.size
            ends[batch.source] = batch.end


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path)
    yield log
    log.tail.close()


def test_a_line_comes_when_it_is_complete(log: Log) -> None:
    log.write(b"one\ntw")
    log.read()
    assert [batch.data for batch in log.batches] == [b"one\n"]
    log.write(b"o\n")
    log.read()
    assert [batch.data for batch in log.batches] == [b"one\n", b"two\n"]


def test_the_last_line_without_newline_comes_at_the_end(log: Log) -> None:
    log.write(b"one\ntwo")
    log.read(final=True)
    log.write(b" and a half\n")
    log.check()


def test_a_long_line_comes_in_pieces(log: Log) -> None:
    log.write(b"x" * 1000)
    log.read()
    assert len(log.batches) == 1000 // 64
    log.write(b"\nshort\n")
    log.check()


def test_lines_can_come_one_by_one(log: Log) -> None:
    log.size, log.lines = 1000, True
    log.restart()
    log.write(b"one\r\n\n\0\xff\nfour")
    log.read()
    assert [batch.data for batch in log.batches] == [b"one\r\n", b"\n", b"\0\xff\n"]
    log.check()


def test_a_renamed_file_is_read_to_its_end_before_the_next(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.write(b"two\nthree")
    log.rotate()
    log.write(b"four\n")
    log.read()
    assert log.out == b"one\ntwo\nthreefour\n"


def test_a_renamed_file_is_given_time_for_its_writer_to_reopen(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "GRACE", 60.0)
    log.write(b"one\n")
    log.read()
    log.rotate()
    log.write(b"three\n")
    log.read()
    with log.path.with_name("app.log.1").open("ab") as late:
        late.write(b"two\n")
    log.read()
    assert log.out == b"one\ntwo\n"
    log.read(final=True)
    assert log.out == b"one\ntwo\nthree\n"


def test_a_log_that_was_idle_gives_its_writer_the_same_time(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "GRACE", 0.3)
    log.write(b"one\n")
    log.read()
    os.utime(log.path, (1, 1))
    log.rotate()
    log.read()
    with log.path.with_name("app.log.1").open("ab") as late:
        late.write(b"two\n")
    log.write(b"three\n")
    deadline = time.monotonic() + 10
    while len(log.out) < 14 and time.monotonic() < deadline:
        log.read()
    assert log.out == b"one\ntwo\nthree\n"


def test_a_time_stamp_from_the_future_does_not_hold_it_up(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    os.utime(log.path, (2**33, 2**33))
    log.rotate()
    log.write(b"two\n")
    log.check()


def test_a_neighbour_is_not_a_rotated_file(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    for name in ("app-1.log", "app.1", "app.log.bak", "app.log.1.gz", "app2.log"):
        log.path.with_name(name).write_bytes(b"not ours\n")
    log.rotate()
    log.write(b"two\n")
    log.check()


@pytest.mark.parametrize("name", ["app.log.1", "app.log-20261124", "app-20261124.log", "app.log.2026-11-24"])
def test_names_of_rotated_files(log: Log, name: str) -> None:
    log.write(b"one\n")
    log.read()
    log.write(b"two\n")
    log.path.rename(log.path.with_name(name))
    log.write(b"three\n")
    log.restart()
    log.check()


def test_clocks_that_went_back_between_two_rotations(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.rotate()
    log.write(b"two\n")
    log.rotate()
    first = log.path.with_name("app.log.2").stat().st_mtime
    os.utime(log.path.with_name("app.log.1"), (first - 0.5, first - 0.5))
    log.write(b"three\n")
    log.check()


def test_after_another_files_message_it_goes_on_where_it_was(log: Log) -> None:
    """Two files were shipped under one host name, or a copy of the machine was."""
    log.write(b"one\n")
    log.read()
    stranger = Position(f"1-1-{time.time_ns():x}", 4, 0)
    log.tail.close()
    log.start()
    log.tail.seek(stranger)
    log.write(b"two\n")
    log.read()
    assert log.out == b"one\ntwo\n"


def test_more_rotations_than_anybody_remembers(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "REMEMBERED", 3)
    for number in range(6):
        log.write(b"%d\n" % number)
        log.read()
        os.utime(log.path, (1000 * number, 1000 * number))
        log.rotate()
    log.read()
    before, log.batches = log.batches, log.batches[:3]
    log.restart()
    assert len(log.positions.sources) == 4, "three, and that of the stream's last message"
    log.check()
    assert [batch.source for batch in log.batches[4:]] == [batch.source for batch in before[4:]]
    assert log.batches[3].source != before[3].source, "nobody remembers it"


def test_what_was_cut_and_not_copied_is_reported(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.write(b"x" * 40)
    log.size = 16
    log.tail.size = 16
    log.tail.read()
    os.truncate(log.path, 0)
    log.read()
    assert "bytes of it were not read" in log.warnings[-1]


def test_a_hidden_neighbour_is_passed_over(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write(b"one\n")
    log.read()
    log.rotate()
    log.write(b"two\n")
    really = Path.open

    def hidden(path: Path, *words: object, **more: object) -> object:
        if path.name == "app.log.1":
            raise PermissionError(13, "Permission denied")
        return really(path, *words, **more)

    monkeypatch.setattr(Path, "open", hidden)
    log.check()


def test_two_rotations_while_it_was_not_running(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.write(b"two\n")
    log.rotate()
    log.write(b"three\n")
    log.rotate()
    log.write(b"four\n")
    log.restart()
    log.check()


def test_what_was_there_before_the_first_start_is_not_read(log: Log) -> None:
    log.path.with_name("app.log.1").write_bytes(b"old\n")
    log.write(b"new\n")
    log.check()


def test_a_file_cut_after_it_was_copied(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.write(b"two\nthree")
    log.cut()
    log.write(b"four, and longer than all before\n")
    log.check()


def test_a_file_cut_while_it_was_not_running(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.write(b"two\n")
    log.cut()
    log.write(b"three, and longer than all before\n")
    log.cut()
    log.write(b"four\n")
    log.restart()
    log.check()


def test_the_beginning_of_a_line_survives_a_cut(log: Log) -> None:
    log.write(b"one\ntw")
    log.read()
    os.truncate(log.path, 0)
    log.write(b"o\n")
    log.check()


def test_a_file_cut_and_grown_beyond_the_position_is_noticed(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    os.truncate(log.path, 0)
    log.write(b"two\nthree\n")
    log.check()


def test_a_file_removed_and_made_again(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.path.unlink()
    log.read()
    log.write(b"two\n")
    log.check()


def test_a_file_that_is_gone_is_reported_and_the_next_one_read(log: Log) -> None:
    log.write(b"one\n")
    log.read()
    log.path.unlink()
    log.path.write_bytes(b"another\n")
    log.restart()
    log.read()
    assert log.out == b"one\nanother\n"
    assert "is gone" in log.warnings[0]
    assert log.batches[-1].after == log.batches[0].position


def test_what_the_server_has_forgotten_comes_again_from_the_same_sources(log: Log) -> None:
    """The store was rolled back by three messages, over a rotation and a cut."""
    log.write(b"one\n")
    log.read()
    log.write(b"two\n")
    log.read()
    log.rotate()
    log.write(b"three\n")
    log.read()
    log.cut()
    log.write(b"four\n")
    log.read()
    before, log.batches = log.batches, log.batches[:1]
    log.tail.seek(log.batches[-1].position)
    log.check()
    assert [(batch.source, batch.start) for batch in log.batches] == [
        (batch.source, batch.start) for batch in before
    ]


@pytest.mark.parametrize("mode", ["rotate", "cut"])
def test_after_a_new_beginning_all_comes_again_that_is_still_there(log: Log, mode: str) -> None:
    log.write(b"one\n")
    log.read()
    getattr(log, mode)()
    log.write(b"two\n")
    log.read()
    before, log.batches = log.batches, []
    log.tail.rewind()
    log.check()
    assert [batch.source for batch in log.batches] == [batch.source for batch in before]


CHUNKS = st.lists(st.sampled_from([b"\n", b"a", b"\r\n", b"\0\xff", b"line\n", b"x" * 70]), max_size=6)
STEPS = st.lists(
    st.one_of(
        CHUNKS.map(b"".join), st.sampled_from(["read", "rotate", "cut", "restart", "rollback", "rename only"])
    ),
    max_size=24,
)


@pytest.fixture(scope="module")
def folders() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@given(steps=STEPS, lines=st.booleans(), mode=st.sampled_from(["rotate", "cut"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cutting_into_writes_rotations_and_restarts_yields_the_same_bytes(
    folders: Path, steps: list[bytes | str], lines: bool, mode: str
) -> None:
    """A host rotates in one way, by renaming or by copying; lines are numbered, as time stamps make them."""
    log = Log(Path(tempfile.mkdtemp(dir=folders)), lines=lines)
    log.write(b"first\n")
    log.read()
    try:
        for number, step in enumerate(steps):
            if isinstance(step, bytes):
                log.write(f"{number:02}".encode() + step)
            elif step == "read":
                log.read()
            elif step == "restart":
                log.restart()
            elif step == "rollback" and len(log.batches) > 1:
                del log.batches[-1]
                log.tail.seek(log.batches[-1].position)
            elif step in ("rotate", "cut"):
                log.rotate() if mode == "rotate" else log.cut()
        log.check()
    finally:
        log.tail.close()
