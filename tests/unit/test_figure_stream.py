"""The picture of a stream says what the server says, in words too."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import matplotlib as mpl
import nats
import pytest
from nats.js.api import (
    ConsumerConfig,
    ConsumerInfo,
    SequenceInfo,
    StreamConfig,
    StreamInfo,
    StreamState,
)

from support.figures import stream
from support.figures.stream import _Scale, describe
from support.server import NatsServer

mpl.use("Agg")


def info(first: int, last: int, *, messages: int | None = None, name: str = "LOGS") -> StreamInfo:
    count = last - first + 1 if messages is None else messages
    state = StreamState(messages=count, bytes=0, first_seq=first, last_seq=last, consumer_count=0)
    return StreamInfo(config=StreamConfig(name=name), state=state, created=datetime.now(UTC))


def consumer(name: str, floor: int, delivered: int, pending: int, *, redelivered: int = 0) -> ConsumerInfo:
    return ConsumerInfo(
        name,
        "LOGS",
        ConsumerConfig(),
        datetime.now(UTC),
        delivered=SequenceInfo(0, delivered),
        ack_floor=SequenceInfo(0, floor),
        num_pending=pending,
        num_redelivered=redelivered,
    )


def test_it_tells_what_a_real_server_tells(shown: list[dict[str, Any]]) -> None:
    async def run() -> None:
        with NatsServer(jetstream=True) as server:
            nc = await nats.connect(server.url)
            js = nc.jetstream()
            await js.add_stream(name="LOGS", subjects=["logs"], max_msgs=21)
            for _ in range(24):
                await js.publish("logs", b"x")
            audit = await js.pull_subscribe("logs", durable="AUDIT")
            for message in (await audit.fetch(7))[:3]:
                await message.ack_sync()
            await js.pull_subscribe("logs", durable="LATE")
            stream(await js.stream_info("LOGS"), await js.consumers_info("LOGS"), "Two views")
            await nc.close()

    asyncio.run(run())
    assert shown[0]["text/plain"].splitlines() == [
        "Stream LOGS holds 21 messages, 4 to 24; 3 were let go.",
        "AUDIT: ack floor 6 · delivered 10 · pending 14",
        "LATE: ack floor 3 · delivered 3 · pending 21",
    ]


def test_consumers_stand_in_the_order_of_their_names(shown: list[dict[str, Any]]) -> None:
    two = consumer("B", 1, 2, 3), consumer("A", 1, 2, 3, redelivered=1)
    stream(info(1, 5), two, "Title")
    stream(info(1, 5), two[::-1], "Title")
    stream(info(1, 5), two, "Title", text="said by the author")
    first, second, third = shown
    assert first["text/plain"] == second["text/plain"]
    assert first["text/plain"].splitlines()[1] == "A: ack floor 1 · delivered 2 · pending 3 · redelivered 1"
    assert first["image/png"] == second["image/png"]
    assert third["text/plain"] == "said by the author"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (info(0, 0, messages=0), "Stream LOGS is empty; 0 were let go."),
        (info(31, 30, messages=0), "Stream LOGS is empty; 30 were let go."),
        (info(2, 30, messages=20), "Stream LOGS holds 20 messages, 2 to 30; 10 were let go."),
        (info(1, 1), "Stream LOGS holds 1 message, 1; 0 were let go."),
        (info(501, 1_000_000), "Stream LOGS holds 999,500 messages, 501 to 1,000,000; 500 were let go."),
    ],
)
def test_every_state_can_be_drawn(given: StreamInfo, said: str, shown: list[dict[str, Any]]) -> None:
    last = given.state.last_seq
    views = [
        consumer("NEW", 0, 0, last),
        consumer("HALF", last // 2, last, 0),
        consumer("DONE", last, last, 0),
    ]
    stream(given, views, "Title")
    assert shown[0]["text/plain"].splitlines()[0] == said == describe(given, [])
    assert len(base64.b64decode(shown[0]["image/png"])) < 100_000


def test_holes_that_are_known_are_drawn_as_let_go(shown: list[dict[str, Any]]) -> None:
    whole = info(1, 9)
    holed = replace(whole, state=replace(whole.state, messages=8, deleted=[5], num_deleted=1))
    for each in whole, holed:
        stream(each, [], "Title")
    assert shown[0]["image/png"] != shown[1]["image/png"]


@pytest.mark.parametrize(("first", "last"), [(1, 10), (4, 24), (1, 5000), (4000, 5000), (4999, 5000)])
def test_the_held_messages_fill_the_width_to_the_right(first: int, last: int) -> None:
    scale = _Scale(info(first, last))
    assert scale.at(last + 1) == scale.at(last + 500) == pytest.approx(1)
    edges = [scale.at(sequence) for sequence in range(first, last + 2)]
    assert edges == sorted(edges)
    assert 0 <= scale.at(first) <= 0.6
