"""Settings → work on a connection, and on a new one whenever it is lost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client

from .notices import Notices
from .settings import Link

Answer = TypeVar("Answer")

ATTEMPT = 3.0  # seconds for one attempt to connect
BACKOFF = 0.1, 2.0  # seconds between attempts: first, last
PING = 5  # seconds; a connection that does not answer two of them is lost

# What a call to NATS may raise when the server, the network or the stream is not there just now.
PASSING = (nats.errors.Error, OSError, TimeoutError)


async def on_connections(
    link: Link,
    name: str,
    work: Callable[[Client], Awaitable[Answer]],
    notices: Notices,
    stop: asyncio.Event,
) -> Answer | None:
    """Run `work(connection)`; when the connection is lost, cancel it and run it again on a new one, for ever.

    Each connection begins with nothing half sent on it: so `work` begins with finding out how far it is.
    `work` lets an error of a closed connection through, since its cancellation may get lost: a call that is
    answered in the same moment swallows it (`asyncio.wait_for` of Python 3.11, which nats-py uses).
    Returns what `work` returns; None if `stop` is set while there is no server.
    """
    delay = BACKOFF[0]
    while not stop.is_set():
        lost = asyncio.Event()
        try:
            nc = await _connect(link, name, lost, notices)
        except Exception as error:  # whatever it is, such as broken credentials: it may be mended meanwhile
            notices.trouble(
                "connection", f"cannot connect to {_shown(link.servers)}: {reason(error)}; trying on"
            )
            await pause(delay, stop)
            delay = min(2 * delay, BACKOFF[1])
            continue
        notices.over(
            "connection", f"connected to {nc.connected_url.netloc if nc.connected_url else 'the server'}"
        )
        delay = BACKOFF[0]
        working, losing = asyncio.ensure_future(work(nc)), asyncio.ensure_future(lost.wait())
        try:
            await asyncio.wait({working, losing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and not isinstance(working.exception(), PASSING):
                return working.result()
            notices.trouble("connection", "the connection is lost; trying to get another one")
        finally:
            for task in (working, losing):
                task.cancel()
                with suppress(asyncio.CancelledError, *PASSING):
                    await task
            with suppress(*PASSING):
                await nc.close()
        await pause(delay, stop)
    return None


async def _connect(link: Link, name: str, lost: asyncio.Event, notices: Notices) -> Client:
    async def note(error: Exception) -> None:
        if "permissions violation" in str(error).lower():
            notices.trouble(f"permission {error}", f"{reason(error)}: have this user's permissions allow it")
        elif isinstance(error, nats.errors.SlowConsumerError):
            notices.trouble(
                f"slow {error.subject}", f"messages on {error.subject} come too fast: some are lost"
            )

    async def gone() -> None:
        lost.set()

    async with asyncio.timeout(ATTEMPT):
        return await nats.connect(
            list(link.servers),
            name=name,
            error_cb=note,
            closed_cb=gone,
            disconnected_cb=gone,
            allow_reconnect=False,  # a new connection knows better how far it is than an old one
            max_reconnect_attempts=1,
            reconnect_time_wait=0.05,
            connect_timeout=2,
            ping_interval=PING,
            max_outstanding_pings=2,
            tls=_tls(link),
            user_credentials=str(link.credentials) if link.credentials else None,
        )


def _tls(link: Link) -> ssl.SSLContext | None:
    secured = any(server.startswith(("tls://", "wss://")) for server in link.servers)
    if not (link.ca or link.certificate or secured):
        return None
    context = ssl.create_default_context(cafile=link.ca)
    if link.certificate and link.key:
        context.load_cert_chain(link.certificate, link.key)
    return context


async def pause(seconds: float, stop: asyncio.Event) -> None:
    """Wait for some time, or until `stop` is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def settled(nc: Client, timeout: int = 5) -> None:
    """Return when the server has handled all that was sent (one flush goes ahead of what is held back)."""
    await nc.flush(timeout)
    await nc.flush(timeout)


def _shown(servers: tuple[str, ...]) -> str:
    """The servers without the passwords that their addresses may hold."""
    return ", ".join(server.rpartition("@")[2].removeprefix("nats://") for server in servers)


def reason(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, nats.js.errors.APIError) and error.description:
        return str(error.description)
    text = " ".join(str(error).split()).removeprefix("nats: ").strip("'")
    return "no answer in time" if isinstance(error, TimeoutError) else text or type(error).__name__
