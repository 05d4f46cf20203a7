"""The exercises of part 3: a server of your own, patterns by hand."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from ..server import NatsServer
from ..waiting import until
from .check import NotYet, check
from .room import Room

REPLY = 1.0  # seconds to wait for one reply
QUIET = 0.2  # seconds in which nothing more must come

Worker = Callable[[Client, list[bytes]], Awaitable[None]]
Service = Callable[[Client], Awaitable[None]]
Listeners = Callable[[NatsServer, str], list[str]]
Ask = Callable[[Client, str, bytes], Awaitable[Msg]]


@check()
async def shares_the_work(room: Room, worker: Worker) -> str:
    """Three workers handle each of 30 jobs on JOBS.resize just once."""
    done: dict[str, list[bytes]] = {f"worker-{number}": [] for number in (1, 2, 3)}
    for name, mine in done.items():
        client = await room.connect(name)
        await worker(client, mine)
        await room.settle(client)
    present = room.listeners("JOBS.resize")
    if {name for name, _ in present} != set(done):
        raise NotYet(f"{len(present)} of 3 workers listen on JOBS.resize: subscribe to it")
    producer = await room.connect("producer")
    jobs = [f"job {number}".encode() for number in range(30)]
    for job in jobs:
        await producer.publish("JOBS.resize", job)
    await room.settle(producer)
    await _quiet(lambda: sum(map(len, done.values())))
    handled = Counter(job for mine in done.values() for job in mine)
    if missing := len(set(jobs) - set(handled)):
        raise NotYet(f"{missing} of 30 jobs were not appended to `done`")
    if (times := max(handled.values())) > 1:
        raise NotYet(f"a job was handled {times} times, once by each worker that got it: make them one group")
    groups = {queue for _, queue in present}
    return f"30 jobs, each handled once, by 3 workers in queue group {groups.pop()}"


@check()
async def squares(room: Room, service: Service) -> str:
    """A service on MATH.square answers numbers with their squares, and everything else with b"error"."""
    client = await room.connect("client")
    await service(provider := await room.connect("service"))
    await room.settle(provider)
    if not room.listeners("MATH.square"):
        raise NotYet("nobody listens on MATH.square: subscribe to it with a callback")
    for question, right in (b"7", b"49"), (b"-3", b"9"), (b"seven", b"error"), (b"8", b"64"):
        try:
            answer = (await client.request("MATH.square", question, timeout=REPLY)).data
        except TimeoutError:
            raise NotYet(f"no answer to {question!r}: each request wants one, with msg.respond") from None
        if answer != right:
            raise NotYet(f"the answer to {question!r} was {answer!r}, and should be {right!r}")
    return "7 → 49, -3 → 9, seven → error, and it was still there for 8 → 64"


@check()
async def names_the_listeners(room: Room, listeners: Listeners) -> str:
    """A function names the clients that subscribed to a subject, from the server's own view."""
    for name, subject, queue in (
        ("store", "ORDERS.new", ""),
        ("audit", "ORDERS.new", ""),
        ("worker-1", "JOBS.resize", "resizers"),
        ("worker-2", "JOBS.resize", "resizers"),
    ):
        client = await room.connect(name)
        await client.subscribe(subject, queue=queue)
        await room.settle(client)
    await room.connect("idle")
    for subject, right in (
        ("ORDERS.new", ["audit", "store"]),
        ("JOBS.resize", ["worker-1", "worker-2"]),
        ("NOBODY", []),
    ):
        found = listeners(room.server, subject)
        if found != right:
            raise NotYet(f"for {subject} the sorted list {right} was expected, and you returned {found!r}")
    return "audit and store, worker-1 and worker-2, and nobody on NOBODY"


@check(deadline=30)
async def asks_again(room: Room, ask: Ask) -> str:
    """A request is answered although one of two instances hangs, and fails fast where nobody listens."""
    answered: Counter[bytes] = Counter()

    async def answer(msg: Msg) -> None:
        answered[msg.data] += 1
        await msg.respond(b"rain")

    async def hang(_: Msg) -> None:
        """Be there, and never answer."""

    for name, callback in ("works", answer), ("hangs", hang):
        instance = await room.connect(name)
        await instance.subscribe("WEATHER.SERVICE", queue="weather", cb=callback)
        await room.settle(instance)
    client = await room.connect("client")
    questions = [f"city {number}".encode() for number in range(20)]
    found = await asyncio.gather(
        *(ask(client, "WEATHER.SERVICE", question) for question in questions), return_exceptions=True
    )
    if any(isinstance(each, TimeoutError) for each in found):
        raise NotYet("some of 20 requests failed after a time-out: ask again when no reply comes")
    if errors := [each for each in found if isinstance(each, Exception)]:
        raise errors[0]
    if any(getattr(each, "data", None) != b"rain" for each in found):
        raise NotYet(f"return the reply as it came, a message; you returned {_first_other(found)!r}")
    try:
        async with asyncio.timeout(2 * REPLY):
            await ask(client, "NOBODY.HERE", b"hello?")
    except NoRespondersError:
        return "20 requests, 20 replies, though one instance hangs; no waiting where nobody listens"
    except TimeoutError:
        raise NotYet("where nobody listens, asking again is no use: let NoRespondersError through") from None
    raise NotYet("where nobody listens there is no reply: let NoRespondersError through")


def _first_other(found: list[Any]) -> object:
    return next(each for each in found if getattr(each, "data", None) != b"rain")


async def _quiet(count: Callable[[], int]) -> None:
    """Return when `count()` has not grown for `QUIET` seconds."""
    seen = -1
    while seen != count():
        seen = count()
        try:
            await until(lambda: count() > seen, timeout=QUIET)  # noqa: B023  awaited at once
        except TimeoutError:
            return
