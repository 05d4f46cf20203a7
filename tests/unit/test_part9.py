"""The exercises of part 9: a wrong answer fails for the right reason."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from support.checks import part9
from support.checks.check import Check

Work = Callable[[bytes], None]


def handling(*, most: int = 4, delay: Callable[[int], float | None] = lambda n: 0.05 * 2**n) -> Any:
    async def handle(message: Msg, work: Work) -> None:
        try:
            work(message.data)
        except ValueError:
            number = message.metadata.num_delivered
            if number >= most:
                await message.term()
            else:
                await message.nak(delay=delay(number))
        else:
            await message.ack()

    return handle


async def ends_before_the_fourth(message: Msg, work: Work) -> None:
    if message.metadata.num_delivered == 4:
        await message.term()
    else:
        await handling()(message, work)


async def works_twice(message: Msg, work: Work) -> None:
    def twice(job: bytes) -> None:
        with suppress(ValueError):
            work(job)
        work(job)

    await handling()(message, twice if message.data == b"never" else work)


async def raises(message: Msg, work: Work) -> None:
    work(message.data)
    await message.ack()


async def acknowledges_all(message: Msg, work: Work) -> None:
    try:
        work(message.data)
    finally:
        await message.ack()


async def does_nothing(message: Msg, work: Work) -> None:
    return


def reading(*, deleted: bool = True, kind: str = "MAX_DELIVERIES", key: str = "stream_seq") -> Any:
    async def dead_letters(js: JetStreamContext) -> list[tuple[str, bytes | None]]:
        subject = f"$JS.EVENT.ADVISORY.CONSUMER.{kind}.WORK.*"
        reader = await js.pull_subscribe(subject, stream="ADVISORIES")
        found: list[tuple[str, bytes | None]] = []
        for _ in range((await reader.consumer_info()).num_pending or 0):
            (message,) = await reader.fetch(1, timeout=2)
            advisory = json.loads(message.data)
            if key not in advisory:  # one of another kind
                continue
            try:
                there = await js.get_msg("WORK", seq=advisory[key])
                found.append((advisory["consumer"], there.data))
            except NotFoundError:
                if deleted:
                    continue
                found.append((advisory["consumer"], b""))
        return found

    return dead_letters


async def reads_only_once(js: JetStreamContext) -> list[tuple[str, bytes | None]]:
    found: list[tuple[str, bytes | None]] = await reading()(js)
    await js.purge_stream("ADVISORIES")
    return found


async def reads_new_ones(js: JetStreamContext) -> list[tuple[str, bytes]]:
    config = ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
    await js.pull_subscribe("$JS.EVENT.ADVISORY.CONSUMER.>", stream="ADVISORIES", config=config)
    return []


async def one_for_each_message(js: JetStreamContext) -> list[tuple[str, bytes]]:
    found = {data: name for name, data in await reading()(js)}
    return [(name, data) for data, name in found.items()]


async def reads_names(js: JetStreamContext) -> list[str]:
    return ["parser"]


class Appends:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "log"
        self.known: set[Any] = set()

    def store(self, sequence: int, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


class RemembersInMemory(Appends):
    def store(self, sequence: int, data: bytes) -> None:
        if sequence not in self.known:
            self.known.add(sequence)
            super().store(sequence, data)


class ComparesBytes(Appends):
    def store(self, sequence: int, data: bytes) -> None:
        if not self.path.exists() or data not in self.path.read_bytes().splitlines(keepends=True):
            super().store(sequence, data)


class Notes(Appends):
    """What is stored is noted beside the file."""

    def store(self, sequence: int, data: bytes) -> None:
        note = self.path.with_name("note")
        if sequence > int(note.read_text() if note.exists() else 0):
            super().store(sequence, data)
            note.write_text(str(sequence))


class KeepsItInTheBuffer(Appends):
    """The note is on disk, and the lines are not yet."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.buffer, self.note = b"", folder / "note"

    def store(self, sequence: int, data: bytes) -> None:
        if sequence > int(self.note.read_text() if self.note.exists() else 0):
            self.buffer += data
            self.note.write_text(str(sequence))

    def __del__(self) -> None:
        with suppress(OSError):  # the folder may be gone
            super().store(0, self.buffer)


class Upside(Notes):
    """New lines come first."""

    def store(self, sequence: int, data: bytes) -> None:
        before = self.path.read_bytes() if self.path.exists() else b""
        super().store(sequence, data)
        after = self.path.read_bytes()
        self.path.write_bytes(after[len(before) :] + before)


class Nothing(Appends):
    def store(self, sequence: int, data: bytes) -> None:
        return


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part9.gives_up_slowly, handling(), "✓ 4 tries with growing delays"),
        (part9.gives_up_slowly, handling(delay=lambda n: None), "nak without a delay"),
        (part9.gives_up_slowly, handling(delay=lambda n: 0.05), "the delay must grow"),
        (part9.gives_up_slowly, handling(most=3), "was tried 3 times"),
        (part9.gives_up_slowly, handling(most=6, delay=lambda n: 0.02 * n), "was tried 6 times"),
        (part9.gives_up_slowly, handling(most=99, delay=lambda n: 0.01 * n), "12 times and more"),
        (part9.gives_up_slowly, ends_before_the_fourth, "was tried 3 times in 4 deliveries"),
        (part9.gives_up_slowly, works_twice, "was tried 8 times in 4 deliveries"),
        (part9.gives_up_slowly, handling(delay=lambda n: 1 + 0.1 * n), "below a second"),
        (part9.gives_up_slowly, raises, "got no answer at all"),
        (part9.gives_up_slowly, acknowledges_all, "is to end with term; yours ended with +ACK"),
        (part9.gives_up_slowly, does_nothing, "is to be acknowledged once; yours got no answer"),
        (part9.reads_dead_letters, reading(), "✓ three entries found by their advisories"),
        (part9.reads_dead_letters, reading(deleted=False), "deleted meanwhile: leave it out"),
        (part9.reads_dead_letters, reading(kind="MSG_NAKED"), "what biller gave up is missing"),
        (part9.reads_dead_letters, reading(kind="*"), "your list has 5 entries"),
        (part9.reads_dead_letters, one_for_each_message, "gave up is missing"),
        (part9.reads_dead_letters, reading(key="deliveries"), "your list is empty"),
        (part9.reads_dead_letters, reads_only_once, "the second reading found something else"),
        (part9.reads_dead_letters, reads_new_ones, "your list is empty"),
        (part9.reads_dead_letters, reads_names, "return a list of pairs"),
        (part9.stores_once, Notes, "✓ 4 redeliveries, 2 restarts"),
        (part9.stores_once, Appends, "4 lines are in the file twice"),
        (part9.stores_once, RemembersInMemory, "2 lines are in the file twice"),
        (part9.stores_once, KeepsItInTheBuffer, "nothing in folder/log"),
        (part9.stores_once, ComparesBytes, "1 lines are missing"),
        (part9.stores_once, Upside, "not in their order"),
        (part9.stores_once, Nothing, "nothing in folder/log"),
    ],
)
def test_part_9_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")
