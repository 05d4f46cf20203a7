"""The exercises of part 1: HTTP and middleware."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import httpx
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from ..config import HOST
from ..waiting import until
from .check import NotYet, check
from .room import Room

REPLY = 1.0  # seconds to wait for one reply
SLOW = 0.4  # seconds until a forwarding client gives up
IN_TIME, LATE = 0.1, 0.4  # seconds until a service answers; a door waits for 0.3
TRIES = 3  # for an answer in time, since the machine may be busy

Audit = Callable[[Client, list[str]], Awaitable[None]]
Refund = Callable[[Client, str], Awaitable[None]]
Forward = Callable[[httpx.AsyncClient, list[str], bytes], Awaitable[httpx.Response]]
Door = Callable[[Client, str, bytes], Awaitable[tuple[int, bytes]]]


@check()
async def hears_every_order(room: Room, audit: Audit) -> str:
    """The audit notes the subject of each message about orders, and of no other."""
    word = secrets.token_hex(4)  # so that nobody can subscribe to each subject by its name
    right = ["ORDERS.create", "ORDERS.dispatch", "ORDERS.refund.books", f"ORDERS.refund.{word}.late.again"]
    seen: list[str] = []
    client = await room.connect("audit")
    await audit(client, seen)
    await room.settle(client)
    producer = await room.connect("producer")
    for subject in ("INVOICES.create", "ORDERED", *right):
        await producer.publish(subject, b"2 books")
    await room.settle(producer)
    await room.quiet(lambda: len(seen))
    if missing := [subject for subject in right if subject not in seen]:
        long = all(subject.count(".") > 1 for subject in missing)
        hint = ": `*` stands for one word, `>` for all that follow" if long else ""
        raise NotYet(f"the audit did not note {', '.join(missing).replace(word, '<any word>')}{hint}")
    if more := [subject for subject in seen if subject not in right]:
        raise NotYet(f"the audit noted {', '.join(map(str, more))}, which is not about orders")
    if len(seen) > len(right):
        raise NotYet(f"the audit noted {len(right)} messages {len(seen)} times: one subscription will do")
    return f"{len(right)} subjects about orders noted, however long, and nothing else"


@check()
async def refunds(room: Room, refund: Refund) -> str:
    """Two instances share ORDERS.refund, and each request gets one answer, with the instance's name."""
    names = ["refund-1", "refund-2"]
    for name in names:
        client = await room.connect(name)
        try:
            async with asyncio.timeout(REPLY):
                await refund(client, name)
        except TimeoutError:
            raise NotYet("your function must return once it has subscribed: use a callback") from None
        await room.settle(client)
    present = room.listeners("ORDERS.refund")
    if {name for name, _ in present} != set(names):
        raise NotYet(f"{len(present)} of 2 instances listen on ORDERS.refund: subscribe, and mind the await")
    asker = await room.connect("asker")
    inbox, replies = asker.new_inbox(), Counter[bytes]()
    answered_by: Counter[str] = Counter()

    async def note(message: Msg) -> None:
        order = message.subject.rpartition(".")[2].encode()
        replies[order] += 1
        said = message.data.decode("utf-8", "replace")
        answered_by[said.removeprefix(f"{order.decode()} refunded by ")] += 1

    await asker.subscribe(f"{inbox}.*", cb=note)
    orders = [f"order-{number}".encode() for number in range(40)]
    for order in orders:
        await asker.publish("ORDERS.refund", order, reply=f"{inbox}.{order.decode()}")
    await room.settle(asker)
    await room.quiet(lambda: replies.total())
    if missing := len(set(orders) - set(replies)):
        raise NotYet(f"{missing} of 40 requests got no answer: each wants one, with message.respond")
    if (most := max(replies.values())) > 1:
        raise NotYet(
            f"a request was answered {most} times, so the money went out {most} times: share the work"
        )
    if other := sorted(set(answered_by) - set(names)):
        raise NotYet(
            f"to b'order-7', refund-1 must answer b'order-7 refunded by refund-1'; one said {other[0]!r}"
        )
    if set(answered_by) != set(names):
        raise NotYet("each instance must answer with its own name")
    if {queue for _, queue in present} == {None} or len({queue for _, queue in present}) > 1:
        raise NotYet("let the server share the work: the same queue in each instance")
    return "40 requests, 40 refunds, each by one of two instances"


