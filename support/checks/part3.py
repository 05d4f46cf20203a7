"""The exercises of part 3: a server of your own, patterns by hand."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from ..server import NatsServer
from ..wire import is_inbox
from .check import NotYet, check
from .room import Room

REPLY = 1.0  # seconds to wait for one reply
AT_ONCE = 0.3  # seconds
MOST_MISSES = 6  # how often in a row a question meets the instance that hangs

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
        raise NotYet(f"{len(present)} of 3 workers listen on JOBS.resize: {_instead(room)}")
    producer = await room.connect("producer")
    jobs = [f"job {number}".encode() for number in range(30)]
    for job in jobs:
        await producer.publish("JOBS.resize", job)
    await room.settle(producer)
    await room.quiet(lambda: sum(map(len, done.values())))
    everything = [job for mine in done.values() for job in mine]
    if other := [job for job in everything if not isinstance(job, bytes)]:
        raise NotYet(
            f"append the data of the message, which is bytes; `done` got a {type(other[0]).__name__}"
        )
    handled = Counter(everything)
    if missing := len(set(jobs) - set(handled)):
        raise NotYet(f"{missing} of 30 jobs were not appended to `done`")
    if (times := max(handled.values())) > 1:
        raise NotYet(f"a job was handled {times} times, once by each worker that got it: make them one group")
    groups = {queue for _, queue in present}
    if len(groups) > 1 or None in groups:
        raise NotYet("let the server share the jobs: subscribe with the same queue in each worker")
    return f"30 jobs, each handled once, by 3 workers in queue group {groups.pop()}"


@check()
async def squares(room: Room, service: Service) -> str:
    """A service on MATH.square answers numbers with their squares, and everything else with b"error"."""
    client = await room.connect("client")
    provider = await room.connect("service")
    try:
        async with asyncio.timeout(REPLY):
            await service(provider)
    except TimeoutError:
        raise NotYet("your function must return once it has subscribed: use a callback") from None
    await room.settle(provider)
    if not room.listeners("MATH.square"):
        raise NotYet(f"nobody listens on MATH.square: {_instead(room)}")
    for question, right in {
        b"7": b"49", b"-3": b"9", b"seven": b"error", b"2.5": b"error", b"7a": b"error", b"": b"error",
        b"8": b"64",
    }.items():  # fmt: skip
        try:
            answer = (await client.request("MATH.square", question, timeout=REPLY)).data
        except TimeoutError:
            raise NotYet(f"no answer to {question!r}: each request wants one, with message.respond") from None
        except NoRespondersError:
            raise NotYet(f"before {question!r} your service was gone: it must survive each request") from None
        if answer != right:
            raise NotYet(f"the answer to {question!r} was {answer!r}, and should be {right!r}")
    return "7 → 49, -3 → 9; an error for seven, 2.5, 7a and nothing; and it was still there for 8 → 64"


@check()
async def names_the_listeners(room: Room, listeners: Listeners) -> str:
    """A function names the clients that subscribed to a subject, from the server's own view."""
    if inspect.iscoroutinefunction(listeners):
        raise NotYet("a plain def will do here: the monitoring endpoints need no await")
    number = secrets.randbelow(900) + 100  # so that only the server can know the names
    for name, subjects, queue in (
        (f"store-{number}", ["ORDERS.new"], ""),
        # The server lists them in no order, so one must have many for the others to come first.
        (f"audit-{number}", [*(f"AUDIT.{kind}" for kind in range(30)), "ORDERS.new", "ORDERS.new"], ""),
        (f"branch-{number}", ["ORDERS.new.eu"], ""),
        (f"worker-{number}", ["JOBS.resize"], "resizers"),
        (f"worker-{number + 1}", ["JOBS.resize"], "resizers"),
    ):
        client = await room.connect(name)
        for subject in subjects:
            await client.subscribe(subject, queue=queue)
        await room.settle(client)
    await room.connect("idle")
    for subject, right in (
        *[("ORDERS.new", [f"audit-{number}", f"store-{number}"])] * 3,
        ("JOBS.resize", [f"worker-{number}", f"worker-{number + 1}"]),
        ("NOBODY", []),
    ):
        found = listeners(room.server, subject)
        if not isinstance(found, list):
            raise NotYet(f"a sorted list of names was expected, and you returned {found!r}")
        if missing := set(right) - set(found):
            kinds = sorted(name.partition("-")[0] for name in missing)
            raise NotYet(f"for {subject} your list lacks {len(missing)} clients that subscribed: {kinds}")
        if more := set(found) - set(right):
            kinds = sorted(str(name).partition("-")[0] for name in more)
            raise NotYet(f"for {subject} your list holds some that did not subscribe to just this: {kinds}")
        if found != right:
            raise NotYet(f"for {subject} the right names are there; sort them, each one once")
    return "audit and store for ORDERS.new, two workers for JOBS.resize, and nobody for NOBODY"


@check(deadline=30)
async def asks_again(room: Room, ask: Ask) -> str:
    """A request is answered although one of two instances hangs, and fails fast where nobody listens."""
    questions = [f"city {number}".encode() for number in range(20)]
    # Were it left to chance which instance gets a copy, so would be the verdict. So it is drawn here
    # how many copies of each question meet the one that hangs, and one question has the worst luck.
    misses = {question: secrets.randbelow(MOST_MISSES + 1) for question in questions}
    misses[secrets.choice(questions)] = MOST_MISSES
    copies: Counter[bytes] = Counter()

    async def answer(msg: Msg) -> None:
        copies[msg.data] += 1
        if copies[msg.data] > misses.get(msg.data, 0):
            await msg.respond(b"rain")

    for name in "weather-1", "weather-2":
        instance = await room.connect(name)
        await instance.subscribe("WEATHER.SERVICE", queue="weather", cb=answer)
        await room.settle(instance)
    client = await room.connect("client")
    found = await asyncio.gather(
        *(ask(client, "WEATHER.SERVICE", question) for question in questions), return_exceptions=True
    )
    if any(isinstance(each, TimeoutError) for each in found):
        raise NotYet("some of 20 requests failed after a time-out: ask again, and often enough")
    if errors := [each for each in found if isinstance(each, Exception)]:
        raise errors[0]
    if other := [each for each in found if not isinstance(each, Msg) or each.data != b"rain"]:
        raise NotYet(f"return the reply as it came, a message; you returned {other[0]!r}")
    await room.settle(client)
    await room.quiet(copies.total)
    if any(copies[question] != misses[question] + 1 for question in questions):
        raise NotYet("you sent more copies than needed: ask again only after a time-out, one at a time")
    begin = time.monotonic()
    try:
        async with asyncio.timeout(REPLY):
            await ask(client, "NOBODY.HERE", b"hello?")
    except NoRespondersError:
        if time.monotonic() - begin > AT_ONCE:
            raise NotYet("where nobody listens, say so at once: do not ask again") from None
        return "20 requests, 20 replies, though one instance hangs; no waiting where nobody listens"
    except TimeoutError:
        raise NotYet("where nobody listens, asking again is no use: let NoRespondersError through") from None
    raise NotYet("where nobody listens there is no reply: let NoRespondersError through")


def _instead(room: Room) -> str:
    """What to do, seen from what there is."""
    found = sorted(
        {each.subject for c in room.server.monitor.connz().connections for each in c.subscriptions}
    )
    if other := [subject for subject in found if not is_inbox(subject)]:
        return f"you subscribed to {', '.join(other)} instead"
    return "subscribe to it, and mind the await before nc.subscribe"
