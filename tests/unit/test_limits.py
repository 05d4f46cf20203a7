"""A disk that is full for a while, for one process."""

import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import Child, full_disk, limits

Wait = Callable[..., None]

# Appends a line to the file whenever the file `go` is there, and prints what came of it.
WRITER = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
while True:
    if (folder / "go").exists():
        (folder / "go").unlink()
        try:
            with (folder / "host" / "log").open("ab", buffering=0) as file:
                file.write(b"x" * 100)
            print("written", flush=True)
        except OSError as error:
            print(error.strerror, flush=True)
    time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can limit another process")
def test_a_process_can_lengthen_no_file_while_the_block_runs(tmp_path: Path, eventually: Wait) -> None:
    out = tmp_path / "out"
    for name, size in (("host/log", 5000), ("other/log", 4000), (".shipper/checkpoint", 10)):
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(b"x" * size)
    with Child([sys.executable, "-c", WRITER, str(out)], log=tmp_path / "said") as writer:

        def go(expected: list[str]) -> None:
            (out / "go").touch()
            eventually(lambda: writer.output().splitlines() == expected)

        go(["written"])
        with full_disk(writer, out):
            go(["written", "File too large"])
            assert (out / "host" / "log").stat().st_size == 5100
        go(["written", "File too large", "written"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nobody can limit another process")
def test_a_process_may_end_while_its_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x")
    with Child([sys.executable, "-c", "import time; time.sleep(60)"]) as writer, full_disk(writer, tmp_path):
        writer.kill()
        writer.wait()


def test_where_there_is_no_such_limit_files_are_made_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "host" / "log"
    log.parent.mkdir()
    log.write_bytes(b"x")
    before = log.stat().st_mode
    monkeypatch.setattr(limits.sys, "platform", "darwin")
    with Child([sys.executable, "-c", "import time; time.sleep(60)"]) as writer:
        with full_disk(writer, tmp_path):
            assert not log.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
        assert log.stat().st_mode == before


def test_a_process_that_has_ended_is_refused_and_this_one_is_not_limited(tmp_path: Path) -> None:
    with Child([sys.executable, "-c", ""]) as child:
        child.wait()
        with pytest.raises(ValueError, match="has ended: start it"), full_disk(child, tmp_path):
            pass
