"""The exercises of part 6: a wrong answer fails for the right reason."""

import asyncio
import uuid
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, PubAck, RetentionPolicy

from support.checks import part6
from support.checks.check import Check


def making(**limits: Any) -> Any:
    async def make(js: JetStreamContext) -> None:
        await js.add_stream(name="SENSORS", **{"subjects": ["sensors.>"], **limits})

    return make


async def no_stream(js: JetStreamContext) -> None:
    """Do nothing."""


def publishing(*, tries: int = 100, each_new: bool = False, ids: bool = True, same: bool = False) -> Any:
    async def publish(js: JetStreamContext, subject: str, payload: bytes) -> PubAck | None:
        name = "the same for all" if same else str(uuid.uuid4())
        for _ in range(tries):
            if each_new:
                name = str(uuid.uuid4())
            try:
                headers = {"Nats-Msg-Id": name} if ids else None
                return await js.publish(subject, payload, timeout=0.3, headers=headers)
            except TimeoutError:
                continue
        return None

    return publish


def working(*, first_ack: bool = False, batch: int = 10, acks: bool = True, last_only: bool = False) -> Any:
    async def work(subscription: Any, handle: Any) -> None:
        while True:
            try:
                messages: list[Msg] = await subscription.fetch(batch, timeout=2)
            except TimeoutError:
                return
            for message in messages:
                if first_ack:
                    await message.ack()
                await handle(message)
                if acks and not first_ack and not last_only:
                    await message.ack()
            for message in messages if last_only else []:
                await message.ack()

    return work


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part6.refuses_when_full, making(max_msgs=100, discard=DiscardPolicy.NEW), "✓ 100 messages stored"),
        (part6.refuses_when_full, making(max_msgs=100), "it is to be refused instead"),
        (part6.refuses_when_full, making(), "limit the stream to 100, over all subjects"),
        (
            part6.refuses_when_full,
            making(max_msgs=50, discard=DiscardPolicy.NEW),
            "message 51 was refused already",
        ),
        (
            part6.refuses_when_full,
            making(max_msgs=101, discard=DiscardPolicy.NEW),
            "message 102 was the first",
        ),
        (
            part6.refuses_when_full,
            making(max_msgs=100, discard=DiscardPolicy.NEW, retention=RetentionPolicy.INTEREST),
            "it is to be refused instead",
        ),
        (part6.refuses_when_full, no_stream, "there is no stream SENSORS"),
        (part6.publishes_once, publishing(), "✓ 3 tries and more"),
        (part6.publishes_once, publishing(ids=False), "each try arrived, timed out or not"),
        (part6.publishes_once, publishing(each_new=True), "each try arrived, timed out or not"),
        (part6.publishes_once, publishing(tries=1), "return the PubAck"),
        (part6.publishes_once, publishing(same=True), "the id must differ"),
        (part6.survives_a_crash, working(), "✓ ack floor 12"),
        (part6.survives_a_crash, working(batch=1), "✓ ack floor 12"),
        (part6.survives_a_crash, working(first_ack=True), "it acknowledged what it had not handled"),
        (part6.survives_a_crash, working(acks=False), "ack floor is 0: acknowledge each job"),
        (part6.survives_a_crash, working(last_only=True), "ack floor is 10: acknowledge each job"),
    ],
)
def test_part_6_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")
