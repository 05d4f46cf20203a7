"""The exercises of part 7: a wrong answer fails for the right reason."""

import asyncio
import json
from typing import Any

import pytest
from nats.aio.client import Client

from support.checks import part7
from support.checks.check import Check
from support.config import Permissions


def pages(*, step: int = 0, error: type[Exception] | None = RuntimeError, text: str = "") -> Any:
    """A function for 7.1; with `step`, the next page begins so far behind the one before."""

    async def read(nc: Client, call: str, key: str) -> list[Any]:
        found: list[Any] = []
        offset = 0
        while True:
            body = json.dumps({"offset": offset}).encode()
            page = json.loads((await nc.request(f"$JS.API.{call}", body, timeout=5)).data)
            if "error" in page and error:
                raise error(text or page["error"]["description"])
            found += page.get(key) or []
            if not page.get(key) or offset + len(page[key]) >= page["total"]:
                return found
            offset += step or len(page[key])

    return read


async def one_page(nc: Client, call: str, key: str) -> Any:
    return json.loads((await nc.request(f"$JS.API.{call}", b"{}", timeout=5)).data)[key]


async def two_pages(nc: Client, call: str, key: str) -> Any:
    first = await whole_reply(nc, call, key)
    if "error" in first:
        raise RuntimeError(first["error"]["description"])
    found: list[Any] = first[key] or []
    if len(found) < first["total"]:
        body = json.dumps({"offset": len(found)}).encode()
        found += json.loads((await nc.request(f"$JS.API.{call}", body, timeout=5)).data)[key]
    return found


async def whole_reply(nc: Client, call: str, key: str) -> Any:
    return json.loads((await nc.request(f"$JS.API.{call}", b"{}", timeout=5)).data)


def flat(wanted: dict[str, Any], found: dict[str, Any]) -> Any:
    return {key: (found.get(key), value) for key, value in wanted.items() if found.get(key) != value}


def nested(*, prefix: str = "", empty: bool = False, swap: bool = False, everything: bool = False) -> Any:
    def compare(wanted: dict[str, Any], found: dict[str, Any], prefix: str = prefix) -> Any:
        result: dict[str, Any] = {}
        for key in wanted.keys() | (found.keys() if everything else set()):
            now, value = found.get(key), wanted.get(key)
            if isinstance(value, dict):
                result |= compare(value, now or {}, f"{prefix}{key}.")
            elif now != value and (empty or now or value):
                result[prefix + key] = (value, now) if swap else (now, value)
        return result

    return lambda wanted, found: compare(wanted, found)


def only_top(wanted: dict[str, Any], found: dict[str, Any]) -> Any:
    return {
        key: (found.get(key), value)
        for key, value in wanted.items()
        if not isinstance(value, dict) and found.get(key) != value and (found.get(key) or value)
    }


def if_it_says_something(wanted: dict[str, Any], found: dict[str, Any]) -> Any:
    return {name: values for name, values in nested()(wanted, found).items() if values[1]}


def last_name_only(wanted: dict[str, Any], found: dict[str, Any]) -> Any:
    return {
        name.rpartition(".")[2]: values
        for name, values in nested()(wanted, found).items()  # "team" for "metadata.team"
    }


async def a_coroutine(*_: Any) -> dict[str, Any]:
    return {}


def may(publish: list[str], subscribe: list[str], **more: Any) -> Any:
    def permissions(host: str) -> Permissions:
        return Permissions(
            [each.format(host) for each in publish], [each.format(host) for each in subscribe], **more
        )

    return permissions


