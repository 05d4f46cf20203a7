"""Limits that the operating system sets for a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import psutil


class Running(Protocol):
    """Anything that has a process, such as a `Child`."""

    @property
    def pid(self) -> int | None: ...


def allow_open_files(wanted: int) -> int:
    """Raise this process's limit of open files to `wanted` where possible; return the limit in force.

    Each connection is an open file. Processes that are started later inherit the limit.
    """
    if sys.platform == "win32":
        return wanted  # no limit of this kind
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(soft, wanted)


@contextmanager
def full_disk(process: Running, folder: Path) -> Iterator[None]:
    """While the block runs, `process` can lengthen no file below `folder`, as on a disk that is full.

    A disk of one's own would need the rights of an administrator. On Linux, the operating system is told
    to let the process write to no file beyond the size of the smallest one there (RLIMIT_FSIZE, prlimit(2));
    it then fails with EFBIG, "file too large", where a full disk gives ENOSPC. On other systems nobody
    can set that for another process, and the files are made read-only instead.

    Raises ValueError if the process has ended.
    """
    if process.pid is None:
        raise ValueError("the process has ended: start it before its disk is full")
    files = [path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder)]
    if sys.platform == "linux":
        other = psutil.Process(process.pid)
        _, hard = other.rlimit(psutil.RLIMIT_FSIZE)
        most = min((path.stat().st_size for path in files), default=0)
        other.rlimit(psutil.RLIMIT_FSIZE, (most, hard))
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):
                other.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
        return
    before = {path: path.stat().st_mode for path in files}
    try:
        for path in files:
            path.chmod(0o400)
        yield
    finally:
        for path, mode in before.items():
            with suppress(OSError):
                path.chmod(mode)


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
