"""One service of the order system, on NATS: `python orders_nats.py create|dispatch|audit NAME`."""

import asyncio
import os
import sys

import nats

kind, name = sys.argv[1:]


async def main():
    nc = await nats.connect(os.environ["NATS_URL"], name=name)

    async def create(message):
        sent = await nc.request("ORDERS.dispatch", message.data, timeout=2)
        await message.respond(b"accepted; " + sent.data)

    async def dispatch(message):
        await asyncio.sleep(0.001)  # the work
        await message.respond(message.data + f" sent by {name}".encode())

    async def audit(message):
        print("noted:", message.subject, message.data.decode(), flush=True)

    if kind == "create":
        await nc.subscribe("ORDERS.create", queue="create", cb=create)
    elif kind == "dispatch":
        await nc.subscribe("ORDERS.dispatch", queue="dispatch", cb=dispatch)
    else:
        await nc.subscribe("ORDERS.>", cb=audit)
    await asyncio.Event().wait()  # for ever


asyncio.run(main())
