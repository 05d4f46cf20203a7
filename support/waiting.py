"""Wait for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

POLL = 0.005  # seconds between two looks


async def until(condition: Callable[[], object], *, timeout: float = 5.0) -> None:
    """Return as soon as `condition()` is true; raise TimeoutError after `timeout` seconds.

        await until(lambda: len(received) == 3)

    Other tasks run meanwhile.
    """
    async with asyncio.timeout(timeout):
        # A look now and then, since the condition may be a server's, which sets no event here.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(POLL)
