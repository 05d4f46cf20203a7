"""The streams and consumers that the shipper needs: what there should be, what there is, and the difference.

Two layouts: one stream with a consumer for each partition, or (`per_partition`) a stream for each
partition, NAME_0, NAME_1, …, so that a slow partition cannot push the others' messages over a limit.
Consumers are durable and acknowledge all up to a message. They are pulled from, or deliver to a target.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
)

from .settings import SetupSettings
from .subjects import partition_subject

ACK_WAIT = 30.0  # seconds
UNACKED_PULL, UNACKED_PUSH = 10_000, 100  # messages; what is pushed waits in the consumer's memory
RESET_SINCE = (2, 14)  # the server's version from which on a consumer can be reset


@dataclass(frozen=True, slots=True)
class Layout:
    """How `setup` lays it out. `max_age` in seconds, `max_bytes` for each stream (-1: no limit)."""

    per_partition: bool = False
    replicas: int = 1
    max_age: float = 24 * 3600.0
    max_bytes: int = -1


@dataclass(frozen=True, slots=True)
class Step:
    """One difference between what should be and what is: what to tell, and what to ask of the server."""

    text: str
    stream: StreamConfig
    consumer: ConsumerConfig | None = None
    exists: bool = False

    async def apply(self, js: JetStreamContext) -> None:
        """Make it so."""
        if self.consumer:
            await js.add_consumer(str(self.stream.name), self.consumer)
        elif self.exists:
            await js.update_stream(self.stream)
        else:
            await js.add_stream(self.stream)


def stream_names(settings: SetupSettings, *, per_partition: bool) -> list[tuple[str, list[int]]]:
    """Each stream's name, with the partitions that it holds."""
    numbers = list(range(max(1, settings.partitions)))
    return (
        [(f"{settings.stream}_{n}", [n]) for n in numbers] if per_partition else [(settings.stream, numbers)]
    )


def consumer_name(number: int, *, push: bool) -> str:
    """The durable consumer of one partition."""
    return f"PUSH_{number}" if push else f"PULL_{number}"


async def plan(js: JetStreamContext, settings: SetupSettings, layout: Layout) -> list[Step]:
    """What has to be done, in order; an empty list if all is as it should be."""
    steps: list[Step] = []
    for name, partitions in stream_names(settings, per_partition=layout.per_partition):
        steps += await _stream_steps(js, settings, layout, name, partitions)
    return steps


async def _stream_steps(
    js: JetStreamContext, settings: SetupSettings, layout: Layout, name: str, partitions: list[int]
) -> list[Step]:
    steps: list[Step] = []
    wanted: dict[str, Any] = {
        "subjects": [partition_subject(settings.prefix, number) for number in partitions],
        "max_age": layout.max_age,
        "max_bytes": layout.max_bytes,
        "num_replicas": layout.replicas,
    }
    there = await _info(js, name)
    if there is None:
        fixed: dict[str, Any] = {"storage": StorageType.FILE, "retention": RetentionPolicy.LIMITS}
        config = StreamConfig(name=name, **wanted, **fixed)
        said = f"{_short(wanted['subjects'])}, file, {layout.replicas} replica(s), {_limits(layout)}"
        steps.append(Step(f"+ stream {name}: {said}", config))
    else:
        config = replace(there.config, **wanted)
        if changes := list(_changes(there.config, wanted)):
            steps.append(Step(f"~ stream {name}: {'; '.join(changes)}", config, exists=True))
    for number in partitions:
        consumer = _consumer(settings, number)
        durable = str(consumer.durable_name)
        found = await _consumer_info(js, name, durable) if there else None
        if found is None:
            how = f"deliver to {consumer.deliver_subject}" if consumer.deliver_subject else "pulled"
            steps.append(
                Step(f"+ consumer {durable} of {name}: {consumer.filter_subject}, {how}", config, consumer)
            )
        elif changes := list(_changes(found.config, _managed(consumer))):
            # What is not ours to say stays as it is, first of all where delivery began.
            changed = replace(found.config, **_managed(consumer))
            steps.append(Step(f"~ consumer {durable} of {name}: {'; '.join(changes)}", config, changed))
    return steps


def _consumer(settings: SetupSettings, number: int) -> ConsumerConfig:
    push = settings.target is not None
    return ConsumerConfig(
        durable_name=consumer_name(number, push=push),
        filter_subject=partition_subject(settings.prefix, number),
        deliver_subject=f"{settings.target}.p{number}" if push else None,
        ack_policy=AckPolicy.ALL,
        ack_wait=ACK_WAIT,
        max_ack_pending=UNACKED_PUSH if push else UNACKED_PULL,
        max_deliver=-1,
    )


