"""Messages → pieces per host → stored → acknowledged.

A message is acknowledged only when its bytes are on disk and the checkpoint says so. What cannot be stored
is kept and tried again; meanwhile the server is told that we are at it, and no more is asked for.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg

from .connection import PASSING, on_connections, pause, reason, settled
from .feeds import Feed, Live, Pulled, Pushed, Site
from .notices import Notices
from .settings import ConsumerSettings
from .source import read_headers
from .store import Piece, Store, StoreError
from .subjects import host_of

LOOK = 0.25  # seconds between two looks whether to stop
GATHER = 0.02  # seconds to wait for more, where more is to come
BULK = 64 << 10  # bytes: a larger message is one of many, since a lone line leaves at once
BACKOFF = 0.1, 5.0  # seconds before something is tried again: first, last
NAMED = 100  # refused subjects that are named, at most


@dataclass(slots=True)
class Progress:
    """What this run has stored so far. `pending` messages were still to come when the last one was sent;
    `refused` messages had no host name in their subject."""

    lines: int = 0
    bytes: int = 0
    messages: int = 0
    pending: int = 0
    refused: int = 0


async def consume(
    settings: ConsumerSettings,
    *,
    until_idle: float | None,
    stop: asyncio.Event,
    notices: Notices,
    progress: Progress,
) -> None:
    """Store what comes until `stop` is set, or until nothing is pending for `until_idle` seconds.

    Raises RefusedError if another consumer writes to the directory, or reads one of the partitions.
    """
    if not settings.stream:
        notices.say("no SHIPPER_STREAM: core NATS, at most once; what comes while this does not run is lost")
    store = Store(
        settings.directory,
        output=settings.output,
        keep=settings.keep,
        state=settings.state,
        warn=notices.warn,
    )
    # One thread for all partitions: they share a disk and a checkpoint.
    with ThreadPoolExecutor(1, thread_name_prefix="disk") as disk:
        consumer = Consumer(settings, store, disk, notices, progress, stop)
        try:
            await on_connections(
                settings, "shipper consumer", lambda nc: consumer.run(nc, until_idle), notices, stop
            )
        finally:
            disk.submit(store.close).result()


class Consumer:
    """All partitions of one directory, over one connection after the other."""

    def __init__(
        self,
        settings: ConsumerSettings,
        store: Store,
        disk: ThreadPoolExecutor,
        notices: Notices,
        progress: Progress,
        stop: asyncio.Event,
    ) -> None:
        self.settings, self.store, self._disk = settings, store, disk
        self.notices, self.progress, self._stop = notices, progress, stop
        self._refused: set[str] = set()
        self._last = time.monotonic()  # when something came
        self._busy = 0  # batches in hand
        self._site = Site(
            prefix=settings.prefix,
            process=secrets.token_hex(8),
            said=f"{settings.directory.absolute()} on {socket.gethostname()}",
            partitions=len(settings.partitions),
            stored=store.reached,
            passed=lambda origin, sequence: self._on_disk([], (origin, sequence)),
            refuse=self._note_refusal,
        )
        self._feeds = [self._feed(number) for number in settings.partitions]

    def _feed(self, number: int) -> Feed:
        if not self.settings.stream:
            return Live(number, self._site)
        return (Pushed if self.settings.target else Pulled)(self.settings.stream, number, self._site)

    async def run(self, nc: Client, until_idle: float | None) -> None:
        """Store what comes on this connection."""
        self._last = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                partitions = [
                    group.create_task(self._partition(nc, *each))
                    for each in zip(self.settings.partitions, self._feeds, strict=True)
                ]
                if until_idle is not None:
                    await self._idle(until_idle)
                    for each in partitions:
                        each.cancel()
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        await settled(nc, timeout=1)  # the last acknowledgements are to arrive

    async def _partition(self, nc: Client, number: int, feed: Feed) -> None:
        kind, delay = f"reading {number}", BACKOFF[0]
        while not self._stop.is_set():
            try:
                await feed.begin(nc)
                self.notices.over(kind, f"reading partition {number} again")
                while not self._stop.is_set():
                    if messages := await feed.take(LOOK):
                        self._busy += 1
                        try:
                            if self._more_to_come(messages[-1]):
                                await asyncio.sleep(GATHER)
                                messages += await feed.take(0)
                            await self._store(feed, messages)
                        finally:
                            self._busy -= 1
                        delay = BACKOFF[0]
            except PASSING as error:
                if nc.is_closed:
                    raise
                self.notices.trouble(kind, f"cannot read partition {number}: {reason(error)}; trying on")
                await pause(delay, self._stop)
                delay = min(2 * delay, BACKOFF[1])

    def _more_to_come(self, message: Msg) -> bool:
        """Whether it is worth to wait for others, which then cost no sync of their own."""
        return len(message.data) > BULK or (bool(self.settings.stream) and message.metadata.num_pending > 0)

    async def _store(self, feed: Feed, messages: list[Msg]) -> None:
        found = [self._piece(message, feed.origin) for message in messages]
        pieces = [piece for piece in found if piece]
        # Up to where all of this partition is stored then, in the numbers of its stream.
        reached = (feed.origin, messages[-1].metadata.sequence.stream) if self.settings.stream else None
        refused = [message for message, piece in zip(messages, found, strict=True) if piece is None]
        delay = BACKOFF[0]
        while True:
            try:
                stored = await self._on_disk(pieces, reached)
                break
            except StoreError as error:
                self.notices.trouble("store", f"cannot store: {error}; nothing is acknowledged; trying on")
                await feed.working(messages)
                await pause(delay, self._stop)
                delay = min(2 * delay, BACKOFF[1])
                if self._stop.is_set():
                    return
        self.notices.over("store", "storing again")
        await feed.done(messages, refused)
        self._last = time.monotonic()
        self.progress.messages += len(messages)
        self.progress.bytes += stored
        self.progress.lines += sum(piece.lines for piece in pieces)
        if self.settings.stream:
            self.progress.pending = messages[-1].metadata.num_pending

    def _on_disk(self, pieces: list[Piece], reached: tuple[str, int] | None) -> asyncio.Future[int]:
        """Store, in the thread that does nothing else."""
        return asyncio.get_running_loop().run_in_executor(self._disk, self.store.store, pieces, reached)

    def _piece(self, message: Msg, origin: str) -> Piece | None:
        """What a message brings; None if it may not be stored."""
        host = host_of(self.settings.prefix, message.subject)
        if host is None:
            self._refuse(message)
            return None
        metadata = message.metadata if self.settings.stream else None
        when = metadata.timestamp.timestamp() if metadata else time.time()
        if (found := read_headers(message.headers)) and found.end - found.start == len(message.data):
            return Piece(host, found.source, found.start, message.data, when, found.lines, found.after)
        # Published by another program, then.
        source, number = (origin, metadata.sequence.stream) if metadata else ("", 0)
        return Piece(host, source, None, message.data, when, message.data.count(b"\n"), number=number)

    def _refuse(self, message: Msg) -> None:
        """A name from the network that is no host name never becomes a path."""
        self._note_refusal(f"refused, since it names no host: {message.subject[:200]!r}")

    def _note_refusal(self, text: str) -> None:
        self.progress.refused += 1
        if text not in self._refused and len(self._refused) < NAMED:
            self._refused.add(text)
            self.notices.warn(text)

    async def _idle(self, seconds: float) -> None:
        """Return when nothing has come for that long, and nothing is pending."""
        while not self._stop.is_set():
            await pause(max(0.02, self._last + seconds - time.monotonic()), self._stop)
            if self._busy or time.monotonic() - self._last < seconds:
                continue
            try:
                if sum([await feed.pending() for feed in self._feeds]) == 0:
                    return
            except PASSING:
                continue  # whoever reads says so
