"""Which file is which: those that were rotated away, and those that hold what was shipped of a source."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .positions import Known
from .source import CONTEXT, check_of

STEADY = 20  # attempts to find a file while none is being renamed


def rotated(path: Path, since: int = 0) -> list[Path]:
    """The files beside `path` that have its name and a number or a date: app.log.1, app-20260101.log.

    Those that were changed at `since` (ns) or later, the oldest first.
    """
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    date = r"[.-]\d{4}[\dT:_-]+"
    name = re.compile(rf"{stem}{suffix}(\.\d{{1,5}}|{date})|{stem}{date}{suffix}")
    try:
        with os.scandir(path.parent) as entries:
            found = [Path(each.path) for each in entries if name.fullmatch(each.name) and each.is_file()]
    except (FileNotFoundError, PermissionError):
        return []
    aged = [(changed, *_age(each), each) for each in found if (changed := _changed(each)) >= since]
    return [each for *_, each in sorted(aged)]


def steadily(path: Path, find: Callable[[], BinaryIO | None]) -> BinaryIO | None:
    """What `find` finds while neither `path` nor a rotated file is being renamed."""
    for attempt in range(STEADY):
        names = _names(path)
        file = find()
        if _names(path) == names or attempt == STEADY - 1:
            break
        if file:
            file.close()
    return file


def open_file(path: Path, *, neighbour: bool = True) -> BinaryIO | None:
    """Open a file to read; None if it is not there, or is a `neighbour` that is hidden from us."""
    try:
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    except PermissionError:
        if neighbour:
            return None
        raise


def read_up_to(file: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes: all that there are."""
    data = file.read(size)
    while data and len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def holds(file: BinaryIO, known: Known) -> bool:
    """Whether the bytes before the position up to which `known` was shipped are those of `file`."""
    now = os.fstat(file.fileno())
    if known.end == 0:
        return now.st_ino == known.inode
    if now.st_size < known.end:
        return False
    file.seek(max(0, known.end - CONTEXT))
    return check_of(read_up_to(file, min(known.end, CONTEXT))) == known.check


def continues(file: BinaryIO, known: Known) -> bool:
    """Whether `file` is a source that was shipped in part, and has perhaps grown since."""
    return known.inode == os.fstat(file.fileno()).st_ino and known.end > 0 and holds(file, known)


def was_read(file: BinaryIO, sources: list[Known]) -> bool:
    """Whether `file` is one of the sources, or the copy of one, that was read to its end."""
    now = os.fstat(file.fileno())
    candidates = (each for each in sources if each.inode == now.st_ino or each.end == now.st_size)
    return any(holds(file, each) for each in candidates)


def inode(path: Path) -> int:
    """The inode of a path; 0 if there is nothing."""
    found = _stat(path)
    return found.st_ino if found else 0


def _changed(path: Path) -> int:
    found = _stat(path)
    return found.st_mtime_ns if found else 0


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _names(path: Path) -> list[tuple[Path, int]]:
    return [(each, inode(each)) for each in [path, *sorted(rotated(path))]]


def _age(path: Path) -> tuple[int, str]:
    """Among files of the same time: app.log.2 is older than app.log.1, and an earlier date is older."""
    digits = re.sub(r"\D", "", path.name.rpartition(".")[2]) or "0"
    return (-int(digits) if len(digits) < 6 else 0), path.name
