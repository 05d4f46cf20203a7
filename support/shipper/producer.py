"""A file → batches → acknowledged messages, one in flight.

Whenever it is not certain how far it is, the producer asks the stream for its last message and goes on
from there (`publishing.py`). Without a stream it goes on from the position that it has saved.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg

from .connection import PASSING, on_connections, pause, reason
from .notices import Notices
from .positions import Positions, lock, state_file
from .presence import be_the_only_one
from .publishing import Core, Publisher, Stream, UncertainError
from .settings import ProducerSettings
from .source import Batch
from .subjects import control_subject, partition, presence_subject, subject_of
from .tail import Tail

POLL = 0.01  # seconds between two looks at the file
LOOK = 0.05  # seconds between two looks whether there is a file
SAVE = 0.5  # seconds between two savings of the positions, at least
ROOM = 4096  # bytes of the server's largest message that are left for the headers
BACKOFF = 0.05, 2.0  # seconds before something is tried again: first, last


@dataclass(slots=True)
class Progress:
    """What this run has shipped so far; `behind` bytes of the file are still to come."""

    lines: int = 0
    bytes: int = 0
    messages: int = 0
    behind: int = 0


async def produce(
    settings: ProducerSettings, *, once: bool, stop: asyncio.Event, notices: Notices, progress: Progress
) -> None:
    """Ship the file until `stop` is set; with `once`, until all that is in it is acknowledged.

    Raises RefusedError if another producer ships for the same host.
    """
    path = state_file(settings.state, settings.host, settings.file)
    held = lock(
        path.with_suffix(".lock"), f"another producer ships {settings.file} for {settings.host} already"
    )
    try:
        producer = Producer(settings, Positions.load(path, notices), notices, progress)
        await on_connections(
            settings,
            f"shipper producer {settings.host}",
            lambda nc: producer.ship(nc, once=once, stop=stop),
            notices,
            stop,
        )
        producer.positions.save()
    finally:
        held.release()


class Producer:
    """One file of one host, over one connection after the other."""

    def __init__(
        self, settings: ProducerSettings, positions: Positions, notices: Notices, progress: Progress
    ) -> None:
        self.settings, self.positions, self.notices, self.progress = settings, positions, notices, progress
        number = partition(settings.host, settings.partitions)
        self.subject = subject_of(settings.prefix, number, settings.host)
        self.id = secrets.token_hex(8)
        self._go = asyncio.Event()  # clear while all producers are paused
        self._go.set()
        self._saved = 0.0
        self._publisher: Publisher
        if settings.stream:
            self._publisher = Stream(settings.stream, number, self.subject, self.id, notices)
        else:
            self._publisher = Core(self.subject, self.id)
            notices.say("no SHIPPER_STREAM: core NATS, at most once; lines are lost where nobody listens")

    async def ship(self, nc: Client, *, once: bool, stop: asyncio.Event) -> None:
        """Ship on this connection until `stop`, or until all is acknowledged."""
        await be_the_only_one(
            nc,
            presence_subject(self.settings.prefix, f"producer.{self.settings.host}"),
            process=self.id,
            said=f"{self.settings.file} on {socket.gethostname()}",
            otherwise=f"another producer ships for {self.settings.host} already ({{other}}): stop it, "
            "or give this one a HOSTNAME of its own",
        )
        await nc.subscribe(control_subject(self.settings.prefix), cb=self._control)
        size = min(self.settings.batch or 512 * 1024, nc.max_payload - min(ROOM, nc.max_payload // 2))
        tail = Tail(
            self.settings.file,
            self.positions,
            size=size,
            lines=not self.settings.batch,
            warn=self.notices.warn,
        )
        delay = BACKOFF[0]
        try:
            while not stop.is_set():
                try:
                    await self._publisher.resume(nc, tail, self.positions)
                    if await self._batches(tail, once=once, stop=stop):
                        return
                    delay = BACKOFF[0]
                except UncertainError:
                    delay = BACKOFF[0]
                except PASSING as error:
                    if nc.is_closed:
                        raise
                    self.notices.trouble(
                        "shipping", f"cannot ship to {self.subject}: {reason(error)}; trying on"
                    )
                    await pause(delay, stop)
                    delay = min(2 * delay, BACKOFF[1])
            with suppress(*PASSING):
                await self._publisher.finish()
        finally:
            tail.close()

    async def _batches(self, tail: Tail, *, once: bool, stop: asyncio.Event) -> bool:
        """Ship batch after batch; True if with `once` all is done."""
        ahead: Batch | None = None
        while not stop.is_set():
            if not self._go.is_set():
                await self._paused(stop)
                continue
            batch, ahead = ahead or tail.read(final=once), None
            if batch is None:
                if tail.position is None:
                    self.notices.trouble("file", f"there is no file {self.settings.file} yet")
                if once:
                    await self._publisher.finish()
                    return True
                self._save(SAVE)
                self.progress.behind = 0
                await asyncio.sleep(POLL if tail.position else LOOK)
                continue
            sending = asyncio.ensure_future(self._publisher.send(batch))
            try:
                if tail.behind:
                    await self._publisher.on_its_way()
                    ahead = tail.read(final=once)  # while the server is at it
                self.positions.sequence = await sending
            finally:
                sending.cancel()
            self.positions.reach(batch.position)
            self.notices.over("shipping", "shipping again")
            self.notices.over("file", f"now there is {self.settings.file}")
            self._count(batch, tail)
            self._save(SAVE)
        return False

    def _count(self, batch: Batch, tail: Tail) -> None:
        self.progress.lines += batch.lines
        self.progress.bytes += len(batch.data)
        self.progress.messages += 1
        self.progress.behind = tail.behind

    def _save(self, every: float) -> None:
        if time.monotonic() - self._saved > every:
            self.positions.save()
            self._saved = time.monotonic()

    # -- the others ---------------------------------------------------------------------------

    async def _control(self, message: Msg) -> None:
        word = message.data.strip().lower()
        if word == b"pause" and self._go.is_set():
            self._go.clear()
            self.notices.say(f"paused by {message.subject}; the file is followed again after resume")
        elif word == b"resume" and not self._go.is_set():
            self._go.set()
            self.notices.say(f"resumed by {message.subject}")

    async def _paused(self, stop: asyncio.Event) -> None:
        waiting = {asyncio.ensure_future(self._go.wait()), asyncio.ensure_future(stop.wait())}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
