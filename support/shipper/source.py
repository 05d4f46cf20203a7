"""Where bytes come from: which file, from where to where. This position is the only truth.

From it follow: where the producer goes on, what the consumer has already, and what is missing.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "Shipper-Source"  # "<source> <start> <end>"
CHECK = "Shipper-Check"  # crc32 of the last bytes of the source before `end`, in hexadecimal
AFTER = "Shipper-After"  # "<source> <end>": what was shipped before this source
LINES = "Shipper-Lines"  # how many newlines are in the bytes
PRODUCER = "Shipper-Producer"  # which process published it
MOST = 1 << 62  # bytes of a source, at most
CONTEXT = 1024  # bytes before a position by which its file is recognised


@dataclass(frozen=True, slots=True)
class Position:
    """`end` bytes of `source` are done; `check` is the crc32 of the last `CONTEXT` bytes of those."""

    source: str
    end: int
    check: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """The bytes of a source from `start` on: whole lines, or a piece of a line that is too long.

    `check` is that of the position after it, `lines` how many newlines it holds. `after` is what was
    shipped before, if this is the first batch of its source.
    """

    source: str
    start: int
    data: bytes
    check: int
    lines: int = 0
    after: Position | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.data)

    @property
    def position(self) -> Position:
        return Position(self.source, self.end, self.check)

    def headers(self, producer: str) -> dict[str, str]:
        """As they travel with the bytes."""
        found = {
            SOURCE: f"{self.source} {self.start} {self.end}",
            CHECK: f"{self.check:08x}",
            LINES: str(self.lines),
            PRODUCER: producer,
        }
        if self.after:
            found[AFTER] = f"{self.after.source} {self.after.end}"
        return found


@dataclass(frozen=True, slots=True)
class Range:
    """What the headers of a message say of its bytes."""

    source: str
    start: int
    end: int
    check: int
    lines: int
    producer: str
    after: Position | None


def read_headers(headers: Mapping[str, str] | None) -> Range | None:
    """The range in the headers of a message; None if it was not published by this shipper."""
    try:
        source, start, end = (headers or {})[SOURCE].split(" ")
        assert headers
        after = None
        if text := headers.get(AFTER):
            before, until = text.split(" ")
            after = Position(before, int(until))
        check, lines = int(headers[CHECK], 16), int(headers.get(LINES, 0))
        positions = 0, int(start), int(end), MOST
        if sorted(positions) != [*positions] or (after and not 0 <= after.end <= MOST):
            return None
        return Range(source, int(start), int(end), check, lines, headers[PRODUCER], after)
    except (KeyError, ValueError):
        return None


def check_of(context: bytes) -> int:
    """The check of a position, from the bytes before it (at least `CONTEXT`, or all that there are)."""
    return zlib.crc32(context[-CONTEXT:])
