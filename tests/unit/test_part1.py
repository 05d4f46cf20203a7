import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import matplotlib as mpl
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from support.checks import Verdict, part1
from support.checks.check import Check
from support.child import Child
from support.figures import components
from support.figures.components import Link, links
from support.waiting import until

mpl.use("Agg")

# -- the exercises: a wrong answer fails for the right reason --------------------------------------


def verdict(given: Check, answer: object) -> Verdict:
    return asyncio.run(given.evaluate(answer))


def audit(*subjects: str) -> Callable[[Client, list[str]], Awaitable[None]]:
    async def start(nc: Client, seen: list[str]) -> None:
        async def hear(message: Msg) -> None:
            seen.append(message.subject)

        for subject in subjects:
            await nc.subscribe(subject, cb=hear)

    return start


def refund(queue: str, says: Callable[[Msg, str], bytes] | None = None) -> Callable[..., Awaitable[None]]:
    def right(message: Msg, name: str) -> bytes:
        return message.data + f" refunded by {name}".encode()

    async def start(nc: Client, name: str) -> None:
        async def answer(message: Msg) -> None:
            if said := (says or right)(message, name):
                await message.respond(said)

        await nc.subscribe("ORDERS.refund", queue=queue.format(name), cb=answer)

    return start


async def refund_that_never_returns(nc: Client, name: str) -> None:
    subscription = await nc.subscribe("ORDERS.refund", queue="refund")
    async for message in subscription.messages:
        await message.respond(b"")


async def refund_elsewhere(nc: Client, name: str) -> None:
    await nc.subscribe("ORDERS.refunds", queue="refund")