OWN, INBOX = "logs.p1.{}", "_INBOX.{}.>"


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part7.lists_everything, pages(), "✓ 520 streams in three pages"),
        (part7.lists_everything, one_page, "STREAM.LIST brought 256 of 520"),
        (part7.lists_everything, pages(step=100), "STREAM.LIST brought some twice"),
        (part7.lists_everything, two_pages, "STREAM.LIST brought 512 of 520"),
        (part7.lists_everything, whole_reply, "a list of what stands under 'streams' was expected"),
        (part7.lists_everything, pages(error=None), "your function raised nothing"),
        (
            part7.lists_everything,
            pages(error=ValueError),
            "must become a RuntimeError, and yours a ValueError",
        ),
        (part7.lists_everything, pages(text="it failed"), "must hold the description"),
        (part7.finds_differences, nested(), "✓ nine changes found"),
        (part7.finds_differences, flat, "you found one in metadata"),
        (part7.finds_differences, nested(empty=True), "because it is empty there is no difference"),
        (part7.finds_differences, nested(everything=True), "there is no difference, and you found one in"),
        (
            part7.finds_differences,
            if_it_says_something,
            "for an age limit taken away max_age differs, and you found nothing",
        ),
        (
            part7.finds_differences,
            only_top,
            "for a nested field metadata.team differs, and you found nothing",
        ),
        (part7.finds_differences, last_name_only, "metadata.team differs, and you found team"),
        (part7.finds_differences, nested(swap=True), "(found, wanted), and yours"),
        (part7.finds_differences, lambda *_: {}, "for the age limit max_age differs, and you found nothing"),
        (part7.finds_differences, lambda *_: [], "a dict was expected, and you returned a list"),
        (part7.finds_differences, a_coroutine, "a plain def will do"),
        (part7.confines_a_producer, may([OWN], [INBOX]), "✓ its own lines stored"),
        (part7.confines_a_producer, may([OWN], ["_INBOX.{}.*.*"]), "✓ its own lines stored"),
        (part7.confines_a_producer, may(["logs.>"], [INBOX]), "publish as another host"),
        (part7.confines_a_producer, may(["logs.*.{}"], [INBOX]), "publish in another partition"),
        (part7.confines_a_producer, may([OWN, f"{OWN}.>"], [INBOX]), "below its own subject"),
        (part7.confines_a_producer, may([OWN, "$JS.API.INFO"], [INBOX]), "$JS.API.INFO"),
        (part7.confines_a_producer, may([OWN, "$JS.API.*.INFO.>"], [INBOX]), "look at the stream"),
        (part7.confines_a_producer, may([OWN, "$JS.API.STREAM.NAMES"], [INBOX]), "list the streams"),
        (part7.confines_a_producer, may([OWN, "$JS.API.STREAM.PURGE.LOGS"], [INBOX]), "empty the stream"),
        (part7.confines_a_producer, may([OWN, "$JS.ACK.>"], [INBOX]), "acknowledge lines for a reader"),
        (part7.confines_a_producer, may([OWN, "$JS.API.CONSUMER.MSG.>"], [INBOX]), "fetch lines"),
        (part7.confines_a_producer, may([OWN], [INBOX], allow_responses=True), "answers no requests"),
        (part7.confines_a_producer, may([OWN], ["_INBOX.*.*.*"]), "the operator's replies"),
        (part7.confines_a_producer, may([OWN], [INBOX, "logs.p2.>"]), "listen to another partition"),
        (part7.confines_a_producer, may([OWN], [INBOX, "logs.p1.*"]), "listen to its own lines"),
        (part7.confines_a_producer, may([OWN], [INBOX, "$JS.EVENT.ADVISORY.API"]), "JetStream reports"),
        (part7.confines_a_producer, may([OWN, "_INBOX.>"], [INBOX]), "forged replies"),
        (part7.confines_a_producer, may([OWN, INBOX], [INBOX]), "replies to itself"),
        (part7.confines_a_producer, may([], [INBOX], deny_publish=["$JS.>"]), "publish as another host"),
        (part7.confines_a_producer, may([OWN], []), "an empty list of subjects allows all"),
        (part7.confines_a_producer, may([OWN], ["_INBOX.>"]), "the operator's replies"),
        (part7.confines_a_producer, may([OWN], [INBOX, OWN]), "listen to its own lines"),
        (part7.confines_a_producer, may([OWN], ["other.{}"]), "cannot hear the PubAck"),
        (part7.confines_a_producer, may(["logs.p1"], [INBOX]), "cannot publish on the subject of its own"),
        (part7.confines_a_producer, lambda host: {}, "return Permissions; you returned a dict"),
        (part7.confines_a_producer, a_coroutine, "a plain def will do"),
    ],
)
def test_part_7_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")
