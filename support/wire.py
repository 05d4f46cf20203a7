"""What crossed the wire, from the server's own protocol trace.

    with trace(server) as wire:
        await nc.publish("ORDERS.new", b"42")
        ...                                     # and wait for what you want to see
    for frame in wire.frames: ...

The messages of the protocol: NATS documentation, "Client protocol".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .log import LogLine
from .server import NatsServer


@dataclass(frozen=True, slots=True)
class Frame:
    """One protocol message between a client and the server.

    `time` is in seconds since the first frame of its trace. `op` is the protocol's own word: a client
    sends SUB, UNSUB, PUB; the server sends MSG; with headers PUB and MSG are HPUB and HMSG on the
    wire, and are called PUB and MSG here. `sid` is the client's own number for a subscription.
    """

    time: float
    client: str
    to_server: bool
    op: str
    subject: str = ""
    queue: str | None = None
    sid: str = ""
    reply: str | None = None
    headers: bytes = b""
    payload: bytes = b""


@dataclass(slots=True)
class Wire:
    """What one `trace` block recorded; filled when the block ends.

    `subscriptions` are (client, sid) → (subject, queue group or None), those from before the block too.
    """

    frames: tuple[Frame, ...] = ()
    subscriptions: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)

    def only(self, *ops: str) -> tuple[Frame, ...]:
        """The frames whose `op` is one of `ops`, for example only("PUB", "MSG")."""
        return tuple(frame for frame in self.frames if frame.op in ops)


@contextmanager
def trace(server: NatsServer) -> Iterator[Wire]:
    """Record what crosses the wire of `server` while the block runs.

    The record holds what the server had handled when the block ended. So await the answers or
    messages that you want to see inside the block. The block must not stop the server.
    """
    wire = Wire()
    before = len(server.log())
    for connection in server.monitor.connz().connections:
        for each in connection.subscriptions:
            wire.subscriptions[connection.label, each.sid] = each.subject, each.queue
    traced = server.tracing
    server.reload(trace=True)
    try:
        yield wire
    finally:
        if server.pid is not None:
            server.reload(trace=traced)
            frames = []
            for frame in parse(server.log()[before:]):
                if frame.op == "SUB":
                    wire.subscriptions[frame.client, frame.sid] = frame.subject, frame.queue
                elif frame.op == "UNSUB":
                    subject, queue = wire.subscriptions.get((frame.client, frame.sid), ("", None))
                    frame = replace(frame, subject=subject, queue=queue)
                frames.append(frame)
            wire.frames = tuple(frames)


def is_inbox(subject: str) -> bool:
    """Whether `subject` is one that clients make up for their replies."""
    return subject.startswith("_INBOX.")


def parse(lines: Iterable[LogLine]) -> tuple[Frame, ...]:
    """The frames in the lines of a server's log, by time. A client without a name is called "client 5".

    Each line is stamped before it waits for its turn to be written, so lines of different connections
    may stand in the wrong order. What one connection causes, on its own or on others, is stamped in the
    order of cause and effect: the stamps are right, and equal ones stay as they were written.
    """
    frames: list[Frame] = []
    last: dict[tuple[str, str], int] = {}  # (cid, direction) → its newest frame, which may want a payload
    headers: dict[int, int] = {}  # frame → bytes of its payload that are headers
    begin: datetime | None = None
    for line in lines:
        found = _TRACED.fullmatch(line.text)
        if line.level != "TRC" or not found:
            continue
        cid, name, direction, rest = found.groups()
        if payload := _PAYLOAD.fullmatch(rest):
            index = last.get((cid, direction), -1)
            if index < 0:
                continue  # its PUB or MSG came before the first line
            content, size = unquote(payload[1]), headers.get(index, 0)
            frames[index] = replace(frames[index], headers=content[:size], payload=content[size:])
            continue
        now = datetime.strptime(line.time, "%Y/%m/%d %H:%M:%S.%f")
        begin = begin or now
        client = unquote(name or "").decode("utf-8", "replace").split(":", 2)[2:] or [""]
        op, *arguments = rest.strip("[]").split()
        try:
            size = int(arguments.pop(-2)) if op in ("HPUB", "HMSG") else 0
            named = _arguments(op.removeprefix("H"), arguments)
        except (IndexError, ValueError):
            continue  # not a line of the protocol: the server refuses it, too
        last[cid, direction] = len(frames)
        headers[len(frames)] = size
        frames.append(
            Frame(
                time=(now - begin).total_seconds(),
                client=client[0] or f"client {cid}",
                to_server=direction == "<<-",
                op=op.removeprefix("H"),
                **named,
            )
        )
    frames.sort(key=lambda frame: frame.time)
    first = frames[0].time if frames else 0.0
    return tuple(replace(frame, time=frame.time - first) for frame in frames)


def unquote(text: str) -> bytes:
    """The bytes that Go's %q wrote as `text`, without the quotes around it (Go: package strconv, Quote)."""

    def byte(found: re.Match[str]) -> str:
        escape = found[0][1:]
        if escape[0] == "x":
            # one byte that was no valid UTF-8, or a control character: kept as it is
            return bytes([int(escape[1:], 16)]).decode("utf-8", "surrogateescape")
        if escape[0] in "uU":
            return chr(int(escape[1:], 16))
        return _ESCAPES.get(escape, escape)

    return _ESCAPED.sub(byte, text).encode("utf-8", "surrogateescape")


_TRACED = re.compile(r'\S+ - cid:(\d+) - (?:"((?:[^"\\]|\\.)*)" - )?(?:"(?:[^"\\]|\\.)*" - )?(<<-|->>) (.*)')
_PAYLOAD = re.compile(r'MSG_PAYLOAD: \["(.*)"\]')
_ESCAPED = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _arguments(op: str, words: list[str]) -> dict[str, Any]:
    """Names for what follows `op` in the trace; the optional word is the one in the middle."""
    if op == "SUB":
        return {"subject": words[0], "queue": words[1] if len(words) == 3 else None, "sid": words[-1]}
    if op == "UNSUB":
        return {"sid": words[0]}
    if op == "PUB":
        return {"subject": words[0], "reply": words[1] if len(words) == 3 else None}
    if op == "MSG":
        return {"subject": words[0], "sid": words[1], "reply": words[2] if len(words) == 4 else None}
    return {}
