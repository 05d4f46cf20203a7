"""The log of a nats-server, as records."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the server's log: `level` is INF, DBG, TRC, WRN, ERR or FTL."""

    time: str
    level: str
    text: str


def parse_log(text: str) -> list[LogLine]:
    """The lines of a nats-server log; what is not a log line is left out."""
    pattern = re.compile(r"^\[\d+\] (\S+ \S+) \[(\w{3})\] (.*)$", re.MULTILINE)
    return [LogLine(*found.groups()) for found in pattern.finditer(text)]
