"""A reader of part 6: `python log_reader.py FILE` listens, `python log_reader.py FILE CONSUMER` pulls."""

import asyncio
import os
import sys
from pathlib import Path

import nats


async def listen(nc, store):
    async def handle(message):
        store(message.data)

    await nc.subscribe("logs.p0.>", cb=handle)
    await asyncio.Event().wait()  # until killed


async def pull(nc, store, consumer):
    subscription = await nc.jetstream().pull_subscribe_bind(consumer, stream="LOGS")
    while True:
        try:
            (message,) = await subscription.fetch(1, timeout=1)
        except TimeoutError:
            continue  # nothing new within a second
        store(message.data)
        await message.ack()


async def main(store, *consumer):
    nc = await nats.connect(os.environ["NATS_URL"], name="reader")
    await (pull(nc, store, *consumer) if consumer else listen(nc, store))


with Path(sys.argv[1]).open("ab", buffering=0) as file:
    asyncio.run(main(file.write, *sys.argv[2:]))
