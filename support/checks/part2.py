"""The exercises of part 2: the messaging patterns."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError

from ..binary import ServerError
from ..config import Config, ServiceExport, User
from ..server import NatsServer
from ..waiting import until
from .check import NotYet, check
from .room import Room

REPLY = 1.0  # seconds to wait for one reply
CENSUS = 2.0  # seconds in which all names must be there
LATEST = 0.3  # seconds until the slowest instance answers

Wiring = Callable[[Client, Client, Client, list[bytes], list[bytes]], Awaitable[None]]
Census = Callable[[Client], Awaitable[list[str]]]
Boundary = Callable[[User, User, User], Config]


@check()
async def matches_temperatures(room: Room, pattern: str) -> str:
    """A pattern matches FACTORY.<hall>.temperature, and nothing else; the server judges."""
    if not isinstance(pattern, str):
        raise NotYet(f"a pattern is a text, and this is a {type(pattern).__name__}")
    client = await room.connect("judge")
    wanted = ["FACTORY.hall1.temperature", "FACTORY.hall2.temperature", "FACTORY.cellar.temperature"]
    other = [
        "FACTORY.hall1.door",
        "FACTORY.temperature",
        "FACTORY.hall1.oven.temperature",
        "FACTORY.hall1.temperature.max",
        "OFFICE.hall1.temperature",
    ]
    for subject in (*wanted, *other):
        try:
            subscription = await client.subscribe(pattern)
        except Exception as error:
            raise NotYet(f"{pattern!r} is no subject that one can subscribe to") from error
        await client.publish(subject, b"21")
        await room.settle(client)
        matched = subscription.pending_msgs > 0
        await subscription.unsubscribe()
        if matched != (subject in wanted):
            raise NotYet(f"{pattern} {'matches' if matched else 'does not match'} {subject}")
    return f"{pattern} matches {len(wanted)} temperatures, and none of {len(other)} other subjects"


@check()
async def bills_once_and_audits_all(room: Room, wiring: Wiring) -> str:
    """Each of 40 orders is billed once, by one of two connections, and audited."""
    billing_1, billing_2 = await room.connect("billing-1"), await room.connect("billing-2")
    audit, shop = await room.connect("audit"), await room.connect("shop")
    billed: list[bytes] = []
    audited: list[bytes] = []
    await wiring(billing_1, billing_2, audit, billed, audited)
    for client in billing_1, billing_2, audit:
        await room.settle(client)
    listening = dict(room.listeners("ORDERS.new"))
    if missing := sorted({"billing-1", "billing-2", "audit"} - set(listening)):
        raise NotYet(f"{' and '.join(missing)} did not subscribe to exactly ORDERS.new")
    orders = [f"order {number}".encode() for number in range(40)]
    for order in orders:
        await shop.publish("ORDERS.new", order)
    await room.settle(shop)
    for client in billing_1, billing_2, audit:
        await room.settle(client)  # all that was sent to it has arrived
    for what, found in ("billed", billed), ("audited", audited):
        try:
            await until(lambda: len(found) >= len(orders), timeout=REPLY)  # noqa: B023  awaited at once
        except TimeoutError:
            raise NotYet(f"{len(set(found))} of 40 orders were {what}: each must be") from None
        if (times := max(Counter(found).values())) > 1:
            raise NotYet(f"an order was {what} {times} times: which connections should share, and which not?")
    group = listening["billing-1"]
    if not group or group != listening["billing-2"] or group == listening["audit"]:
        raise NotYet("let the server share the orders: the two billing connections want one queue group")
    # Whose callback notes what shows when only the audit is left.
    for client in billing_1, billing_2:
        await client.close()
    await shop.publish("ORDERS.new", b"one more")
    await room.settle(shop)
    try:
        await until(lambda: b"one more" in audited, timeout=REPLY)
    except TimeoutError:
        raise NotYet(
            "with both billing connections gone an order was not audited: let the audit's own note it"
        ) from None
    return "40 orders, each billed once, by two connections in one group, and each audited"


@check()
async def counts_all_heads(room: Room, census: Census) -> str:
    """All instances on CENSUS are named, sorted, within 2 seconds, however many there are."""
    names = sorted(f"host-{secrets.token_hex(2)}" for _ in range(5 + secrets.randbelow(4)))
    last = secrets.choice(names)
    for name in names:
        # All but one at once, in no order; and that one long after the others.
        delay = LATEST if name == last else secrets.randbelow(20) / 1000

        async def answer(msg: Msg, name: str = name, wait: float = delay) -> None:
            await asyncio.sleep(wait)
            await msg.respond(name.encode())

        instance = await room.connect(name)
        await instance.subscribe("CENSUS", cb=answer)
        await room.settle(instance)
    client = await room.connect("client")
    begin = time.monotonic()
    found = await census(client)
    if isinstance(found, list) and any(isinstance(each, bytes) for each in found):
        raise NotYet("names are texts: decode the data; your list holds bytes")
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise NotYet(f"a list of names was expected, and you returned a {type(found).__name__}")
    if time.monotonic() - begin > CENSUS:
        raise NotYet(f"it took longer than {CENSUS:.0f} seconds: stop when no more answers come")
    if missing := set(names) - set(found):
        few = "some are" if len(missing) < len(names) else "all are"
        raise NotYet(f"{few} missing: collect every answer, also the one that comes after {LATEST} s")
    if found != names:
        raise NotYet("the right names are there; sort them, each one once")
    return "all names, sorted, however many there are, and in time"


@check(deadline=20)
async def keeps_the_boundary(room: Room, boundary: Boundary) -> str:
    """SHOP may ask PRICES.get and not PRICES.set; GUEST may do neither."""
    if inspect.iscoroutinefunction(boundary):
        raise NotYet("a plain def will do here: a configuration needs no await")
    prices, shop, guest = User("prices"), User("shop"), User("guest")
    config = boundary(prices, shop, guest)
    if not isinstance(config, Config):
        raise NotYet(f"return a Config; you returned a {type(config).__name__}")
    try:
        with NatsServer(config=config) as server:
            found = await _try_boundary(server, prices, [shop, guest])
    except ServerError as error:
        raise NotYet(str(error).partition("\n")[0]) from None
    for (name, subject), allowed in {
        ("shop", "PRICES.get"): True,
        ("shop", "PRICES.set"): False,
        ("guest", "PRICES.get"): False,
        ("guest", "PRICES.set"): False,
    }.items():
        if found[name, subject] != allowed:
            rule = "must reach" if allowed else "must not reach"
            raise NotYet(f"{name} {rule} {subject}, and {'does not' if allowed else 'does'}")
    exports = [each for account in config.accounts for each in account.exports]
    if [(type(each), each.subject, list(each.to)) for each in exports] != [
        (ServiceExport, "PRICES.get", ["SHOP"])
    ]:
        raise NotYet(
            "GUEST's operator could import more tomorrow: export PRICES.get, to SHOP only, and no more"
        )
    return "shop gets prices and cannot set them; guest does neither"


async def _try_boundary(server: NatsServer, prices: User, others: list[User]) -> dict[tuple[str, str], bool]:
    """For each user and subject, whether the service of `prices` was reached."""

    async def answer(msg: Msg) -> None:
        await msg.respond(b"ok")

    async def say_nothing(_: Exception) -> None:
        """The verdict says what is wrong; else nats-py would log a traceback as well."""

    async def connect(user: User) -> Client:
        client = Client()
        quiet: dict[str, Any] = {"allow_reconnect": False, "error_cb": say_nothing}
        try:
            await client.connect(server.url, name=user.name, **quiet, **user.login)
            return client
        except Exception as error:
            await client.close()  # nats-py leaves the connection open that the server has refused
            raise NotYet(f"user {user.name} cannot connect: put each user into its account") from error

    found: dict[tuple[str, str], bool] = {}
    service = await connect(prices)
    try:
        for subject in "PRICES.get", "PRICES.set":
            await service.subscribe(subject, cb=answer)
        await service.flush()
        await service.flush()
        for user in others:
            client = await connect(user)
            try:
                for subject in "PRICES.get", "PRICES.set":
                    try:
                        await client.request(subject, b"", timeout=REPLY)
                        found[user.name, subject] = True
                    except (NoRespondersError, TimeoutError):
                        found[user.name, subject] = False
            finally:
                await client.close()
    finally:
        await service.close()
    return found
