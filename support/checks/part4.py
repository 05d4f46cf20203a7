"""The exercises of part 4: a log shipper."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg

from ..waiting import until
from .check import NotYet, check
from .room import Room

BREAK = 1.0  # seconds for which the server is away
BACK = 2.0  # seconds to be back afterwards


class Follower(Protocol):
    def new_lines(self) -> list[bytes]: ...


Connect = Callable[[str], Awaitable[Client]]
Send = Callable[[Client, str, int, bytes], Awaitable[None]]
Missing = Callable[[list[Msg]], list[int]]


@check()
async def comes_back(room: Room, connect: Connect) -> str:
    """A client comes back after a break, however long."""
    client = await connect(room.server.url)
    if not isinstance(client, Client):
        raise NotYet(f"return the client that nats.connect gives you; you returned a {type(client).__name__}")
    try:
        room.server.stop()
        with suppress(TimeoutError):
            await until(lambda: client.is_closed, timeout=BREAK)
        if client.is_closed:
            raise NotYet("the server was away for a second, and your client gave up for good")
        if client.options["max_reconnect_attempts"] > 0:  # to nats-py, 0 is for ever, too
            most = client.options["max_reconnect_attempts"]
            raise NotYet(f"your client survived one second; after {most} attempts it would give up for good")
        room.server.start()
        with suppress(TimeoutError):
            await until(lambda: client.is_connected, timeout=BACK)
        if not client.is_connected:
            raise NotYet(f"the server is back for {BACK:.0f} s, and your client is not: try more often")
    finally:
        with suppress(Exception):  # a learner may have closed or broken it
            await client.close()
    return "the server was away for a second, and the client came back"


@check()
async def follows_the_file(room: Room, kind: Callable[[Path], Follower]) -> str:
    """A tail brings each whole line once, whatever happens to the file."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "app.log"
        log.touch()
        tail = kind(log)
        try:
            for what, step in _steps(log):
                expected = step()
                found = tail.new_lines()
                if not isinstance(found, list):
                    raise NotYet(f"new_lines must return a list of lines; it returned {found!r}")
                if found != expected:
                    raise NotYet(f"{what}: {_difference(found, expected)}")
        finally:
            if file := getattr(tail, "file", None):
                with suppress(Exception):
                    file.close()
    return "half lines, renaming, cutting, cutting and growing longer: each line came once"


def _steps(log: Path) -> list[tuple[str, Callable[[], list[bytes]]]]:
    """What happens to the file, and the lines that are new then."""
    word = secrets.token_hex(4).encode()
    lines = [b"%s %d\n" % (word, number) for number in range(12)]

    def append(*pieces: bytes) -> None:
        with log.open("ab") as file:
            file.write(b"".join(pieces))

    def grow() -> list[bytes]:
        append(*lines[:3])
        return lines[:3]

    def half() -> list[bytes]:
        append(lines[3], lines[4][:4])
        return [lines[3]]

    def whole() -> list[bytes]:
        append(lines[4][4:])
        return [lines[4]]

    def rename() -> list[bytes]:
        append(lines[5])
        log.rename(log.with_suffix(".1"))
        append(lines[6])
        return lines[5:7]

    def cut() -> list[bytes]:
        os.truncate(log, 0)
        append(lines[7][:5])
        return []

    def finish() -> list[bytes]:
        append(lines[7][5:])
        return [lines[7]]

    def cut_and_grow() -> list[bytes]:
        os.truncate(log, 0)
        append(*lines[8:12])
        return lines[8:12]

    def odd() -> list[bytes]:
        append(b"a\rb\xff\n")
        return [b"a\rb\xff\n"]

    def twice() -> list[bytes]:
        append(b"same\nsame\n")
        return [b"same\n"] * 2

    def away() -> list[bytes]:
        append(b"last\n")
        log.rename(log.with_suffix(".2"))
        return [b"last\n"]

    def back() -> list[bytes]:
        append(b"first\n")
        return [b"first\n"]

    def equal() -> list[bytes]:
        os.truncate(log, 0)
        append(b"other\n")
        return [b"other\n"]

    return [
        ("three lines were written", grow),
        ("a line and a half were written", half),
        ("the other half was written", whole),
        ("the file was renamed and a new one begun", rename),
        ("the file was cut to nothing, and half a line written", cut),
        ("the other half was written", finish),
        ("the file was cut, and grew longer than it was", cut_and_grow),
        ("nothing happened", lambda: []),
        ("a line with odd bytes was written", odd),
        ("the same line was written twice", twice),
        ("the file was renamed, and there was no new one yet", away),
        ("then there was a new one", back),
        ("the file was cut, and grew just as long as it was", equal),
    ]


def _difference(found: list[bytes], expected: list[bytes]) -> str:
    if any(not isinstance(each, bytes) or not each.endswith(b"\n") for each in found):
        return "you returned something that is no whole line with its newline"
    wanted, brought = Counter(expected), Counter(found)
    if missing := (wanted - brought).total():
        return f"{missing} of {len(expected)} new lines did not come"
    if more := (brought - wanted).total():
        return f"{more} lines came that are not new"
    return "the right lines came, in another order"


@check()
async def knows_what_is_missing(room: Room, answer: tuple[Send, Missing]) -> str:
    """The consumer finds out which lines were lost on the way."""
    send, missing = answer
    producer, consumer = await room.connect("producer"), await room.connect("consumer")
    count = 50 + secrets.randbelow(20)  # so that nobody knows it
    lines = [f"{secrets.token_hex(4)} {number}\n".encode() for number in range(count)]
    # Lost for real: during these, nobody listens.
    away = {range(0, 5), range(20, 20 + 1 + secrets.randbelow(10)), range(40, 41)}
    lost = sorted(number for each in away for number in each)
    found: list[Msg] = []

    async def note(message: Msg) -> None:
        found.append(message)

    subscription = None
    for number, line in enumerate(lines):
        if subscription and number in lost:
            await room.quiet(lambda: len(found))
            await subscription.unsubscribe()
            subscription = None
        elif not subscription and number not in lost:
            subscription = await consumer.subscribe("LINES", cb=note)
        await room.settle(consumer)
        await send(producer, "LINES", number, line)
        await room.settle(producer)
    await room.quiet(lambda: len(found))
    if not found:
        raise NotYet("nothing arrived: publish to the subject that `send` is given, unchanged")
    if [message.data for message in found] != [line for n, line in enumerate(lines) if n not in lost]:
        raise NotYet("each line is one message with its bytes as they were: send the number beside them")
    said = missing(found)
    if not isinstance(said, list):
        raise NotYet(f"return a list of the numbers; your function returned {said!r}")
    if other := [each for each in said if type(each) is not int]:
        raise NotYet(f"return numbers; your list holds {other[0]!r}")
    if said != sorted(said) and sorted(said) == lost:
        raise NotYet("all are named; now sort them")
    if said != lost:
        what = "others were named" if set(said) - set(lost) else "not all of them were named"
        raise NotYet(f"some lines were lost on the way, and {what if said else 'none of them was named'}")
    return "some lines were lost on the way, and each of them was named"
