"""A file → batches of whole lines with their positions, through everything that happens to log files.

A file that is followed grows; is renamed, and another one appears under its name; is copied and cut
to nothing (copytruncate); is removed and made again. The tail reads each to its end before it goes on.

Files are recognised by inode, and by the bytes before the position up to which they were
shipped. So a file that was cut and has grown again is told from the one it was, and a renamed or
copied one is found again after a restart. Not to be told apart are files whose inode and last
kibibyte before the position are the same.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .files import continues, holds, inode, open_file, read_up_to, rotated, steadily, was_read
from .positions import Known, Positions, met_at
from .source import CONTEXT, Batch, Position, check_of

GRACE = 2.0  # seconds without a change before a renamed file is left: its writer may not yet have reopened
TOLERANCE = 1_000_000_000  # ns by which clocks and file systems may be wrong about what came first


class Tail:
    """Follow `path`.

    Arguments:
        positions: the sources known so far; new ones are added as they are met.
        size: bytes in a batch, at most. A longer line comes in pieces.
        lines: a batch for each line.
        warn: told what cannot be found any more.
    """

    def __init__(
        self,
        path: Path,
        positions: Positions,
        *,
        size: int,
        lines: bool = False,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._positions, self.size, self._lines, self._warn = positions, size, lines, warn
        self._file: BinaryIO | None = None
        self._known: Known | None = None  # the source that is being read
        self._at = 0  # the position in it up to which batches were given out
        self._context = b""  # the bytes before that position
        self._ready: deque[bytes] = deque()  # read, not yet given out
        self._held = b""  # the beginning of a line, read and not yet given out
        self._seen = (0, 0)  # the file's size and time of change (ns) when that was read
        self._more = True  # there may be more than what was read
        self._quiet: tuple[tuple[int, ...], float] = (), 0.0  # how the file was, and since when
        self._before: Position | None = None  # what came before this source, until its first batch
        self._since: int | None = None  # when (ns) the file was changed that is left; None at the first start

    @property
    def position(self) -> Position | None:
        """Up to where batches were given out; None before the first."""
        return Position(self._known.source, self._at, check_of(self._context)) if self._known else None

    @property
    def behind(self) -> int:
        """Bytes of the open file that were not yet given out."""
        return max(0, os.fstat(self._file.fileno()).st_size - self._at) if self._file else 0

    def read(self, *, final: bool = False) -> Batch | None:
        """The next batch, or None if there is nothing more at the moment.

        With `final`, what stands at the end of the file without a newline comes, too.
        """
        while True:
            if self._ready:
                return self._give(self._ready.popleft())
            if self._file is None and not self._open_next():
                return None
            chunk = self._chunk()
            if chunk is None:
                if rest := self._begin_again():
                    return rest
                continue
            whole = chunk if len(chunk) == self.size and b"\n" not in chunk else _whole_lines(chunk)
            left = not whole and self._left(final=final)
            if left or final:
                whole = whole or chunk  # the end of the file, without a newline
            if left and not whole:
                self._leave()
                continue
            if not whole:
                self._held = chunk
                return None
            self._more = True
            self._ready.extend(_lines(whole) if self._lines else [whole])

    def seek(self, position: Position, *, when: float = 0.0) -> None:
        """Go on after `position`, wherever its file is now, and forget what was read ahead.

        Where the file is gone, go on with the files that are newer than `when` (a time stamp, in
        seconds), and with `path`.
        """
        if self._known and (position.source, position.end) == (self._known.source, self._at):
            return
        known = self._positions.find(position.source)
        if known is None:
            known = _from_name(position.source)
            self._positions.add(known)
        known.end, known.check = position.end, position.check
        self._forget()
        if file := self._locate(known):
            self._begin(file, known, position.end)
            return
        self._warn(
            f"the file that was shipped up to byte {position.end} is gone: "
            "if it held more than that, the rest is missing"
        )
        self._before = position
        self._since = (known.changed or int(when * 1e9)) - TOLERANCE if known.changed or when else None

    def rewind(self) -> None:
        """Go back to the beginning of the oldest source that is known and still there."""
        self._forget()
        for known in self._positions.sources:
            if known.end and (file := self._locate(known)):
                self._begin(file, known, 0)
                return

    def close(self) -> None:
        """Close the file."""
        self._forget()

    # -- inside -------------------------------------------------------------------------------

    def _give(self, data: bytes) -> Batch:
        assert self._known
        start, self._at = self._at, self._at + len(data)
        self._context = (self._context + data)[-CONTEXT:] if len(data) < CONTEXT else data[-CONTEXT:]
        before, self._before = self._before, None
        self._held = b""
        return Batch(self._known.source, start, data, check_of(self._context), data.count(b"\n"), before)

    def _chunk(self) -> bytes | None:
        """What follows the position, up to `size` bytes; None if the file is no longer what it was."""
        assert self._file
        now = os.fstat(self._file.fileno())
        if not self._more and self._seen == (now.st_size, now.st_mtime_ns):
            return self._held
        self._file.seek(self._at - len(self._context))
        before, data = read_up_to(self._file, len(self._context)), read_up_to(self._file, self.size)
        if before != self._context or not data.startswith(self._held):
            return None
        if not self._at and not self._held and self._seen != (0, 0) and self._copy():
            return None  # cut for the second time, before anything was read
        self._seen, self._more = (now.st_size, now.st_mtime_ns), False
        if self._known:
            self._known.changed = now.st_mtime_ns
        return data

    def _begin_again(self) -> Batch | None:
        """The file was cut. What it held lives on in a copy, or else in what was read of its last line."""
        assert self._file and self._known
        if path := self._copy():
            self._file.close()
            self._begin(path.open("rb", buffering=0), self._known, self._at)
            return None
        if (unread := self._seen[0] - self._at - len(self._held)) > 0:
            self._warn(f"{self.path} was cut, and no copy is left: {unread} bytes of it were not read")
        rest = self._give(self._held) if self._held else None
        self._begin(self._file, _new(self._file), 0)
        return rest

    def _copy(self) -> Path | None:
        """The copy that was made of the open file before it was cut."""
        assert self._known
        others = [each for each in self._positions.sources if each is not self._known]
        for path in rotated(self.path, self._seen[1]):  # an older one is the copy of an earlier file
            if file := open_file(path):
                with file:
                    file.seek(self._at - len(self._context))
                    expected = self._context + self._held
                    if read_up_to(file, len(expected)) == expected and not was_read(file, others):
                        return path
        return None

    def _left(self, *, final: bool) -> bool:
        """Whether the file is done: another one comes after it, and nothing is written to it any more."""
        assert self._file
        now = os.fstat(self._file.fileno())
        if inode(self.path) in (0, now.st_ino):
            return False
        state = now.st_ino, now.st_size, now.st_mtime_ns
        if state != self._quiet[0]:
            self._quiet = state, time.monotonic()
        return final or time.monotonic() - self._quiet[1] > GRACE

    def _leave(self) -> None:
        assert self._file
        self._before, self._since = self.position, os.fstat(self._file.fileno()).st_mtime_ns - TOLERANCE
        self._file.close()
        self._file = None

    def _open_next(self) -> bool:
        """Open the oldest file that was rotated away after the last one, or else `path`."""
        if file := steadily(self.path, self._find_next):
            if known := next((each for each in self._later() if holds(file, each)), None):
                self._begin(file, known, 0)
            elif known := next((each for each in self._earlier() if continues(file, each)), None):
                self._begin(file, known, known.end)
            else:
                # Where sources are shipped again, a new one belongs between them, by the time in its name.
                between = self._before and self._later() and self._positions.find(self._before.source)
                self._begin(file, _new(file, met_at(between) + 1 if between else None), 0)
        return file is not None

    def _earlier(self) -> list[Known]:
        """The sources up to the last one, the newest first."""
        return self._positions.sources[: -len(self._later()) or None][::-1]

    def _find_next(self) -> BinaryIO | None:
        earlier = self._earlier()
        for path in [] if self._since is None else rotated(self.path, self._since):
            if file := open_file(path):
                if not was_read(file, earlier):
                    return file
                file.close()
        return open_file(self.path, neighbour=False)

    def _later(self) -> list[Known]:
        """The sources after the last one: they are shipped again, since the server has forgotten them."""
        names = [each.source for each in self._positions.sources]
        before = self._before.source if self._before else ""
        return self._positions.sources[names.index(before) + 1 if before in names else 0 :]

    def _begin(self, file: BinaryIO, known: Known, position: int) -> None:
        """Read `file` from `position` on, as the source `known`."""
        if self._known and self._known is not known:
            self._before = self.position
        if self._positions.find(known.source) is None:
            self._positions.add(known)
            self._positions.save()  # before anybody else hears of it
        self._file, self._known, self._at = file, known, position
        file.seek(max(0, position - CONTEXT))
        self._context = read_up_to(file, min(position, CONTEXT))
        self._held, self._seen, self._more = b"", (0, 0), True

    def _locate(self, known: Known) -> BinaryIO | None:
        """The file that holds a source, wherever it was moved or copied to."""
        return steadily(self.path, lambda: self._find(known))

    def _find(self, known: Known) -> BinaryIO | None:
        files = [self.path, *reversed(rotated(self.path))]
        files.sort(key=lambda path: inode(path) != known.inode)  # itself before copies; else as before
        for path in files:
            if file := open_file(path):
                itself = os.fstat(file.fileno()).st_ino == known.inode
                if (itself or known.end) and holds(file, known):
                    return file
                file.close()
        return None

    def _forget(self) -> None:
        if self._file:
            self._file.close()
        self._file = self._known = self._before = self._since = None
        self._at, self._context, self._held = 0, b"", b""
        self._ready.clear()


# -- small things -----------------------------------------------------------------------------


def _whole_lines(chunk: bytes) -> bytes:
    return chunk[: chunk.rfind(b"\n") + 1]


def _lines(whole: bytes) -> list[bytes]:
    """The lines of a chunk with their newlines; only \\n ends a line."""
    *lines, rest = whole.split(b"\n")
    return [line + b"\n" for line in lines] + ([rest] if rest else [])


def _new(file: BinaryIO, met: int | None = None) -> Known:
    """A source that is met for the first time, now or at `met`, under a name that no other one ever has."""
    now = os.fstat(file.fileno())
    return Known(f"{now.st_dev:x}-{now.st_ino:x}-{met or time.time_ns():x}", now.st_ino)


def _from_name(source: str) -> Known:
    """A source that an earlier run has named: the name holds its inode."""
    found = re.fullmatch(r"[0-9a-f]+-([0-9a-f]+)-[0-9a-f]+", source)
    return Known(source, int(found[1], 16) if found else 0)
