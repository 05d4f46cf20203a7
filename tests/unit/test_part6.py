"""The exercises of part 6: a wrong answer fails for the right reason."""

import asyncio
import uuid
from typing import Any

import pytest
from nats.js.api import DiscardPolicy, RetentionPolicy

from support.checks import part6
from support.checks.check import Check


def made(**config: Any) -> Any:
    async def make(js: Any) -> None:
        await js.add_stream(**({"name": "SENSORS", "subjects": ["sensors.>"]} | config))

    return make


NEW = DiscardPolicy.NEW


def publisher(identify: Any = None, *, tries: int = 1000, timeout: float = 0.3, give: Any = None) -> Any:
    async def publish(js: Any, subject: str, payload: bytes) -> Any:
        headers = {"Nats-Msg-Id": identify(payload)} if identify else None
        for _ in range(tries):
            try:
                ack = await js.publish(subject, payload, timeout=timeout, headers=headers)
            except TimeoutError:
                continue
            return give(ack) if give else ack
        raise TimeoutError

    return publish


def unique(_: bytes) -> str:
    return uuid.uuid4().hex


async def a_new_id_each_time(js: Any, subject: str, payload: bytes) -> Any:
    while True:
        try:
            return await js.publish(subject, payload, timeout=0.3, headers={"Nats-Msg-Id": unique(b"")})
        except TimeoutError:
            continue


def worker(
    *, before: bool = False, after: bool = True, last: bool = False, timeout: float = 2, batch: int = 10
) -> Any:
    """Acknowledge before the work, after it, or the last one of a batch."""

    async def work(subscription: Any, handle: Any) -> None:
        while True:
            try:
                messages = await subscription.fetch(batch, timeout=timeout)
            except TimeoutError:
                return
            for message in messages:
                if before:
                    await message.ack()
                await handle(message)
                if after and not last:
                    await message.ack()
            if last:
                for message in messages:
                    await message.ack()

    return work


async def endless(subscription: Any, handle: Any) -> None:
    """A worker need not return."""
    while True:
        try:
            (message,) = await subscription.fetch(1, timeout=0.2)
        except TimeoutError:
            continue
        await handle(message)
        await message.ack()


async def idle(subscription: Any, handle: Any) -> None:
    await subscription.fetch(1, timeout=1)


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part6.refuses_when_full, made(max_msgs=100, discard=NEW), "✓ 100 messages stored, 10 refused"),
        (part6.refuses_when_full, made(max_msgs=100), "and message 10 is gone for it"),
        (part6.refuses_when_full, made(), "110 messages were stored: limit the stream to 100"),
        (part6.refuses_when_full, made(max_msgs=50, discard=NEW), "message 51 was refused already"),
        (part6.refuses_when_full, made(max_msgs=105, discard=NEW), "message 106 was the first to be refused"),
        (part6.refuses_when_full, made(max_msgs=100, discard=NEW, max_age=60), "forgets by age, after 60 s"),
        (
            part6.refuses_when_full,
            made(max_msgs=100, discard=NEW, max_msgs_per_subject=50),
            "it still forgets, or refuses, by subject",
        ),
        (
            part6.refuses_when_full,
            made(max_msgs=100, discard=NEW, retention=RetentionPolicy.WORK_QUEUE),
            "forgets what was acknowledged",
        ),
        (part6.refuses_when_full, made(max_msgs_per_subject=33), "is gone for it"),
        (
            part6.refuses_when_full,
            made(subjects=["sensors.*", "other"]),
            "SENSORS is to take sensors.> and nothing else",
        ),
        (part6.refuses_when_full, made(name="SENSOR"), "there is no stream SENSORS"),
        (part6.publishes_once, publisher(unique), "✓ the server was down for several tries"),
        (part6.publishes_once, publisher(), "the order is stored more than once"),
        (part6.publishes_once, a_new_id_each_time, "the order is stored more than once"),
        (part6.publishes_once, publisher(lambda payload: payload.decode()), "the id must differ"),
        (part6.publishes_once, publisher(lambda _: "1"), "the id must differ"),
        (part6.publishes_once, publisher(unique, tries=2), "it gave up with a TimeoutError"),
        (part6.publishes_once, publisher(unique, tries=5), "it gave up with a TimeoutError"),
        (part6.publishes_once, publisher(unique, timeout=2.5), "no third try within 4 s"),
        (
            part6.publishes_once,
            publisher(unique, timeout=8),
            "no third try within 4 s: use js.publish with timeout=0.3",
        ),
        (
            part6.publishes_once,
            publisher(unique, give=lambda ack: ack.seq),
            "return the PubAck of js.publish",
        ),
        (part6.survives_a_crash, worker(), "✓ ack floor 13 after the crash"),
        (part6.survives_a_crash, endless, "✓ ack floor 13 after the crash"),
        (part6.survives_a_crash, worker(before=True, after=False), "it acknowledged what it had not handled"),
        (part6.survives_a_crash, worker(after=False), "the server's ack floor is 0"),
        (part6.survives_a_crash, worker(last=True), "the server's ack floor is 10"),
        (part6.survives_a_crash, worker(last=True, batch=4), "the server's ack floor is 12"),
        (part6.survives_a_crash, worker(timeout=0.1), "job 14 was never handled"),
        (part6.survives_a_crash, idle, "0 jobs were handled, and then none"),
    ],
)
def test_part_6_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")