async def forward(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> httpx.Response:
    *others, last = addresses
    for address in others:
        try:
            return await client.post(address, content=body)
        except httpx.ConnectError:
            continue
    return await client.post(last, content=body)


async def forward_to_the_first(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    return await client.post(addresses[0], content=body)


async def forward_to_one_more(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    return await forward(client, addresses[:2], body)


async def forward_whatever_the_error(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    for address in addresses:
        try:
            return await client.post(address, content=body)
        except httpx.HTTPError as caught:
            error = caught
    raise error


async def forward_to_all(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    for address in addresses * 2:
        try:
            reply = await client.post(address, content=body)
        except httpx.ConnectError:
            continue
    return reply


async def forward_after_a_time_out(
    client: httpx.AsyncClient, addresses: list[str], body: bytes
) -> httpx.Response:
    *others, last = addresses
    for address in others:
        try:
            return await client.post(address, content=body)
        except (httpx.ConnectError, httpx.TimeoutException):
            continue
    return await client.post(last, content=body)


async def forward_after_an_error(
    client: httpx.AsyncClient, addresses: list[str], body: bytes
) -> httpx.Response:
    *others, last = addresses
    for address in others:
        try:
            reply = await client.post(address, content=body)
        except httpx.ConnectError:
            continue
        if reply.status_code == 200:
            return reply
    return await client.post(last, content=body)


async def forward_and_swallow(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    try:
        return await forward(client, addresses, body)
    except httpx.ReadError:
        return None
    except httpx.RemoteProtocolError:
        return None


async def forward_and_read(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    return (await forward(client, addresses, body)).content


async def forward_nothing(client: httpx.AsyncClient, addresses: list[str], body: bytes) -> Any:
    return await forward(client, addresses, b"")


def door(
    strict: Callable[[str], bool], *, handled: bool = True, timeout: float = 0.3
) -> Callable[..., Awaitable[Any]]:
    """A door that lets through the words for which `strict` is true."""

    async def open_(nc: Client, path: str, body: bytes) -> Any:
        word = path.removeprefix("/orders/")
        if not strict(word) or word == path:
            return 404, b""
        try:
            return 200, (await nc.request(f"ORDERS.{word}", body, timeout=timeout)).data
        except NoRespondersError:
            return 503, b""
        except TimeoutError:
            if not handled:
                raise
            return 504, b""

    return open_


async def door_that_prints_errors(nc: Client, path: str, body: bytes) -> tuple[int, bytes]:
    status, said = await door(lambda word: word.isalpha())(nc, path, body)
    return status, said if status == 200 else b"error"


async def door_that_strips(nc: Client, path: str, body: bytes) -> tuple[int, bytes]:
    found: tuple[int, bytes] = await door(lambda word: word.isascii() and word.isalpha())(
        nc, path.strip("\n"), body
    )
    return found


async def door_upside_down(nc: Client, path: str, body: bytes) -> tuple[int, bytes]:
    """Any path becomes a subject: /admin/stop reaches ADMIN.stop."""
    words = path.strip("/").split("/")
    return await door(lambda _: True)(_Elsewhere(nc, words), "/orders/x", body)


class _Elsewhere:
    def __init__(self, nc: Client, words: list[str]) -> None:
        self.nc, self.subject = nc, ".".join((words[0].upper(), *words[1:]))

    async def request(self, _: str, body: bytes, timeout: float) -> Msg:
        return await self.nc.request(self.subject, body, timeout=timeout)


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part1.hears_every_order, audit("ORDERS.>"), "✓ 4 subjects about orders"),
        (
            part1.hears_every_order,
            audit("ORDERS.create"),
            "did not note ORDERS.dispatch, ORDERS.refund.books",
        ),
        (
            part1.hears_every_order,
            audit("ORDERS.*"),
            "did not note ORDERS.refund.books, ORDERS.refund.<any word>.late.again: `*` stands for one word",
        ),
        (
            part1.hears_every_order,
            audit(
                "ORDERS.create",
                "ORDERS.dispatch",
                "ORDERS.refund.books",
                "ORDERS.refund.books.late.again",
            ),
            "did not note ORDERS.refund.<any word>.late.again: `*` stands for one word, `>` for all",
        ),
        (part1.hears_every_order, audit(">"), "noted INVOICES.create, ORDERED, which"),
        (part1.hears_every_order, audit("ORDERS.*", "ORDERS.>"), "one subscription will do"),
        (part1.hears_every_order, audit(), "did not note ORDERS.create"),
        (part1.refunds, refund("refund"), "✓ 40 requests, 40 refunds"),
        (part1.refunds, refund(""), "answered 2 times, so the money went out 2 times"),
        (part1.refunds, refund("group-{}"), "answered 2 times"),
        (part1.refunds, refund("refund", lambda message, name: b""), "40 of 40 requests got no answer"),
        (part1.refunds, refund("refund", lambda message, name: message.data), "one said 'order-"),
        (part1.refunds, refund("refund", lambda message, name: b"\xff"), "must answer b'order-7 refunded by"),
        (part1.refunds, refund_elsewhere, "0 of 2 instances listen on ORDERS.refund"),
        (part1.refunds, refund_that_never_returns, "must return once it has subscribed"),
        (part1.tries_the_next, forward, "✓ refused: the next one"),
        (part1.tries_the_next, forward_to_the_first, "the third was not asked: try the next"),
        (part1.tries_the_next, forward_to_one_more, "the third was not asked: try the next"),
        (part1.tries_the_next, forward_whatever_the_error, "you sent it a second time"),
        (part1.tries_the_next, forward_to_all, "one instance, one request: it got 2"),
        (
            part1.tries_the_next,
            forward_after_a_time_out,
            "did not answer in time, and you sent",
        ),
        (part1.tries_the_next, forward_after_an_error, "answered with an error, and you sent"),
        (part1.tries_the_next, forward_and_swallow, "let the error through"),
        (part1.tries_the_next, forward_and_read, "you returned b'sent'"),
        (part1.tries_the_next, forward_nothing, "each should carry the body"),
        (part1.opens_the_door, door(lambda word: word.isascii() and word.isalpha()), "✓ 200, 503 and 504"),
        (
            part1.opens_the_door,
            door(str.isalpha, handled=False),
            "return (504, b''); your code raised TimeoutError",
        ),
        (part1.opens_the_door, door(lambda word: True), "name one word of letters"),
        (part1.opens_the_door, door(lambda word: word not in ("", "*", ">")), "name one word of letters"),
        (part1.opens_the_door, door(lambda word: not set("./*>") & set(word)), "name one word of letters"),
        (
            part1.opens_the_door,
            door(str.isalpha, timeout=0.05),
            "count: where the service answers after 0.1 seconds, return (200,",
        ),
        (
            part1.opens_the_door,
            door(str.isalpha, timeout=1.0),
            "pack: where the service answers only after 0.4 seconds, return (504,",
        ),
        (part1.opens_the_door, door_that_strips, "'/orders/create\\n' was passed on as a message"),
        (
            part1.opens_the_door,
            door(lambda word: word != "" and not set("/*> ") & set(word)),
            "'/orders/create.now' was passed on",
        ),
        (part1.opens_the_door, door(lambda word: word == "create"), "where nobody listens, return (503"),
        (part1.opens_the_door, door_upside_down, "'/admin/stop' reached ADMIN.stop"),
        (
            part1.opens_the_door,
            door(lambda word: not set("./*>") & set(word) and word != ""),
            "BadSubjectError",
        ),
        (part1.opens_the_door, door_that_prints_errors, "you returned (503, b'error')"),
    ],
)
def test_part_1_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = verdict(given, answer)
    assert said in str(found)
    assert found.ok == said.startswith("✓")


# -- the picture of components ---------------------------------------------------------------------

CONNECTS = """
import socket, sys, time
ends = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(int(sys.argv[2]))]
print("connected", flush=True)
time.sleep(60)
"""


@pytest.fixture
def hub() -> Iterator[tuple[int, Callable[[str, int], Child]]]:
    """This process listens; programs that connect to it are started by name and number of connections."""
    children: list[Child] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted = []

        def start(name: str, connections: int) -> Child:
            port = str(listening.getsockname()[1])
            child = Child([sys.executable, "-c", CONNECTS, port, str(connections)])
            children.append(child)
            accepted.extend(listening.accept()[0] for _ in range(connections))
            asyncio.run(until(lambda: "connected" in child.output()))
            return child

        yield os.getpid(), start
        for child in children:
            child.close()
        for end in accepted:
            end.close()


def test_connections_are_counted_from_opener_to_listener(
    hub: tuple[int, Callable[[str, int], Child]],
) -> None:
    pid, start = hub
    programs = {"one": start("one", 1), "three": start("three", 3)}
    assert links([{"hub": pid}, programs]) == [Link("one", "hub", 1), Link("three", "hub", 3)]


def test_who_is_not_named_is_not_counted(hub: tuple[int, Callable[[str, int], Child]]) -> None:
    pid, start = hub
    one, _ = start("one", 1), start("stranger", 1)
    assert links([{"hub": pid}, {"one": one}]) == [Link("one", "hub", 1)]
    assert links([{"one": one}]) == []


def test_the_picture_says_who_is_connected_and_who_does_not_run(
    hub: tuple[int, Callable[[str, int], Child]], shown: list[dict[str, Any]]
) -> None:
    pid, start = hub
    one, dead = start("one", 2), start("dead", 1)
    dead.kill()
    dead.wait()
    components([{"you": one}, {"hub": pid}, {"dead": dead}], "Title")
    assert shown[0]["text/plain"].splitlines() == [
        "Components: you, hub, dead. Connections are open",
        "from you to hub",
        "dead does not run",
    ]
    components([{"alone": pid}], "Title", text="said by the author")
    assert shown[1]["text/plain"] == "said by the author"
