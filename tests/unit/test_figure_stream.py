import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import nats
import pytest
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, StreamInfo

from support import NatsServer, stream
from support.figures import look

mpl.use("Agg")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(look, "display", lambda content, **more: found.append({**content, **more}))
    yield found


def real(
    messages: int, *, acknowledged: int = 0, delivered: int = 0, delete: int = 0, **limits: Any
) -> tuple[StreamInfo, list[ConsumerInfo]]:
    """A stream and a consumer as a real server tells them."""

    async def make(url: str) -> tuple[StreamInfo, list[ConsumerInfo]]:
        nc = await nats.connect(url)
        js = nc.jetstream()
        await js.add_stream(name="LOGS", subjects=["logs"], **limits)
        for _ in range(messages):
            await nc.publish("logs", b"x")
        async with asyncio.timeout(10):
            while (await js.stream_info("LOGS")).state.last_seq < messages:
                pass
        found = []
        if delivered:
            config = ConsumerConfig(ack_policy=AckPolicy.ALL)
            view = await js.pull_subscribe("logs", durable="READER", config=config)
            given: list[Any] = []
            while len(given) < delivered:
                given += await view.fetch(delivered - len(given), timeout=2)
            if acknowledged:
                await given[acknowledged - 1].ack_sync()
            found.append(await view.consumer_info())
        if delete:
            await js.delete_msg("LOGS", delete)
        info = await js.stream_info("LOGS")
        await nc.close()
        return info, found

    with NatsServer(jetstream=True) as server:
        return asyncio.run(make(server.url))


@pytest.mark.parametrize(
    ("how", "lines"),
    [
        ({"messages": 0}, ["Stream LOGS is empty; 0 were let go."]),
        (
            {"messages": 24, "delivered": 10, "acknowledged": 6},
            [
                "Stream LOGS holds 24 messages, 1 to 24; 0 were let go.",
                "READER: ack floor 6 · delivered 10 · pending 14",
            ],
        ),
        ({"messages": 24, "max_msgs": 20}, ["Stream LOGS holds 20 messages, 5 to 24; 4 were let go."]),
        ({"messages": 10, "delete": 5}, ["Stream LOGS holds 9 messages, 1 to 10; 1 were let go."]),
        (
            {"messages": 3000, "max_msgs": 2500, "delivered": 300, "acknowledged": 200},
            [
                "Stream LOGS holds 2,500 messages, 501 to 3,000; 500 were let go.",
                "READER: ack floor 700 · delivered 800 · pending 2,200",
            ],
        ),
    ],
)
def test_a_stream_is_told_as_the_server_tells_it(
    shown: list[dict[str, Any]], how: dict[str, Any], lines: list[str]
) -> None:
    info, consumers = real(**how)
    stream(info, consumers, "A stream")
    (content,) = shown
    assert content["text/plain"].splitlines() == lines
    assert base64.b64decode(content["image/png"]).startswith(b"\x89PNG")


def test_its_words_may_be_given(shown: list[dict[str, Any]]) -> None:
    info, consumers = real(3)
    stream(info, consumers, "A stream", text="Three messages.")
    assert shown[0]["text/plain"] == "Three messages."
