"""The exercises of part 6: JetStream, messages that stay."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerInfo, PubAck, RetentionPolicy
from nats.js.errors import APIError, NotFoundError

from ..waiting import until
from .check import NotYet, check
from .room import Room

MOST = 100  # messages in SENSORS
TRY = 0.3  # seconds that one try to publish waits for its acknowledgement
TRIES = 8  # while the server is down
ACK_WAIT = 1.5  # seconds until an unacknowledged job comes again
JOBS, CRASH = 30, 14  # jobs in all, and the one in which the worker dies
POLL = 0.02  # seconds between two questions to the server
SOON = 1.0  # seconds for what was sent to be in force
PATIENCE = 4.0  # seconds for a third try, for a loop to get to work

MakeStream = Callable[[JetStreamContext], Awaitable[object]]
Publish = Callable[[JetStreamContext, str, bytes], Awaitable[PubAck]]
Work = Callable[[JetStreamContext.PullSubscription, Callable[[Msg], Awaitable[None]]], Awaitable[object]]


# -- 6.1 --------------------------------------------------------------------------------------


@check(jetstream=True)
async def refuses_when_full(room: Room, make: MakeStream) -> str:
    """SENSORS, on sensors.>, takes 100 messages, refuses the next ones, and forgets none."""
    client = await room.connect("sensors")
    js = client.jetstream()
    await make(js)
    try:
        config = (await js.stream_info("SENSORS")).config
    except NotFoundError:
        raise NotYet("there is no stream SENSORS: make it with js.add_stream") from None
    if config.subjects != ["sensors.>"]:
        raise NotYet(f"SENSORS is to take sensors.> and nothing else; it takes {config.subjects}")
    refused = [number for number in range(1, MOST + 11) if not await _stored(js, number)]
    state = (await js.stream_info("SENSORS")).state
    if refused and min(refused) <= MOST:
        raise NotYet(f"message {min(refused)} was refused already: there is to be room for {MOST}")
    if state.first_seq != 1 or state.num_deleted:
        said = f"message {state.first_seq - 1}" if state.first_seq != 1 else "an older message of its subject"
        raise NotYet(f"too much was stored, and {said} is gone for it: refuse what does not fit instead")
    if not refused:
        raise NotYet(f"{state.messages} messages were stored: limit the stream to {MOST}, over all subjects")
    if min(refused) != MOST + 1:
        raise NotYet(f"message {min(refused)} was the first to be refused: it is to be number {MOST + 1}")
    if config.max_age:
        raise NotYet(f"it refuses, but still forgets by age, after {config.max_age:g} s: set no max_age")
    if (config.max_msgs_per_subject or -1) > 0:
        raise NotYet("it still forgets, or refuses, by subject: set no max_msgs_per_subject")
    if config.retention != RetentionPolicy.LIMITS:
        raise NotYet(f"it refuses, but with retention {config.retention} it forgets what was acknowledged")
    return f"{MOST} messages stored, 10 refused, and message 1 is still there"


async def _stored(js: JetStreamContext, number: int) -> bool:
    """Whether message `number`, from one of three sensors, was taken."""
    try:
        await js.publish(f"sensors.hall{number % 3}", str(number).encode())
    except APIError:
        return False
    return True


# -- 6.2 --------------------------------------------------------------------------------------


class _Counted(JetStreamContext):
    """Counts how often something was to be published."""

    tries = 0

    async def publish(self, *arguments: Any, **more: Any) -> PubAck:
        self.tries += 1
        return await super().publish(*arguments, **more)


@check(deadline=20, jetstream=True)
async def publishes_once(room: Room, publish: Publish) -> str:
    """An order is stored just once, though the server is down while it is published."""
    client = await room.connect("shop", reconnect=True)
    js = _Counted(client, timeout=TRY)
    asking = client.jetstream()
    await asking.add_stream(name="ORDERS", subjects=["orders"])
    twins = [await _published(publish, js, b"1 pen") for _ in range(2)]
    if (await asking.stream_info("ORDERS")).state.messages != 2:
        raise NotYet("two customers ordered 1 pen each, and 2 messages are to be stored: the id must differ")
    if twins[0].seq == twins[1].seq:
        raise NotYet("return the PubAck of your own message")
    room.server.stop()
    await until(lambda: not client.is_connected)
    js.tries = 0
    order = asyncio.create_task(_published(publish, js, b"2 books"))
    with suppress(TimeoutError):
        await until(lambda: js.tries >= TRIES or order.done(), timeout=PATIENCE)
    if order.done():
        order.result()
    if js.tries < 3:
        raise NotYet(
            f"no third try within {PATIENCE:.0f} s: use js.publish with timeout={TRY}, and try again"
        )
    room.server.start()
    await until(lambda: client.is_connected)
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.shield(order), PATIENCE)
    if not order.done():
        raise NotYet("the server is back, and your function does not return: return the PubAck once it comes")
    ack = order.result()
    await room.settle(client)
    state = (await asking.stream_info("ORDERS")).state
    if state.messages > 3:
        raise NotYet("the order is stored more than once: each try arrived, also those that had timed out")
    if ack.seq != 3:
        raise NotYet(f"return the PubAck: it has to name message 3, and yours names {ack.seq}")
    return "the server was down for several tries, and the order is stored once"


async def _published(publish: Publish, js: JetStreamContext, payload: bytes) -> PubAck:
    try:
        ack = await publish(js, "orders", payload)
    except TimeoutError:
        raise NotYet("it gave up with a TimeoutError: try again, until there is a PubAck") from None
    if not isinstance(ack, PubAck):
        raise NotYet(f"return the PubAck of js.publish; you returned {ack!r}")
    return ack


# -- 6.3 --------------------------------------------------------------------------------------


@check(deadline=25, jetstream=True)
async def survives_a_crash(room: Room, work: Work) -> str:
    """A worker dies in the middle of job 14 of 30; the next one does what is left, and nothing is lost."""
    boss = await room.connect("boss")
    js = boss.jetstream()
    await js.add_stream(name="JOBS", subjects=["jobs"])
    await js.add_consumer("JOBS", durable_name="WORK", ack_policy=AckPolicy.EXPLICIT, ack_wait=ACK_WAIT)
    for number in range(1, JOBS + 1):
        await js.publish("jobs", str(number).encode())
    done: Counter[int] = Counter()
    dead = asyncio.Event()

    async def handle(message: Msg) -> None:
        number = int(message.data)
        if number == CRASH and not dead.is_set():
            dead.set()
            await asyncio.Event().wait()  # it dies in here
        done[number] += 1

    await _die(room, js, work, handle, dead, done)
    before = done.copy()
    info = await _wait_for(js, lambda info: _floor(info) >= CRASH - 1)
    if _floor(info) > CRASH - 1:
        raise NotYet(
            f"the worker died in job {CRASH}, and the server's ack floor is beyond job {CRASH - 1}: "
            "it acknowledged what it had not handled"
        )
    if _floor(info) < CRASH - 1:
        raise NotYet(
            f"{CRASH - 1} jobs were handled before the crash, and the server's ack floor is {_floor(info)}: "
            "acknowledge each job as soon as it is handled"
        )
    await _carry_on(room, work, handle, done)
    info = await _wait_for(js, lambda info: not info.num_ack_pending and not info.num_pending)
    if missing := [number for number in range(1, JOBS + 1) if not done[number]]:
        raise NotYet(f"job {missing[0]} was never handled: after ack_wait it comes again, so wait for it")
    if info.num_ack_pending or info.num_pending:
        raise NotYet(
            f"all jobs were handled, and the server still waits for {info.num_ack_pending} acknowledgements"
        )
    if again := [number for number in before if done[number] > 1]:
        raise NotYet(f"job {again[0]} was handled and acknowledged before the crash, and handled again")
    return f"ack floor {CRASH - 1} after the crash; then the rest: ack floor {_floor(info)}, pending 0"


async def _die(
    room: Room,
    js: JetStreamContext,
    work: Work,
    handle: Callable[[Msg], Awaitable[None]],
    dead: asyncio.Event,
    done: Counter[int],
) -> None:
    """Let a worker run until it is in the middle of a job, and take everything from it."""
    client = await room.connect("worker-1")
    task = asyncio.ensure_future(_work(client, work, handle))
    with suppress(TimeoutError):
        await until(lambda: dead.is_set() or task.done(), timeout=PATIENCE)
    if not dead.is_set():
        if task.done():
            task.result()
        raise NotYet(f"{len(done)} jobs were handled, and then none: call `await handle(message)` for each")
    await room.settle(client)  # what it has acknowledged is sent
    task.cancel()
    await asyncio.wait({task}, timeout=SOON)
    await client.close()


async def _carry_on(
    room: Room, work: Work, handle: Callable[[Msg], Awaitable[None]], done: Counter[int]
) -> None:
    """A second worker, until all is handled or it ends; it may wait for more work for ever."""
    client = await room.connect("worker-2")
    task = asyncio.ensure_future(_work(client, work, handle))
    with suppress(TimeoutError):
        await until(lambda: len(done) == JOBS or task.done(), timeout=PATIENCE)
    if task.done() and len(done) < JOBS:
        task.result()
    await room.settle(client)


async def _work(client: Client, work: Work, handle: Callable[[Msg], Awaitable[None]]) -> None:
    subscription = await client.jetstream().pull_subscribe_bind("WORK", stream="JOBS")
    await work(subscription, handle)


def _floor(info: ConsumerInfo) -> int:
    return info.ack_floor.stream_seq if info.ack_floor else 0


async def _wait_for(js: JetStreamContext, condition: Callable[[ConsumerInfo], bool]) -> ConsumerInfo:
    """The consumer WORK as soon as it is as it should be, or as it is after a moment."""
    deadline = time.monotonic() + SOON
    while True:
        info: ConsumerInfo = await js.consumer_info("JOBS", "WORK")
        if condition(info) or time.monotonic() > deadline:
            return info
        await asyncio.sleep(POLL)
