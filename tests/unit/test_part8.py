"""The exercises of part 8: a wrong answer fails for the right reason."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nats.js.errors
import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from support.checks import part8
from support.checks.check import Check

Store = Callable[[bytes], None]

KNOWN: dict[Path, int] = {}


async def store_first(message: Msg, store: Store) -> None:
    store(message.data)
    await message.ack()


async def ack_first(message: Msg, store: Store) -> None:
    await message.ack()
    store(message.data)


async def never_ack(message: Msg, store: Store) -> None:
    store(message.data)


async def ack_in_any_case(message: Msg, store: Store) -> None:
    try:
        store(message.data)
    finally:
        await message.ack()


async def store_twice(message: Msg, store: Store) -> None:
    store(message.data)
    store(message.data)
    await message.ack()


def where_full(answer: Callable[[Msg], Awaitable[None]]) -> Any:
    """Acknowledge what is stored, and give `answer` where that fails."""

    async def handle(message: Msg, store: Store) -> None:
        try:
            store(message.data)
        except OSError:
            await answer(message)
        else:
            await message.ack()

    return handle


async def four_tries(message: Msg, store: Store) -> None:
    try:
        store(message.data)
    except OSError:
        if message.metadata.num_delivered < 4:
            return
    await message.ack()


async def last_of(js: JetStreamContext, subject: str) -> tuple[int, int]:
    try:
        last = await js.get_last_msg("LINES", subject)
    except nats.js.errors.NotFoundError:
        return 0, 0
    return last.seq or 0, int((last.headers or {})["Until"])


def shipping(*, expects: bool = True, lines: bool = False, retries: bool = False, ids: bool = False) -> Any:
    async def ship(js: JetStreamContext, file: Path, subject: str) -> None:
        sequence, start = await last_of(js, subject)
        data = (await asyncio.to_thread(file.read_bytes))[start:]
        for part in data.splitlines(keepends=True) if lines else [data] if data else []:
            start += len(part)
            headers = {"Until": str(start)}
            if ids:
                headers["Nats-Msg-Id"] = f"{start - len(part)}-{start}"
            if expects:
                headers["Nats-Expected-Last-Subject-Sequence"] = str(sequence)
            if retries:
                for _ in range(2):
                    with suppress(TimeoutError):
                        await js.publish(subject, part, headers=headers)
                        break
                continue
            sequence = (await js.publish(subject, part, headers=headers)).seq

    return ship


async def counts_messages(js: JetStreamContext, file: Path, subject: str) -> None:
    done = (await js.stream_info("LINES")).state.messages
    for line in (await asyncio.to_thread(file.read_bytes)).splitlines(keepends=True)[done:]:
        await js.publish(subject, line)


async def last_of_all(js: JetStreamContext, file: Path, subject: str) -> None:
    last = await js.get_msg("LINES", (await js.stream_info("LINES")).state.last_seq)
    start = int((last.headers or {})["Until"])
    if data := (await asyncio.to_thread(file.read_bytes))[start:]:
        await js.publish(subject, data, headers={"Until": str(start + len(data))})


async def all_again(js: JetStreamContext, file: Path, subject: str) -> None:
    await js.publish(subject, await asyncio.to_thread(file.read_bytes))


async def by_ids(js: JetStreamContext, file: Path, subject: str) -> None:
    """Right as long as the stream remembers the ids, which is two minutes."""
    start = 0
    for line in (await asyncio.to_thread(file.read_bytes)).splitlines(keepends=True):
        with suppress(nats.js.errors.APIError):
            await js.publish(subject, line, headers={"Nats-Msg-Id": str(start)})
        start += len(line)


async def nothing(js: JetStreamContext, file: Path, subject: str) -> None:
    """Do nothing."""


def new_only(file: Path, message: Msg) -> None:
    with file.open("ab") as output:
        known = output.tell() - int((message.headers or {})["Start"])
        output.write(message.data[max(0, known) :])


def whole_messages(file: Path, message: Msg) -> None:
    with file.open("ab") as output:
        if output.tell() <= int((message.headers or {})["Start"]):
            output.write(message.data)


def by_place(file: Path, message: Msg) -> None:
    """Unusual, and right."""
    file.touch()
    with file.open("r+b") as output:
        output.seek(int((message.headers or {})["Start"]))
        output.write(message.data)


def remembering(file: Path, message: Msg) -> None:
    """In the program, which is gone when it is killed."""
    start, reached = int((message.headers or {})["Start"]), KNOWN.get(file, 0)
    with file.open("ab") as output:
        output.write(message.data[max(0, reached - start) :])
    KNOWN[file] = max(reached, start + len(message.data))


def blindly(file: Path, message: Msg) -> None:
    with file.open("ab") as output:
        output.write(message.data)


def only_the_last(file: Path, message: Msg) -> None:
    file.write_bytes(message.data)


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part8.stores_then_acknowledges, store_first, "✓ 10 lines stored"),
        (part8.stores_then_acknowledges, where_full(lambda m: m.nak(delay=0.05)), "✓ 10 lines stored"),
        (part8.stores_then_acknowledges, where_full(lambda m: m.nak(delay=1)), "✓ 10 lines stored"),
        (part8.stores_then_acknowledges, ack_first, "3 of 10 lines were given up and never stored"),
        (part8.stores_then_acknowledges, ack_in_any_case, "3 of 10 lines were given up and never stored"),
        (
            part8.stores_then_acknowledges,
            where_full(lambda m: m.term()),
            "3 of 10 lines were given up and never stored",
        ),
        (part8.stores_then_acknowledges, four_tries, "1 of 10 lines were given up and never stored"),
        (part8.stores_then_acknowledges, never_ack, "the server does not know it: acknowledge each"),
        (part8.stores_then_acknowledges, store_twice, "10 lines were stored twice"),
        (part8.ships_each_byte_once, shipping(), "✓ calls repeated"),
        (part8.ships_each_byte_once, shipping(lines=True), "✓ calls repeated"),
        (part8.ships_each_byte_once, shipping(expects=False), "two producers at the same time"),
        (
            part8.ships_each_byte_once,
            shipping(expects=False, retries=True),
            "an acknowledgement was lost and the file had grown: 2 lines are in the stream twice",
        ),
        (part8.ships_each_byte_once, shipping(expects=False, ids=True), "two producers at the same time"),
        (part8.ships_each_byte_once, counts_messages, "the first call: 1 of 3 lines are not in the stream"),
        (part8.ships_each_byte_once, last_of_all, "the first call: "),
        (part8.ships_each_byte_once, all_again, "3 lines are in the stream twice"),
        (part8.ships_each_byte_once, by_ids, "✓ calls repeated"),
        (part8.ships_each_byte_once, nothing, "the first call: 3 of 3 lines are not in the stream"),
        (part8.stores_each_byte_once, new_only, "✓ 10 deliveries"),
        (part8.stores_each_byte_once, by_place, "✓ 10 deliveries"),
        (part8.stores_each_byte_once, whole_messages, "after bytes 0 to 80 the file lacks some"),
        (part8.stores_each_byte_once, remembering, "after bytes 0 to 50 the file lacks some"),
        (part8.stores_each_byte_once, blindly, "after bytes 0 to 80 the file has some bytes twice"),
        (part8.stores_each_byte_once, only_the_last, "after bytes 50 to 80 the file lacks some"),
        (part8.stores_each_byte_once, lambda file, message: None, "there is no file"),
    ],
)
def test_part_8_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")
