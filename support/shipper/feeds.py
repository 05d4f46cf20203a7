"""Three ways in which the messages of one partition come: pulled, pushed, or without a stream.

What a stream delivers is numbered by the server, for each consumer. A feed begins by having delivery start
again after the ack floor, with number 1; a number that is missing breaks it, and it has to begin again.
So all that a feed hands on is all that there is, in the stream's order, and acknowledging the last message
acknowledges none that was not seen.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import ConsumerInfo

from .connection import settled
from .positions import RefusedError
from .presence import be_the_only_one
from .streams import find_consumer, find_stream, rewind
from .subjects import partition_subject, presence_subject

PULL_MESSAGES, PULL_BYTES = 2000, 8 << 20  # one request, at most; bytes for all partitions together
HEADERS = 64 << 10  # bytes that subject and headers take beside the largest payload, at most
EXPIRES, HEARTBEAT = 5.0, 1.0  # seconds: of one request; of the server's sign that it still knows of it
SILENCE = 3 * HEARTBEAT  # seconds without any sign, after which a feed is broken
ANSWER = 2.0  # seconds to wait for an answer of JetStream's; without a leader there is none
HELD = 16 << 20  # bytes that wait here to be stored, at most, for all partitions together
STRANGER = EXPIRES + 3  # seconds for the requests of a program that was killed to end


class Broken(nats.errors.Error):
    """Something was not delivered: the feed has to begin again."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where feeds are at work: what they have in common with the others of their process.

    `process` names it, `said` describes it to others. `partitions` is how many feeds share its memory.
    `stored` tells up to which sequence of an origin all is stored, None if that is not known; `passed` is
    told up to where there is nothing to store; `refuse` is told what is not read.
    """

    prefix: str
    process: str
    said: str
    partitions: int
    stored: Callable[[str], int | None]
    passed: Callable[[str, int], Awaitable[object]]
    refuse: Callable[[str], None]

    def share(self, size: int) -> int:
        """One feed's part of `size` bytes."""
        return size // self.partitions


class Feed(Protocol):
    """The messages of one partition. `origin` names the stream they come from, once it is known."""

    origin: str

    async def begin(self, nc: Client) -> None:
        """Start on this connection, after what is acknowledged."""

    async def take(self, patience: float) -> list[Msg]:
        """All messages that are here; if there are none, those that come within `patience` seconds.

        Raises Broken if one is missing.
        """

    async def done(self, messages: list[Msg], refused: list[Msg]) -> None:
        """Acknowledge what `take` gave, now that it is stored; terminate those that were refused."""

    async def working(self, messages: list[Msg]) -> None:
        """Tell the server that they are still being worked on."""

    async def pending(self) -> int:
        """How many messages there are that were not acknowledged."""

    async def end(self) -> None:
        """Take no more."""