@check()
async def tries_the_next(room: Room, forward: Forward) -> str:
    """A gateway goes on to the next instance if it is safe, and only then."""
    body = b"2 books"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=SLOW) as client,
        _instance(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsent") as (alive, got),
        _instance(b"") as (breaks, _),
        _instance(None) as (hangs, _),
        _instance(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n") as (fails, _),
    ):
        with _nobody() as dead, _nobody() as gone:
            reply = await _forwarded(forward(client, [alive], body))
            if not isinstance(reply, httpx.Response) or reply.content != b"sent":
                raise NotYet(f"return the response of the instance as it came; you returned {reply!r}")
            if got != [body]:
                raise NotYet(f"one instance, one request: it got {len(got)}, and each should carry the body")
            reply = await _forwarded(forward(client, [dead, gone, alive], body))
            if not isinstance(reply, httpx.Response):
                raise NotYet("two instances refused the connection and the third was not asked: try the next")
            if len(got) != 2:
                raise NotYet(f"the third instance got {len(got) - 1} requests instead of one")
            reply = await _forwarded(forward(client, [breaks, alive], body))
            if len(got) > 2:
                raise NotYet("an instance broke off after it got the order, and you sent it a second time")
            if not isinstance(reply, httpx.HTTPError):
                raise NotYet("an instance broke off after it got the order: let the error through")
            for address, what in (hangs, "did not answer in time"), (fails, "answered with an error"):
                await _forwarded(forward(client, [address, alive], body))
                if len(got) > 2:
                    raise NotYet(f"an instance got the order and {what}, and you sent it to another, too")
            reply = await _forwarded(forward(client, [dead, gone], body))
            if not isinstance(reply, httpx.ConnectError):
                raise NotYet(f"if nobody is there, raise httpx.ConnectError; your result was {reply!r}")
    return "refused: the next one; broken off: an error, and the order was not sent twice"


@check(deadline=20)
async def opens_the_door(room: Room, door: Door) -> str:
    """HTTP paths become requests on ORDERS; each failure has its status; strangers name no other subject."""
    stopped: list[bytes] = []
    begun: list[bytes] = []
    ended: list[bytes] = []

    async def create(message: Msg) -> None:
        await message.respond(message.data + b" accepted")

    def after(seconds: float) -> Callable[[Msg], Awaitable[None]]:
        async def answer(message: Msg) -> None:
            begun.append(message.data)
            await asyncio.sleep(seconds)
            await create(message)
            ended.append(message.data)

        return answer

    async def hang(_: Msg) -> None:
        """Be there, and never answer."""

    async def stop(message: Msg) -> None:
        stopped.append(message.data)

    service = await room.connect("service")
    for subject, callback in {
        "ORDERS.create": create, "ORDERS.count": after(IN_TIME), "ORDERS.pack": after(LATE),
        "ORDERS.dispatch": hang, "ADMIN.stop": stop,
    }.items():  # fmt: skip
        await service.subscribe(subject, cb=callback)
    await room.settle(service)
    client = await room.connect("door")
    for word, right, why in (
        ("create", (200, b"2 books accepted"), "the service answered"),
        ("refund", (503, b""), "nobody listens"),
        ("dispatch", (504, b""), "somebody listens and does not answer"),
        ("count", (200, b"2 books accepted"), f"the service answers after {IN_TIME} seconds"),
        ("pack", (504, b""), f"the service answers only after {LATE} seconds"),
    ):
        try:
            answer = await door(client, f"/orders/{word}", b"2 books")
            for _ in range(TRIES if word == "count" else 0):
                if answer != right:
                    answer = await door(client, f"/orders/{word}", b"2 books")
        except (NoRespondersError, TimeoutError) as error:
            raised = type(error).__name__
            raise NotYet(f"{word}: where {why}, return {right!r}; your code raised {raised}") from None
        if answer != right:
            raise NotYet(f"{word}: where {why}, return {right!r}; you returned {answer!r}")
    await until(lambda: len(ended) == len(begun))  # the late answer is on its way, too
    await room.settle(service)
    await room.settle(client)
    before = room.server.monitor.varz().in_msgs
    for path in (
        "/admin/stop", "/orders", "/orders/", "/orders/>", "/orders/*", "/orders/create/now",
        "/orders/create.now", "/orders/create now", "/orders/create\tnow", "/admin/orders/create",
        "/orders/create 0\r\n\r\nPUB ADMIN.stop", "/orders/create\n",
    ):  # fmt: skip
        found: object
        try:
            found = await door(client, path, b"")
            await room.settle(client)
        except Exception as error:  # the server may have cut the connection
            found = error
        await room.settle(service)
        if stopped:
            raise NotYet(f"{path!r} reached ADMIN.stop: let a stranger name one word of letters")
        if room.server.monitor.varz().in_msgs > before:
            raise NotYet(f"{path!r} was passed on as a message: let a stranger name one word of letters")
        if isinstance(found, Exception):
            raise NotYet(f"for {path!r} return (404, b''); your code raised {type(found).__name__}")
        if found != (404, b""):
            raise NotYet(f"for {path!r} return (404, b''); you returned {found!r}")
    return "200, 503 and 504 where they belong, and 12 strange paths led nowhere"


# -- small things -----------------------------------------------------------------------------


async def _forwarded(answer: Awaitable[httpx.Response]) -> httpx.Response | httpx.HTTPError:
    try:
        return await answer
    except httpx.HTTPError as error:
        return error


@asynccontextmanager
async def _instance(says: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A tiny HTTP instance: its address, and the bodies it got. b"": it breaks off. None: it hangs."""
    got: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, _, length = head.partition(b"content-length:")
                got.append(await reader.readexactly(int(length.split()[0]) if length else 0))
                if says is None:
                    await reader.read()  # until the client gives up
                if not says:
                    break
                writer.write(says)
        writer.close()

    server = await asyncio.start_server(talk, HOST, 0)
    try:
        yield f"http://{HOST}:{server.sockets[0].getsockname()[1]}", got
    finally:
        server.close()


@contextmanager
def _nobody() -> Iterator[str]:
    """An address of this machine that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))  # without listen
        yield f"http://{HOST}:{taken.getsockname()[1]}"
