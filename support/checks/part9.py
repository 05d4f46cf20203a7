"""The exercises of part 9: acknowledgements."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from ..logs import log_lines
from .check import NotYet, check
from .room import Room

TRIES = 4  # deliveries of a job that never succeeds
MANY = 3 * TRIES  # deliveries of one job after which nobody expects an end
PATIENCE = 1.5  # seconds in which a delivery must come
LOOK = 0.3  # seconds after which the server is asked whether anything is left
ACK_WAIT = 0.2  # seconds
POINTERS = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"

Handle = Callable[[Msg, Callable[[bytes], None]], Awaitable[object]]
DeadLetters = Callable[[JetStreamContext], Awaitable[Sequence[tuple[str, bytes]]]]


class Stores(Protocol):
    """What exercise 9.3 asks for."""

    def store(self, sequence: int, data: bytes) -> object: ...


# -- 9.1 --------------------------------------------------------------------------------------


@check(deadline=20, jetstream=True)
async def gives_up_slowly(room: Room, handle: Handle) -> str:
    """A job that fails comes again after a growing delay; after the fourth try it is ended."""
    client = await room.connect("worker")
    js = client.jetstream()
    await js.add_stream(name="JOBS", subjects=["jobs"])
    said: dict[bytes, list[bytes]] = defaultdict(list)
    await _listen(client, js, said)
    for job in b"good", b"late", b"never", b"also good":
        await js.publish("jobs", job)
    tries = await _work_off(client, js, handle)
    info = await js.consumer_info("JOBS", "WORK")
    for job in b"good", b"also good":
        if tries[job] != 1 or said[job] != [b"+ACK"]:
            raise NotYet(f"a job that succeeds is to be acknowledged once; yours got {_shown(said[job])}")
    if not said[b"never"]:
        raise NotYet("a job that failed got no answer at all: catch the error, and answer with nak or term")
    if tries[b"never"] >= MANY:
        raise NotYet(f"the job that never succeeds was delivered {MANY} times and more: end it with term")
    *before, last = said[b"never"]
    if not last.startswith(b"+TERM"):
        raise NotYet(f"the job that never succeeds is to end with term; yours ended with {_shown([last])}")
    if (len(said[b"never"]), tries[b"never"]) != (TRIES, TRIES):
        raise NotYet(
            f"it is to be tried {TRIES} times, and was tried {tries[b'never']} times in "
            f"{len(said[b'never'])} deliveries: message.metadata.num_delivered counts"
        )
    delays = [_delay(each) for each in before]
    if 0 in delays:
        raise NotYet("nak without a delay brings the job back at once: give it a delay")
    if max(delays) >= 1e9:
        raise NotYet("all delays are to be below a second")
    if any(later <= earlier for earlier, later in pairwise(delays)):
        raise NotYet("the delay must grow from one try to the next")
    if said[b"late"][-1:] != [b"+ACK"]:
        raise NotYet("a job that succeeds at the third try is to be acknowledged then")
    if info.num_ack_pending or not info.ack_floor or info.ack_floor.stream_seq != 4:
        raise NotYet("something is left without an answer: the ack floor is not at the last job")
    return (
        f"{TRIES} tries with growing delays, then term; the late job was done at its third; nothing is left"
    )


async def _listen(client: Client, js: JetStreamContext, said: dict[bytes, list[bytes]]) -> None:
    """Note for each job what the worker answers: acknowledgements are messages like others."""
    jobs = {1: b"good", 2: b"late", 3: b"never", 4: b"also good"}

    async def note(message: Msg) -> None:
        if message.data != b"+WPI":
            said[jobs[int(message.subject.split(".")[-4])]].append(message.data or b"+ACK")

    await client.subscribe("$JS.ACK.JOBS.WORK.>", cb=note)


async def _work_off(client: Client, js: JetStreamContext, handle: Handle) -> Counter[bytes]:
    """Hand each delivery to the answer until nothing comes any more; how often each job was tried."""
    tries: Counter[bytes] = Counter()

    def work(job: bytes) -> None:
        tries[job] += 1
        if job == b"never" or (job == b"late" and tries[job] < 3):
            raise ValueError(f"{job.decode()} cannot be done now")

    config = ConsumerConfig(durable_name="WORK", ack_wait=30)
    subscription = await js.pull_subscribe("jobs", durable="WORK", config=config)
    quiet = 0.0
    while max(tries.values(), default=0) < MANY and quiet < PATIENCE:
        try:
            (message,) = await subscription.fetch(1, timeout=LOOK)
        except TimeoutError:
            info, quiet = await js.consumer_info("JOBS", "WORK"), quiet + LOOK
            if not info.num_ack_pending:
                break
            continue
        quiet = 0.0
        with suppress(ValueError):
            await handle(message, work)
    await client.flush()
    await client.flush()
    return tries


def _delay(answer: bytes) -> int:
    """The nanoseconds of a nak; 0 if it has none."""
    with suppress(ValueError):
        return int(json.loads(answer.removeprefix(b"-NAK"))["delay"])
    return 0


def _shown(answers: Sequence[bytes]) -> str:
    return ", ".join(each.split()[0].decode() for each in answers) or "no answer"


# -- 9.2 --------------------------------------------------------------------------------------


@check(deadline=20, jetstream=True)
async def reads_dead_letters(room: Room, dead_letters: DeadLetters) -> str:
    """From the advisories that a stream keeps to the bytes of the messages that they point to."""
    client = await room.connect("reader")
    js = client.jetstream()
    await js.add_stream(name="WORK", subjects=["work"])
    await js.add_stream(name="ADVISORIES", subjects=["$JS.EVENT.ADVISORY.CONSUMER.>"])
    payloads = [b"\xff broken", b"deleted", b"1;2;", b"fine"]
    for payload in payloads:
        await js.publish("work", payload)
    await _give_up(client, js, "parser", {1, 2})
    await _give_up(client, js, "biller", {1, 3})
    await js.delete_msg("WORK", 2)
    expected = sorted([("parser", payloads[0]), ("biller", payloads[0]), ("biller", payloads[2])])
    for number in range(2):
        found = await dead_letters(js)
        if not isinstance(found, list | tuple) or not all(
            isinstance(each, list | tuple) and len(each) == 2 for each in found
        ):
            raise NotYet("return a list of pairs: the consumer's name, and the bytes of the message")
        pairs = sorted((str(name), bytes(data or b"")) for name, data in found)
        if number and pairs != expected:
            raise NotYet("the second reading found something else: leave the advisories where they are")
        if not pairs:
            raise NotYet("three times a message was given up that is still there, and your list is empty")
        if b"deleted" in {data for _, data in pairs} or any(not data for _, data in pairs):
            raise NotYet("one of the messages was deleted meanwhile: leave it out")
        if missing := [name for name, data in expected if (name, data) not in pairs]:
            raise NotYet(f"what {missing[0]} gave up is missing, or has other bytes: look at its stream_seq")
        if pairs != expected:
            raise NotYet(f"three times a message was given up, and your list has {len(pairs)} entries")
    return "three entries found by their advisories, a deleted message left out, and all of it twice"


async def _give_up(client: Client, js: JetStreamContext, name: str, bad: set[int]) -> None:
    """A consumer that acknowledges all but the `bad` sequences, which are delivered twice.

    It first says nak to the fourth: not all that is reported was given up.
    """
    advisories = await client.subscribe(f"{POINTERS}.WORK.{name}")
    config = ConsumerConfig(ack_wait=0.1, max_deliver=2)
    subscription = await js.pull_subscribe("work", durable=name, config=config)
    count = (await js.stream_info("WORK")).state.messages
    for _ in range(count + len(bad) + 1):
        (message,) = await subscription.fetch(1, timeout=PATIENCE)
        sequence = message.metadata.sequence.stream
        if sequence == 4 and message.metadata.num_delivered == 1:
            await message.nak()
        elif sequence not in bad:
            await message.ack()
    asking = asyncio.create_task(subscription.fetch(1, timeout=5))  # else the server does not look
    for _ in bad:
        await advisories.next_msg(timeout=5)
    asking.cancel()
    stored = 0
    async with asyncio.timeout(5):  # the stream gets its copy at the same time
        while stored < len(bad):
            info = await js.stream_info("ADVISORIES", subjects_filter=f"{POINTERS}.WORK.{name}")
            stored = sum((info.state.subjects or {}).values())


# -- 9.3 --------------------------------------------------------------------------------------


@check(deadline=20, jetstream=True)
async def stores_once(room: Room, kind: Callable[[Path], Stores]) -> str:
    """Each line is in the file once, though acknowledgements get lost and the program is restarted."""
    client = await room.connect("store")
    js = client.jetstream()
    await js.add_stream(name="LINES", subjects=["lines"])
    lines = log_lines("web1.example.net", 12)
    lines[7] = lines[6]  # two messages, though their bytes are the same
    for line in lines:
        await js.publish("lines", line)
    config = ConsumerConfig(ack_wait=ACK_WAIT, max_ack_pending=1)
    subscription = await js.pull_subscribe("lines", durable="STORE", config=config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        again, _alive = await _store_all(subscription, lambda: kind(folder), len(lines))
        written = (folder / "log").read_bytes() if (folder / "log").exists() else b""
    if not written:
        raise NotYet("there is nothing in folder/log: append the line's bytes to it")
    found, right = Counter(written.splitlines(keepends=True)), Counter(lines)
    if written == b"".join(lines):
        return f"{again} redeliveries, 2 restarts, and each of {len(lines)} lines is in the file once"
    if doubled := sum((found - right).values()):
        raise NotYet(
            f"{doubled} lines are in the file twice: their acknowledgement was lost, or the program restarted"
        )
    if lost := sum((right - found).values()):
        raise NotYet(f"{lost} lines are missing: two messages may hold the same bytes, and both count")
    raise NotYet("all lines are there, but not in their order, or not as they came")


async def _store_all(
    subscription: JetStreamContext.PullSubscription, start: Callable[[], Stores], count: int
) -> tuple[int, list[Stores]]:
    """Store what is delivered; every third acknowledgement is lost, and the program is restarted twice.

    Returns how many deliveries came again, and the stores, none of which is given the time to close a file.
    """
    stores, again, acked, lost = [start()], 0, 0, set()
    while acked < count:
        (message,) = await subscription.fetch(1, timeout=5)
        sequence = message.metadata.sequence.stream
        again += message.metadata.num_delivered > 1
        stores[-1].store(sequence, message.data)
        if sequence % 3 == 0 and sequence not in lost:
            lost.add(sequence)
            if sequence % 2 == 0:
                stores.append(start())
            continue
        await message.ack_sync(timeout=5)
        acked += 1
    return again, stores