class _Inbox:
    """Messages that have come and were not taken yet."""

    def __init__(self, most: int) -> None:
        self._messages: deque[Msg] = deque()
        self._bytes, self._most = 0, most
        self._come, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._wrong = ""

    def put(self, message: Msg) -> None:
        self._messages.append(message)
        self._bytes += len(message.data)
        if self._bytes > self._most:
            self._room.clear()
        self._come.set()

    def fail(self, why: str) -> None:
        """Nothing more comes, because of `why`."""
        self._wrong = self._wrong or why
        self._come.set()

    async def room(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    async def take(self, patience: float) -> list[Msg]:
        if not self._messages and not self._wrong:
            try:
                async with asyncio.timeout(patience):
                    await self._come.wait()
            except TimeoutError:
                return []
        found = list(self._messages)
        self._messages.clear()
        self._bytes = 0
        self._come.clear()
        self._room.set()
        if self._wrong and not found:
            raise Broken(self._wrong)
        return found


class _OfStream:
    """What pulled and pushed messages have in common: delivery numbers, and acknowledging all up to one."""

    push: bool

    def __init__(self, stream: str, number: int, site: Site) -> None:
        self._stream, self._number, self._site = stream, number, site
        self._nc: Client | None = None
        self._subscription: Subscription | None = None
        self._first = True
        self._consumer = "", ""  # stream and name, once begun
        self.origin = ""

    async def _rewound(self, nc: Client) -> ConsumerInfo:
        """What there is to be read, on this connection; refuse to if somebody else reads it."""
        self._js = nc.jetstream(timeout=ANSWER)
        self._inbox, self._delivered = _Inbox(self._site.share(HELD)), 0
        stream = await find_stream(self._js, self._stream, self._number)
        name = str(stream.config.name)
        if nc is not self._nc:
            await be_the_only_one(
                nc,
                presence_subject(self._site.prefix, f"consumer.{name}.{self._number}"),
                process=self._site.process,
                said=self._site.said,
                otherwise=f"another consumer ({{other}}) reads partition {self._number} of {name} already: "
                "stop it, or give this one other partitions in SHIPPER_READ_PARTITIONS",
            )
            self._nc, self._subscription = nc, None
        info = await find_consumer(self._js, name, self._number, push=self.push)
        if self._first:
            await self._nobody_waits(info)
            self._first = False
        self.origin = f"{name} {stream.created} {self._number}"
        return info

    async def _nobody_waits(self, info: ConsumerInfo) -> None:
        """Wait for the requests of a program that was killed to end; those of a living one do not."""
        deadline = asyncio.get_running_loop().time() + STRANGER
        while info.num_waiting or info.push_bound:
            if asyncio.get_running_loop().time() > deadline:
                raise RefusedError(
                    f"another consumer reads partition {self._number} of {info.stream_name} already: "
                    "stop it, or give this one other partitions in SHIPPER_READ_PARTITIONS"
                )
            await asyncio.sleep(0.1)
            info = await self._js.consumer_info(info.stream_name, info.name)

    async def _rewind(self, info: ConsumerInfo) -> None:
        assert self._nc
        version = self._nc.connected_server_version
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        # Where a copy of the files and the checkpoint was restored, that ends before the ack floor.
        stored = self._site.stored(self.origin)
        floor = floor if stored is None else min(floor, stored)
        floor = await self._skip_unreadable(info, floor)
        await rewind(self._js, info, (version.major, version.minor), floor)
        self._consumer = info.stream_name, info.name

    async def _skip_unreadable(self, info: ConsumerInfo, floor: int) -> int:
        """Pass over messages next in line whose subject is no text: no client library could receive them."""
        while True:
            try:
                message = await self._js.get_msg(
                    info.stream_name, seq=floor + 1, subject=info.config.filter_subject, next=True
                )
            except nats.js.errors.NotFoundError:
                return floor
            if "\ufffd" not in str(message.subject):
                return floor
            self._site.refuse(f"refused, since its subject is no text: {message.subject!r}")
            floor = message.seq or floor + 1
            await self._site.passed(self.origin, floor)

    def _in_turn(self, message: Msg) -> bool:
        """Whether it is the next delivery; if it is not, the feed is broken."""
        number = message.metadata.sequence.consumer
        if number != self._delivered + 1:
            self._inbox.fail(f"delivery {number} of {self._consumer[1]} came after {self._delivered}")
            return False
        self._delivered = number
        return True

    async def done(self, messages: list[Msg], refused: list[Msg]) -> None:
        for message in refused:
            await message.term()  # as an acknowledgement does, this covers all before it: never do it earlier
        if messages[-1] not in refused:
            await messages[-1].ack()

    async def working(self, messages: list[Msg]) -> None:
        await messages[-1].in_progress()

    async def pending(self) -> int:
        if not self._consumer[0]:
            return 1  # not yet known
        assert self._nc
        await settled(self._nc)  # what we have acknowledged is to count
        info = await self._js.consumer_info(*self._consumer)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)

    async def end(self) -> None:
        if self._subscription:
            await self._subscription.unsubscribe()
            self._subscription = None


