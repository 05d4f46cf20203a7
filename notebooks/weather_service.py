"""One instance of the weather service of part 3: `python weather_service.py NAME`."""

import asyncio
import os
import sys

import nats


async def main(name):
    nc = await nats.connect(
        os.environ["NATS_URL"], name=name, max_reconnect_attempts=-1, reconnect_time_wait=0.1
    )
    leaving = asyncio.Event()

    async def answer(msg):
        await asyncio.sleep(0.005)  # the work
        await msg.respond(f"rain, says {name}".encode())

    async def leave(msg):
        leaving.set()

    await nc.subscribe("WEATHER.SERVICE", queue="weather", cb=answer)
    await nc.subscribe(f"WEATHER.LEAVE.{name}", cb=leave)
    await leaving.wait()
    await nc.drain()  # no new requests; answer those that are here; disconnect


asyncio.run(main(sys.argv[1]))
