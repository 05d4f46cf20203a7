"""The exercises of part 2: a wrong answer fails for the right reason."""

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from support.checks import part2
from support.checks.check import Check
from support.config import Account, Config, Latency, ServiceExport, ServiceImport, User


def wiring(billing: str, *, audit: str | None = "") -> Any:
    async def connect(
        one: Client, two: Client, third: Client, billed: list[bytes], seen: list[bytes]
    ) -> None:
        async def bill(msg: Msg) -> None:
            billed.append(msg.data)

        async def look(msg: Msg) -> None:
            seen.append(msg.data)

        for client in one, two:
            await client.subscribe("ORDERS.new", queue=billing, cb=bill)
        if audit is not None:
            await third.subscribe("ORDERS.new", queue=audit, cb=look)

    return connect


async def one_bills_alone(one: Client, two: Client, third: Client, billed: Any, seen: Any) -> None:
    async def bill(msg: Msg) -> None:
        billed.append(msg.data)

    async def look(msg: Msg) -> None:
        seen.append(msg.data)

    async def ignore(_: Msg) -> None:
        """Do nothing."""

    await one.subscribe("ORDERS.new", cb=bill)
    await two.subscribe("ORDERS.new", cb=ignore)
    await third.subscribe("ORDERS.new", cb=look)


async def billing_audits(one: Client, two: Client, third: Client, billed: Any, seen: Any) -> None:
    """The counts are right, and without billing nothing is audited."""

    async def note(msg: Msg) -> None:
        billed.append(msg.data)
        seen.append(msg.data)

    async def ignore(_: Msg) -> None:
        """Do nothing."""

    for client in one, two:
        await client.subscribe("ORDERS.new", queue="billing", cb=note)
    await third.subscribe("ORDERS.new", cb=ignore)


def census(wait: float, *, order: bool = True) -> Any:
    async def count(nc: Client) -> list[str]:
        inbox, found = nc.new_inbox(), []
        subscription = await nc.subscribe(inbox)
        await nc.publish("CENSUS", reply=inbox)
        try:
            async with asyncio.timeout(wait):
                while True:
                    found.append((await subscription.next_msg(timeout=wait)).data.decode())
        except TimeoutError:
            return sorted(found, reverse=not order)

    return count


async def first_only(nc: Client) -> list[str]:
    return [(await nc.request("CENSUS", timeout=1)).data.decode()]


async def bytes_only(nc: Client) -> list[bytes]:
    return [b"host"]


async def number_only(nc: Client) -> int:
    return 7


def boundary(export: Any, *takes: str, subject: str = "PRICES.get") -> Any:
    def make(prices: User, shop: User, guest: User) -> Config:
        found = {"SHOP": [], "GUEST": []} | {each: [ServiceImport("PRICES", subject)] for each in takes}
        return Config(
            accounts=[
                Account("PRICES", users=[prices], exports=[export] if export else []),
                Account("SHOP", users=[shop], imports=found["SHOP"]),
                Account("GUEST", users=[guest], imports=found["GUEST"]),
            ]
        )

    return make


ONLY_SHOP = ServiceExport("PRICES.get", to=["SHOP"])


def all_in_one(prices: User, shop: User, guest: User) -> Config:
    return Config(accounts=[Account("ALL", users=[prices, shop, guest])])


def somebody_forgotten(prices: User, shop: User, guest: User) -> Config:
    return Config(accounts=[Account("PRICES", users=[prices]), Account("SHOP", users=[shop])])


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part2.matches_temperatures, "FACTORY.*.temperature", "✓ FACTORY.*.temperature matches 3"),
        (part2.matches_temperatures, "FACTORY.>", "FACTORY.> matches FACTORY.hall1.door"),
        (part2.matches_temperatures, "FACTORY.hall1.temperature", "does not match FACTORY.hall2"),
        (part2.matches_temperatures, "*.*.temperature", "matches OFFICE.hall1.temperature"),
        (part2.matches_temperatures, "FACTORY..x", "no subject that one can subscribe to"),
        (part2.matches_temperatures, 7, "this is a int"),
        (part2.bills_once_and_audits_all, wiring("billing"), "✓ 40 orders"),
        (part2.bills_once_and_audits_all, wiring(""), "an order was billed 2 times"),
        (
            part2.bills_once_and_audits_all,
            wiring("billing", audit=None),
            "audit did not subscribe to",
        ),
        (
            part2.bills_once_and_audits_all,
            wiring("all", audit="all"),
            "of 40 orders were billed",
        ),
        (part2.bills_once_and_audits_all, one_bills_alone, "want one queue group"),
        (part2.bills_once_and_audits_all, billing_audits, "with both billing connections gone"),
        (part2.counts_all_heads, census(1.2), "✓ all names"),
        (part2.counts_all_heads, census(0.15), "are missing: collect every answer"),
        (part2.counts_all_heads, census(2.5), "longer than 2 seconds"),
        (part2.counts_all_heads, census(1.2, order=False), "sort them"),
        (part2.counts_all_heads, first_only, "some are missing"),
        (part2.counts_all_heads, bytes_only, "decode the data; your list holds bytes"),
        (part2.counts_all_heads, number_only, "a list of names was expected, and you returned a int"),
        (part2.keeps_the_boundary, boundary(ONLY_SHOP, "SHOP"), "✓ shop gets prices"),
        (
            part2.keeps_the_boundary,
            boundary(ServiceExport("PRICES.get", to=("SHOP",), latency=Latency("LATENCY.get")), "SHOP"),
            "✓ shop gets prices",
        ),
        (part2.keeps_the_boundary, boundary(None), "shop must reach PRICES.get, and does not"),
        (part2.keeps_the_boundary, boundary(ONLY_SHOP), "shop must reach PRICES.get, and does not"),
        (
            part2.keeps_the_boundary,
            boundary(ServiceExport("PRICES.*"), "SHOP", subject="PRICES.*"),
            "shop must not reach PRICES.set",
        ),
        (
            part2.keeps_the_boundary,
            boundary(ServiceExport("PRICES.get"), "SHOP", "GUEST"),
            "guest must not reach PRICES.get",
        ),
        (part2.keeps_the_boundary, boundary(ServiceExport("PRICES.get"), "SHOP"), "to SHOP only"),
        (
            part2.keeps_the_boundary,
            boundary(ServiceExport("PRICES.get", to=["SHOP", "GUEST"]), "SHOP"),
            "SHOP only",
        ),
        (part2.keeps_the_boundary, boundary(ServiceExport("PRICES.*", to=["SHOP"]), "SHOP"), "SHOP only"),
        (part2.keeps_the_boundary, boundary(None, "SHOP"), "refuses this configuration"),
        (part2.keeps_the_boundary, all_in_one, "shop must not reach PRICES.set"),
        (part2.keeps_the_boundary, somebody_forgotten, "user guest cannot connect"),
        (part2.keeps_the_boundary, lambda *_: {}, "return a Config; you returned a dict"),
    ],
)
def test_part_2_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")


def test_a_user_in_no_account_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    assert "user guest" in str(asyncio.run(part2.keeps_the_boundary.evaluate(somebody_forgotten)))
    assert caplog.records == []