class Pulled(_OfStream):
    """Asked for, a few mebibytes at a time (NATS documentation, "Pull consumers"; ADR-13)."""

    push = False

    async def begin(self, nc: Client) -> None:
        info = await self._rewound(nc)
        await self.end()
        await self._rewind(info)
        self._reply = nc.new_inbox()
        self._subscription = await nc.subscribe(self._reply, cb=self._received)
        self._ask = f"$JS.API.CONSUMER.MSG.NEXT.{info.stream_name}.{info.name}"
        await self._request()

    async def take(self, patience: float) -> list[Msg]:
        found = await self._inbox.take(patience)
        if not found and asyncio.get_running_loop().time() - self._heard > SILENCE:
            raise Broken("nothing was heard of the consumer")
        return found

    async def _request(self) -> None:
        assert self._nc
        asked = {
            "batch": PULL_MESSAGES,
            "max_bytes": max(self._site.share(PULL_BYTES), self._nc.max_payload + HEADERS),
            "expires": int(EXPIRES * 1e9),
            "idle_heartbeat": int(HEARTBEAT * 1e9),
        }
        self._heard = asyncio.get_running_loop().time()
        await self._nc.publish(self._ask, json.dumps(asked).encode(), reply=self._reply)

    async def _received(self, message: Msg) -> None:
        self._heard = asyncio.get_running_loop().time()
        status = (message.headers or {}).get("Status") if not message.data else None
        if status is None:
            if self._in_turn(message):
                self._inbox.put(message)
            return
        said = (message.headers or {}).get("Description", "")
        if status == "100":  # a heartbeat
            return
        if status in ("404", "408") or (
            status == "409" and said.startswith(("Batch Completed", "Message Size"))
        ):
            await self._inbox.room()
            await self._request()
            return
        self._inbox.fail(f"the server ended the request: {status} {said}")


class Pushed(_OfStream):
    """Delivered to a subject, as far as there is room for unacknowledged messages."""

    push = True

    async def begin(self, nc: Client) -> None:
        info = await self._rewound(nc)
        await self.end()
        self._begun = False
        self._heard = asyncio.get_running_loop().time()
        target = str(info.config.deliver_subject)
        self._subscription = await nc.subscribe(target, cb=self._received)
        await settled(nc)
        await self._rewind(info)

    async def take(self, patience: float) -> list[Msg]:
        found = await self._inbox.take(patience)
        now = asyncio.get_running_loop().time()
        if not found and now - self._heard > EXPIRES:
            await self._js.consumer_info(*self._consumer)  # raises an error if it is gone
        if found or now - self._heard > EXPIRES:
            self._heard = now
        return found

    async def _received(self, message: Msg) -> None:
        if not message.reply:
            return
        # What was on its way before the new beginning comes first.
        self._begun = self._begun or message.metadata.sequence.consumer == 1
        if self._begun and self._in_turn(message):
            self._inbox.put(message)


class Live:
    """Without a stream: what is published while we listen."""

    origin = ""

    def __init__(self, number: int, site: Site) -> None:
        self._subject, self._site = partition_subject(site.prefix, number), site
        self._nc: Client | None = None

    async def begin(self, nc: Client) -> None:
        if nc is self._nc:
            await self.end()
        self._nc, self._inbox = nc, _Inbox(self._site.share(HELD))
        self._subscription = await nc.subscribe(self._subject, cb=self._received, pending_bytes_limit=HELD)
        await settled(nc)

    async def _received(self, message: Msg) -> None:
        await self._inbox.room()
        self._inbox.put(message)

    async def take(self, patience: float) -> list[Msg]:
        return await self._inbox.take(patience)

    async def done(self, messages: list[Msg], refused: list[Msg]) -> None:
        """Nobody waits for it."""

    async def working(self, messages: list[Msg]) -> None:
        """Nobody waits for it."""

    async def pending(self) -> int:
        return 0

    async def end(self) -> None:
        await self._subscription.unsubscribe()
