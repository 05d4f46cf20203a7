"""One for each task: whoever does it answers when another one asks, and the other one leaves it alone."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg

from .positions import RefusedError

NAME = "Shipper-Process"  # header: which process answers
PATIENCE = 1.0  # seconds to wait for an answer; where nobody is, the server says so at once


async def be_the_only_one(nc: Client, subject: str, *, process: str, said: str, otherwise: str) -> None:
    """Ask on `subject` whether another process is there; if not, answer there with `said` from now on.

    Raises RefusedError with `otherwise`, in which {other} stands for what the other one says.
    """
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answered(message: Msg) -> None:
        headers = message.headers or {}
        # A stream that holds this subject, too, answers as well: only a shipper names itself.
        if not found.done() and headers.get(NAME, process) != process:
            found.set_result(message.data.decode("utf-8", "replace"))
        elif not found.done() and headers.get("Status") == "503":
            found.set_result("")

    async def answer(message: Msg) -> None:
        if message.reply:
            await nc.publish(message.reply, os.fsencode(said), headers={NAME: process})

    inbox = nc.new_inbox()
    asking = await nc.subscribe(inbox, cb=answered)
    await nc.publish(subject, b"who is there?", reply=inbox)
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            if other := await found:
                raise RefusedError(otherwise.replace("{other}", other))
    await asking.unsubscribe()
    await nc.subscribe(subject, cb=answer)
