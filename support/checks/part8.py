"""The exercises of part 8: the shipper on JetStream."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from .check import NotYet, check
from .room import Room

ACK_WAIT = 0.3  # seconds
FAILURES = 4  # of `store` for the last line

Handler = Callable[[Msg, Callable[[bytes], None]], Awaitable[None]]
Ship = Callable[[JetStreamContext, Path, str], Awaitable[None]]
StoreOne = Callable[[Path, Msg], None]


@check(deadline=20, jetstream=True)
async def stores_then_acknowledges(room: Room, handler: Handler) -> str:
    """What cannot be stored is not acknowledged, and comes again."""
    client = await room.connect("consumer")
    js = client.jetstream()
    await js.add_stream(name="LINES", subjects=["lines"])
    lines = [f"{secrets.token_hex(3)} {number}".encode() for number in range(10)]
    for line in lines:
        await js.publish("lines", line)
    stored: list[bytes] = []
    failures = {lines[0]: 1, lines[4]: 1, lines[9]: FAILURES}

    def store(data: bytes) -> None:
        if failures.get(data, 0) > 0:
            failures[data] -= 1
            raise OSError("no space left on device")
        stored.append(data)

    config = ConsumerConfig(ack_wait=ACK_WAIT)
    subscription = await js.pull_subscribe("lines", durable="reader", config=config)
    for _ in range(8 * len(lines)):
        try:
            (message,) = await subscription.fetch(1, timeout=2 * ACK_WAIT)
        except TimeoutError:
            info = await subscription.consumer_info()
            if not (info.num_pending or info.num_ack_pending):
                break
            continue  # it comes later: given back with a delay
        with suppress(OSError):
            await handler(message, store)
    info = await subscription.consumer_info()
    if lost := len(set(lines) - set(stored)):
        raise NotYet(f"the disk was full for a while, and {lost} of 10 lines were given up and never stored")
    if info.num_ack_pending or not info.ack_floor or info.ack_floor.stream_seq != 10:
        raise NotYet("all lines are stored, and the server does not know it: acknowledge each")
    if len(stored) > len(lines):
        raise NotYet(
            f"{len(stored) - len(lines)} lines were stored twice: acknowledge each when it is stored"
        )
    return f"10 lines stored, each once, though the disk was full for {2 + FAILURES} attempts"


@check(jetstream=True)
async def ships_each_byte_once(room: Room, ship: Ship) -> str:
    """The stream holds the bytes of a file, once and in order, whatever happens to the producers."""
    client = await room.connect("producer")
    js = client.jetstream()
    await js.add_stream(name="LINES", subjects=["lines.>"])
    await js.publish("lines.web2", b"a line of another host\n", headers={"Until": "23"})
    deaf = _Deaf(client, timeout=5)
    with tempfile.TemporaryDirectory() as name:
        file, word = Path(name) / "app.log", secrets.token_hex(3)
        numbers = count(1)
        for what, context, lines in (
            ("the first call", js, 3),
            ("a second call, with nothing new", js, 0),
            ("the file had grown", js, 2),
            ("an acknowledgement was lost and the file had grown", deaf, 2),
            ("the call after that", js, 3),
            ("two acknowledgements in a row were lost", deaf, 1),
            ("two acknowledgements in a row were lost", deaf, 1),
            ("the last call", js, 1),
        ):
            with file.open("ab") as output:
                output.writelines(f"{word} line {next(numbers)}\n".encode() for _ in range(lines))
            with suppress(TimeoutError):
                await ship(context, file, "lines.web1")
            found, original = await _everything(js), file.read_bytes()
            # Whoever publishes line by line stops at the first time-out; the next call goes on.
            if found != original and not (context is deaf and original.startswith(found)):
                raise NotYet(f"{what}: {_compare(original, found)}")

        async def rival() -> None:
            with file.open("ab") as output:
                output.write(f"{word} the end\n".encode())
            await ship(js, file, "lines.web1")

        with file.open("ab") as output:
            output.write(f"{word} nearly the end\n".encode())
        with suppress(Exception):  # it may be refused
            await ship(_Late(client, rival), file, "lines.web1")
        await ship(js, file, "lines.web1")
        found, original = await _everything(js), file.read_bytes()
        if found != original:
            raise NotYet(f"two producers at the same time: {_compare(original, found)}")
    return "calls repeated, acknowledgements lost, two at the same time: the stream holds the file"


class _Deaf(JetStreamContext):
    """Publishes, and never hears of it."""

    async def publish(self, *arguments: Any, **more: Any) -> Any:
        await super().publish(*arguments, **more)
        raise TimeoutError


class _Late(JetStreamContext):
    """Publishes when the file has grown, and another producer was faster."""

    def __init__(self, client: Client, rival: Callable[[], Awaitable[None]]) -> None:
        super().__init__(client, timeout=5)
        self._rivals = [rival]

    async def publish(self, *arguments: Any, **more: Any) -> Any:
        if self._rivals:
            await self._rivals.pop()()
        return await super().publish(*arguments, **more)


async def _everything(js: JetStreamContext) -> bytes:
    """All bytes of web1 in the stream; its first message is another host's."""
    last = (await js.stream_info("LINES")).state.last_seq
    return b"".join([(await js.get_msg("LINES", number)).data or b"" for number in range(2, last + 1)])


def _compare(original: bytes, found: bytes) -> str:
    lines, copied = original.splitlines(), found.splitlines()
    if lost := len(set(lines) - set(copied)):
        return f"{lost} of {len(lines)} lines are not in the stream"
    if len(copied) > len(lines):
        return f"{len(copied) - len(lines)} lines are in the stream twice"
    return "the bytes in the stream are not those of the file"


@check(jetstream=True)
async def stores_each_byte_once(room: Room, store: StoreOne) -> str:
    """A file holds each byte once, whatever comes again and however it is cut."""
    client: Client = await room.connect("consumer")
    js = client.jetstream()
    await js.add_stream(name="PIECES", subjects=["pieces"])
    data = secrets.token_hex(200).encode()
    pieces = [
        (0, 50),
        (0, 80),
        (50, 80),
        (80, 200),
        (0, 50),
        (80, 200),
        (120, 260),
        (260, 261),
        (200, 400),
        (0, 400),
    ]
    for start, end in [pieces[0], *pieces]:
        await js.publish("pieces", data[start:end], headers={"Start": str(start)})
    subscription = await js.pull_subscribe("pieces", durable="reader")
    reached = 0
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "new" / "copy"
        file.parent.mkdir()
        (message,) = await subscription.fetch(1, timeout=2)
        store(file, message)
        shutil.rmtree(file.parent)  # and all that it may remember
        file.parent.mkdir()
        for start, end in pieces:
            (message,) = await subscription.fetch(1, timeout=2)
            store(file, message)
            await message.ack()
            reached = max(reached, end)
            if not await asyncio.to_thread(file.exists):
                raise NotYet(f"after bytes {start} to {end} there is no file: append to it")
            found = file.read_bytes()
            if found == data[:reached]:
                continue
            if len(found) > reached:
                raise NotYet(f"after bytes {start} to {end} the file has some bytes twice")
            raise NotYet(f"after bytes {start} to {end} the file lacks some, or has others")
    return f"{len(pieces)} deliveries, many of them again and cut anew, and each byte is there once"
