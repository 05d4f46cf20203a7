"""Where an answer is tried: a fresh server, and connections that are closed again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import nats
from nats.aio.client import Client

from ..server import NatsServer
from ..waiting import until

QUIET = 0.2  # seconds in which nothing more must come
PATIENCE = 2.0  # seconds to close one connection
RETRY = 0.1  # seconds between two tries to connect again


class Room:
    """A server of its own for one try of one answer.

    `errors` collects what went wrong in the background, for example in a learner's callback.
    """

    def __init__(self, *, jetstream: bool = False) -> None:
        self.server = NatsServer(jetstream)
        self.errors: list[Exception] = []
        self._clients: list[Client] = []

    async def connect(self, name: str, *, reconnect: bool = False) -> Client:
        """A connection to the room's server, called `name` there; with `reconnect` it outlives a restart."""
        client = await nats.connect(
            self.server.url,
            name=name,
            error_cb=self._ignore if reconnect else self._note,  # each vain try would be an error
            allow_reconnect=reconnect,
            reconnect_time_wait=RETRY,
        )
        self._clients.append(client)
        return client

    async def settle(self, client: Client) -> None:
        """Wait until the server has handled all that `client` sent so far."""
        # One flush is not enough: nats-py sends its PING ahead of what it still holds back.
        await client.flush()
        await client.flush()

    def listeners(self, subject: str) -> list[tuple[str, str | None]]:
        """Who is subscribed to just `subject`, as the server sees it: sorted (client, queue group)."""
        return sorted(
            (
                (connection.label, each.queue)
                for connection in self.server.monitor.connz().connections
                for each in connection.subscriptions
                if each.subject == subject
            ),
            key=lambda found: (found[0], found[1] or ""),
        )

    async def quiet(self, count: Callable[[], int]) -> None:
        """Return when `count()` has not grown for a moment."""
        seen = -1
        while seen != count():
            seen = count()
            with suppress(TimeoutError):
                await until(lambda: count() > seen, timeout=QUIET)  # noqa: B023  awaited at once

    async def _note(self, error: Exception) -> None:
        self.errors.append(error)

    async def _ignore(self, _: Exception) -> None:
        """It is what the check makes happen."""

    async def close(self) -> None:
        """Close all connections, and end the server."""
        try:
            for client in self._clients:
                with suppress(Exception):  # a learner may have closed or broken it
                    await asyncio.wait_for(client.close(), PATIENCE)
        finally:
            self.server.close()
