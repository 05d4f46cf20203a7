"""Two ways to publish batches: into a stream, or, at most once, to whoever listens.

The stream's last message of the subject says how far this host is, whoever sent it and whatever became of
the acknowledgement. Each message is published by compare and set on that: with the sequence that the last
one must have (NATS documentation, header `Nats-Expected-Last-Subject-Sequence`). So nothing is lost,
doubled or reordered, whatever is tried again; and of two producers for one host, only one gets through.
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

import nats.errors
import nats.js.errors
from nats.aio.client import Client

from .connection import settled
from .notices import Notices
from .positions import Positions, RefusedError
from .source import Batch, Position, Range, read_headers
from .streams import find_consumer, find_stream
from .tail import Tail

ACK = 2.0  # seconds to wait for an answer of JetStream's; to ask again too early costs nothing but that
EXPECTED = "Nats-Expected-Last-Subject-Sequence"
CONFLICT = (10071, 10164)  # the server's error codes for "wrong last sequence"
NO_MESSAGE = 10037  # and for "no message found"
HEADERS = 512  # bytes that our headers take, at most
ON_ITS_WAY = 0.05  # seconds for what an earlier connection has sent


class UncertainError(Exception):
    """How far we are is no longer certain: look at the stream, and go on from there."""


class Publisher(Protocol):
    """How batches travel."""

    async def resume(self, nc: Client, tail: Tail, positions: Positions) -> None:
        """Find out how far this host is, and seek there."""

    async def send(self, batch: Batch) -> int:
        """Send the batch, and return its sequence in the stream when it is done; 0 without a stream."""

    async def on_its_way(self) -> None:
        """Return when what is being sent has left this process."""

    async def finish(self) -> None:
        """Return when all that was sent has arrived."""


class Core:
    """At most once: a message is done when it is sent."""

    def __init__(self, subject: str, producer: str) -> None:
        self.subject, self.producer = subject, producer

    async def resume(self, nc: Client, tail: Tail, positions: Positions) -> None:
        self._nc = nc
        if positions.sources:
            tail.seek(positions.sources[-1].position)

    async def send(self, batch: Batch) -> int:
        await self._nc.publish(self.subject, batch.data, headers=batch.headers(self.producer))
        if self._nc.pending_data_size > 1 << 20:
            await self._nc.flush()
        else:
            await asyncio.sleep(0)  # let others run: a publish that is only buffered never waits
        return 0

    async def on_its_way(self) -> None:
        """It is."""

    async def finish(self) -> None:
        await settled(self._nc, timeout=1)


class Stream:
    """Each message is acknowledged by the stream, and follows just the one before it."""

    def __init__(self, name: str, number: int, subject: str, producer: str, notices: Notices) -> None:
        self.name, self.number, self.subject, self.producer = name, number, subject, producer
        self._notices = notices
        self._established = False  # the stream has taken a message of ours
        self._strangers: set[str] = set()  # producers whose last message may have come late
        self._last_sequence: int | None = None  # of the subject, as we know it

    async def resume(self, nc: Client, tail: Tail, positions: Positions) -> None:
        self._nc, self._js = nc, nc.jetstream(timeout=ACK)
        info = await find_stream(self._js, self.name, self.number)
        if (most := info.config.max_msg_size or -1) > 0:
            tail.size = max(1, min(tail.size, most - min(HEADERS, most // 2)))
        if positions.subject not in ("", self.subject):
            await self._moved(positions.subject)
        last = await self._last(str(info.config.name))
        created = str(info.created)
        if last:
            sequence, range_, when = last
            self._check_stranger(sequence, range_.producer)
            tail.seek(Position(range_.source, range_.end, range_.check), when=when)
            positions.sequence, positions.created = sequence, created
        elif positions.created not in ("", created) or info.state.last_seq < positions.sequence:
            # Not by age: then a stream stays the same, and its sequence never goes back.
            self._notices.warn(
                f"the stream {self.name} has forgotten all: shipping again what the files still hold"
            )
            tail.rewind()
        else:
            if positions.sources:
                tail.seek(positions.sources[-1].position)
            positions.created = created
        self._last_sequence = last[0] if last else 0
        positions.subject = self.subject
        positions.save()

    async def _moved(self, before: str) -> None:
        """Wait until the consumer of another partition has stored what this host has there.

        Otherwise two would be at work on one host. nats.errors.Error while there is something left.
        """
        found = re.search(r"\.p(\d+)\.", before)
        if found is None:
            return
        number, left = int(found[1]), 0
        for push in (False, True):
            try:
                stream = await find_stream(self._js, self.name, number)
                consumer = await find_consumer(self._js, str(stream.config.name), number, push=push)
            except (nats.errors.Error, TimeoutError):
                continue  # there is none, or we may not ask
            left = max(left, (consumer.num_pending or 0) + (consumer.num_ack_pending or 0))
        if left:
            raise nats.errors.Error(
                f"this host has moved from {before} to {self.subject}: "
                "waiting until all of the old partition is stored"
            )

    async def _last(self, stream: str) -> tuple[int, Range, float] | None:
        """The stream's last message of the subject: its sequence, its range, and when it was stored."""
        try:
            message = await self._js.get_msg(stream, subject=self.subject)
        except nats.js.errors.APIError as error:
            if error.err_code == NO_MESSAGE:
                return None
            raise
        found = read_headers(message.headers)
        if found is None:
            raise RefusedError(
                f"the last message of {self.subject} was not published by a shipper: use another HOSTNAME"
            )
        return message.seq or 0, found, message.time.timestamp() if message.time else 0.0

    def _check_stranger(self, sequence: int, producer: str) -> None:
        """Somebody else may have published once more: one who was killed, and whose message came late."""
        if self._last_sequence is None or sequence <= self._last_sequence or producer == self.producer:
            return
        if self._established or producer in self._strangers:
            raise RefusedError(
                f"another producer publishes on {self.subject}: stop it, "
                "or give this one a HOSTNAME of its own"
            )
        self._strangers.add(producer)

    async def send(self, batch: Batch) -> int:
        headers = batch.headers(self.producer) | {EXPECTED: str(self._last_sequence)}
        try:
            ack = await self._js.publish(self.subject, batch.data, timeout=ACK, headers=headers)
        except nats.js.errors.NoStreamResponseError:
            raise nats.errors.Error(f"no stream takes {self.subject}: `setup` makes one") from None
        except nats.js.errors.APIError as error:
            if error.err_code in CONFLICT:
                await asyncio.sleep(ON_ITS_WAY)  # it may be one of ours that is still on its way
                raise UncertainError from None
            raise
        self._established, self._last_sequence = True, ack.seq
        return ack.seq

    async def on_its_way(self) -> None:
        await asyncio.sleep(0)
        while self._nc.pending_data_size and self._nc.is_connected:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def finish(self) -> None:
        """Nothing to do: each message was waited for."""