def _managed(consumer: ConsumerConfig) -> dict[str, Any]:
    names = "filter_subject", "deliver_subject", "ack_policy", "ack_wait", "max_ack_pending", "max_deliver"
    return {name: getattr(consumer, name) for name in names}


def _changes(there: StreamConfig | ConsumerConfig, wanted: dict[str, Any]) -> Iterator[str]:
    for key, value in wanted.items():
        now = getattr(there, key)
        if now != value and str(now) != str(value):
            shown = (_short(now), _short(value)) if key == "subjects" else (now, value)
            yield f"{key} {shown[0]} → {shown[1]}"


def _short(subjects: list[str] | None) -> str:
    found = subjects or []
    return ", ".join(found) if len(found) < 4 else f"{found[0]} … {found[-1]} ({len(found)} subjects)"


def _limits(layout: Layout) -> str:
    size = "" if layout.max_bytes < 0 else f", {layout.max_bytes} bytes"
    return f"{layout.max_age / 3600:g} h{size}"


async def _info(js: JetStreamContext, name: str) -> StreamInfo | None:
    try:
        return await js.stream_info(name)
    except nats.js.errors.NotFoundError:
        return None


async def _consumer_info(js: JetStreamContext, stream: str, name: str) -> ConsumerInfo | None:
    try:
        found: ConsumerInfo = await js.consumer_info(stream, name)
        return found
    except nats.js.errors.NotFoundError:
        return None


# -- what producers and consumers need ----------------------------------------------------------


async def find_stream(js: JetStreamContext, name: str, number: int) -> StreamInfo:
    """The stream of one partition, in either layout; nats.errors.Error if there is none."""
    for each in (name, f"{name}_{number}"):
        if found := await _info(js, each):
            return found
    raise nats.errors.Error(f"there is no stream {name}, nor {name}_{number}: `setup` makes it")


async def find_consumer(js: JetStreamContext, stream: str, number: int, *, push: bool) -> ConsumerInfo:
    """The durable consumer of one partition; nats.errors.Error if there is none."""
    name = consumer_name(number, push=push)
    if found := await _consumer_info(js, stream, name):
        return found
    raise nats.errors.Error(f"the stream {stream} has no consumer {name}: `setup` makes it")


async def rewind(js: JetStreamContext, info: ConsumerInfo, version: tuple[int, int], after: int) -> None:
    """Have the consumer deliver all after a sequence, in order, with delivery sequences from 1 on.

    Otherwise, what a killed program had received and not acknowledged would come back only after the ack
    wait, behind newer messages. NATS documentation, ADR-60 (consumer reset).
    """
    if version >= RESET_SINCE:
        await js.reset_consumer(info.stream_name, info.name, seq=after + 1)
        return
    config = replace(
        info.config,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=after + 1,
        opt_start_time=None,
    )
    await js.delete_consumer(info.stream_name, info.name)
    await js.add_consumer(info.stream_name, config)


# -- report ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lag:
    """How far the consumer of one partition is behind its stream.

    `pending` messages were not delivered yet, `unacked` ones are delivered and not stored; the oldest
    of all these was published `seconds` ago.
    """

    stream: str
    messages: int
    bytes: int
    consumer: str
    pending: int
    unacked: int
    seconds: float


async def report(js: JetStreamContext, settings: SetupSettings) -> list[Lag]:
    """The lag of each consumer of the shipper, in either layout; nats.errors.Error if there is no stream."""
    found: list[Lag] = []
    for number in range(max(1, settings.partitions)):
        stream = await find_stream(js, settings.stream, number)
        consumer = await find_consumer(js, str(stream.config.name), number, push=settings.target is not None)
        found.append(await _lag(js, stream, consumer))
    return found


async def _lag(js: JetStreamContext, stream: StreamInfo, consumer: ConsumerInfo) -> Lag:
    pending, unacked = consumer.num_pending or 0, consumer.num_ack_pending or 0
    seconds = 0.0
    if pending or unacked:
        floor = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
        try:
            oldest = await js.get_msg(
                consumer.stream_name, seq=floor + 1, subject=consumer.config.filter_subject, next=True
            )
            seconds = max(0.0, time.time() - oldest.time.timestamp()) if oldest.time else 0.0
        except nats.js.errors.NotFoundError:
            pass  # stored and acknowledged meanwhile
    return Lag(
        stream=str(stream.config.name),
        messages=stream.state.messages,
        bytes=stream.state.bytes,
        consumer=consumer.name,
        pending=pending,
        unacked=unacked,
        seconds=round(seconds, 3),
    )
