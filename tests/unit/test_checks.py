import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from support.checks import NotYet, Room, Verdict, check, part3
from support.checks.check import Check


@check(deadline=3)
async def calls_it(room: Room, answer: Callable[..., Awaitable[str]]) -> str:
    """The answer returns "right"."""
    if (found := await answer(room)) != "right":
        raise NotYet(f"you returned {found!r}")
    return "it was right"


def verdict(given: Check, answer: object) -> Verdict:
    return asyncio.run(given.evaluate(answer))


async def right(_: Room) -> str:
    return "right"


async def wrong(_: Room) -> str:
    return "wrong"


async def broken(_: Room) -> str:
    return str(1 / 0)


async def forever(_: Room) -> None:
    await asyncio.sleep(60)


async def blocks(_: Room) -> None:
    while True:
        pass


async def swallows(_: Room) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling() > 1:  # type: ignore[union-attr]
                raise


async def closes(room: Room) -> str:
    client = await room.connect("mine")
    await client.close()
    room.server.close()
    return "right"


async def breaks_in_the_background(room: Room) -> str:
    async def callback(_: Msg) -> None:
        raise ValueError("in the callback")

    client = await room.connect("mine")
    await client.subscribe("S", cb=callback)
    await client.publish("S")
    await room.settle(client)
    await asyncio.sleep(0.1)
    return "wrong"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (right, "✓ it was right"),
        (wrong, "not yet: you returned 'wrong'"),
        (None, "not yet: there is nothing to check so far"),
        (..., "not yet: there is nothing to check so far"),
        (42, "not yet: your code raised TypeError: 'int' object is not callable"),
        (broken, "not yet: your code raised ZeroDivisionError: division by zero (line "),
        (forever, "not yet: no result within 3 s"),
        (swallows, "not yet: no result within 3 s"),
        (closes, "✓ it was right"),
        (
            breaks_in_the_background,
            "not yet: you returned 'wrong'; your code raised ValueError: in the callback",
        ),
    ],
)
def test_a_check_says_one_line_whatever_the_answer_does(answer: object, said: str) -> None:
    begin = time.monotonic()
    line = str(verdict(calls_it, answer))
    assert line.startswith(said)
    assert "\n" not in line
    assert time.monotonic() - begin < 15


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs SIGALRM")
def test_an_answer_that_blocks_everything_is_interrupted() -> None:
    assert "runs on and on without an await" in str(verdict(calls_it, blocks))


def test_a_call_prints_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(calls_it(right))
    assert capsys.readouterr().out == "✓ it was right\n"


def test_tasks_that_an_answer_left_are_ended() -> None:
    left: list[asyncio.Task[None]] = []

    async def leaves(_: Room) -> str:
        left.append(asyncio.create_task(asyncio.sleep(60)))
        return "right"

    async def run() -> bool:
        await calls_it.evaluate(leaves)
        return left[0].cancelled()

    assert asyncio.run(run())


# -- the exercises of part 3: a wrong answer fails for the right reason ---------------------------


async def worker_right(nc: Client, done: list[bytes]) -> None:
    async def handle(msg: Msg) -> None:
        done.append(msg.data)

    await nc.subscribe("JOBS.resize", queue="any", cb=handle)


async def worker_alone(nc: Client, done: list[bytes]) -> None:
    async def handle(msg: Msg) -> None:
        done.append(msg.data)

    await nc.subscribe("JOBS.resize", cb=handle)


async def worker_in_three_groups(nc: Client, done: list[bytes]) -> None:
    async def handle(msg: Msg) -> None:
        done.append(msg.data)

    await nc.subscribe("JOBS.resize", queue=f"group-{id(done)}", cb=handle)


async def worker_elsewhere(nc: Client, done: list[bytes]) -> None:
    await nc.subscribe("JOBS.other", queue="any")


async def worker_without_await(nc: Client, done: list[bytes]) -> None:
    nc.subscribe("JOBS.resize", queue="any").close()


async def worker_of_messages(nc: Client, done: list[Any]) -> None:
    async def handle(msg: Msg) -> None:
        done.append(msg)

    await nc.subscribe("JOBS.resize", queue="any", cb=handle)


seen: set[bytes] = set()


async def worker_that_filters(nc: Client, done: list[bytes]) -> None:
    async def handle(msg: Msg) -> None:
        if msg.data not in seen:
            seen.add(msg.data)
            done.append(msg.data)

    await nc.subscribe("JOBS.resize", cb=handle)


async def worker_forgetful(nc: Client, done: list[bytes]) -> None:
    async def handle(_: Msg) -> None:
        pass

    await nc.subscribe("JOBS.resize", queue="any", cb=handle)


def service(reply: Callable[[Msg], bytes | None]) -> Callable[[Client], Awaitable[None]]:
    async def start(nc: Client) -> None:
        async def answer(msg: Msg) -> None:
            if (said := reply(msg)) is not None:
                await msg.respond(said)

        await nc.subscribe("MATH.square", cb=answer)

    return start


def square(msg: Msg) -> bytes:
    return str(int(msg.data) ** 2).encode()


def square_or_error(msg: Msg) -> bytes:
    try:
        return square(msg)
    except ValueError:
        return b"error"


def listeners(server: Any, subject: str) -> list[str]:
    found = server.monitor.connz().connections
    return sorted(each.name for each in found if any(s.subject == subject for s in each.subscriptions))


def listeners_in_part(server: Any, subject: str) -> list[str]:
    found = server.monitor.connz().connections
    return sorted(each.name for each in found if any(subject in s.subject for s in each.subscriptions))


def digits_only(msg: Msg) -> bytes:
    digits = "".join(c for c in msg.data.decode() if c in "-0123456789")
    return str(int(digits) ** 2).encode() if digits else b"error"


def square_of_a_float(msg: Msg) -> bytes:
    try:
        return str(int(float(msg.data)) ** 2).encode()
    except ValueError:
        return b"error"


def silent_for_nothing(msg: Msg) -> bytes | None:
    return square_or_error(msg) if msg.data else None


def listeners_once_for_each_subscription(server: Any, subject: str) -> list[str]:
    found = server.monitor.connz().connections
    return sorted(each.name for each in found for s in each.subscriptions if s.subject == subject)


def listeners_by_the_first(server: Any, subject: str) -> list[str]:
    found = [each for each in server.monitor.connz().connections if each.subscriptions]
    return sorted(each.name for each in found if each.subscriptions[0].subject == subject)


def listeners_to_nothing_else(server: Any, subject: str) -> list[str]:
    found = server.monitor.connz().connections
    return sorted(each.name for each in found if {s.subject for s in each.subscriptions} == {subject})


async def service_in_a_loop(nc: Client) -> None:
    subscription = await nc.subscribe("MATH.square")
    async for msg in subscription.messages:
        await msg.respond(square_or_error(msg))


async def service_that_leaves(nc: Client) -> None:
    async def answer(msg: Msg) -> None:
        await msg.respond(square_or_error(msg))

    subscription = await nc.subscribe("MATH.square", cb=answer)
    await subscription.unsubscribe(limit=3)  # the server itself ends it, with the third message


async def ask_in_parallel(nc: Client, subject: str, payload: bytes) -> Msg:
    asked = [asyncio.create_task(nc.request(subject, payload, timeout=1)) for _ in range(12)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    if replies := [each for each in found if isinstance(each, Msg)]:
        return replies[0]
    raise next(each for each in found if isinstance(each, BaseException))


def ask_up_to(times: int) -> Callable[[Client, str, bytes], Awaitable[Msg]]:
    async def ask(nc: Client, subject: str, payload: bytes) -> Msg:
        for _ in range(times - 1):
            with suppress(NatsTimeoutError):
                return await nc.request(subject, payload, timeout=0.2)
        return await nc.request(subject, payload, timeout=0.2)

    return ask


async def ask_two_at_a_time(nc: Client, subject: str, payload: bytes) -> Msg:
    while True:
        asked = [asyncio.create_task(nc.request(subject, payload, timeout=0.2)) for _ in range(2)]
        for each in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(each, Msg):
                return each
            if isinstance(each, NoRespondersError):
                raise each


async def ask_nobody_for_long(nc: Client, subject: str, payload: bytes) -> Msg:
    for _ in range(2):
        try:
            return await ask_patiently(nc, subject, payload)
        except NoRespondersError:
            await asyncio.sleep(0.4)
    raise NoRespondersError


async def ask_once(nc: Client, subject: str, payload: bytes) -> Msg:
    return await nc.request(subject, payload, timeout=0.2)


async def ask_patiently(nc: Client, subject: str, payload: bytes) -> Msg:
    for _ in range(20):
        try:
            return await nc.request(subject, payload, timeout=0.2)
        except NatsTimeoutError:
            continue
    raise TimeoutError


async def ask_for_ever(nc: Client, subject: str, payload: bytes) -> Msg:
    while True:
        try:
            return await nc.request(subject, payload, timeout=0.2)
        except (TimeoutError, NoRespondersError):
            await asyncio.sleep(0.01)


async def ask_for_bytes(nc: Client, subject: str, payload: bytes) -> bytes:
    return (await ask_patiently(nc, subject, payload)).data


async def ask_quietly(nc: Client, subject: str, payload: bytes) -> Msg | None:
    try:
        return await ask_patiently(nc, subject, payload)
    except NoRespondersError:
        return None


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part3.shares_the_work, worker_right, "✓ 30 jobs, each handled once, by 3 workers"),
        (part3.shares_the_work, worker_alone, "handled 3 times"),
        (part3.shares_the_work, worker_in_three_groups, "handled 3 times"),
        (
            part3.shares_the_work,
            worker_elsewhere,
            "0 of 3 workers listen on JOBS.resize: you",
        ),
        (part3.shares_the_work, worker_without_await, "mind the await"),
        (part3.shares_the_work, worker_of_messages, "which is bytes; `done` got a Msg"),
        (part3.shares_the_work, worker_that_filters, "let the server share the jobs"),
        (part3.shares_the_work, worker_forgetful, "30 of 30 jobs were not appended"),
        (part3.squares, service(square_or_error), "✓ 7 → 49"),
        (part3.squares, service(square), "no answer to b'seven'"),
        (part3.squares, service(lambda _: b"49"), "the answer to b'-3' was b'49', and should be b'9'"),
        (part3.squares, service(lambda _: None), "no answer to b'7'"),
        (part3.squares, service(square_of_a_float), "the answer to b'2.5' was b'4', and should be b'error'"),
        (part3.squares, service(digits_only), "the answer to b'2.5' was b'625', and should be b'error'"),
        (part3.squares, service(silent_for_nothing), "no answer to b''"),
        (part3.names_the_listeners, listeners, "✓ audit and store"),
        (part3.squares, service_in_a_loop, "must return once it has subscribed"),
        (part3.squares, service_that_leaves, "before b'2.5' your service was gone"),
        (part3.names_the_listeners, lambda server, subject: ["audit", "store"], "lacks 2 clients"),
        (part3.names_the_listeners, lambda server, subject: [], "for ORDERS.new your list lacks 2"),
        (part3.names_the_listeners, lambda server, subject: None, "you returned None"),
        (part3.names_the_listeners, listeners_in_part, "did not subscribe to just this: ['branch']"),
        (part3.names_the_listeners, lambda server, subject: listeners(server, subject)[::-1], "sort them"),
        (part3.names_the_listeners, listeners_once_for_each_subscription, "sort them, each one once"),
        (part3.names_the_listeners, listeners_by_the_first, "lacks 1 clients that subscribed: ['audit']"),
        (part3.names_the_listeners, listeners_to_nothing_else, "lacks 1 clients that subscribed: ['audit']"),
        (part3.names_the_listeners, right, "a plain def will do"),
        (part3.asks_again, ask_patiently, "✓ 20 requests, 20 replies"),
        (part3.asks_again, ask_once, "failed after a time-out: ask again"),
        (part3.asks_again, ask_for_ever, "let NoRespondersError through"),
        (part3.asks_again, ask_for_bytes, "you returned b'rain'"),
        (part3.asks_again, ask_up_to(6), "failed after a time-out: ask again, and often enough"),
        (part3.asks_again, ask_up_to(7), "✓ 20 requests, 20 replies"),
        (part3.asks_again, ask_in_parallel, "you sent more copies than needed"),
        (part3.asks_again, ask_two_at_a_time, "you sent more copies than needed"),
        (part3.asks_again, ask_nobody_for_long, "say so at once"),
        (part3.asks_again, ask_quietly, "let NoRespondersError through"),
    ],
)
def test_part_3_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = verdict(given, answer)
    assert said in str(found)
    assert found.ok == said.startswith("✓")


# -- nothing that an answer does gets out --------------------------------------------------------


async def leaves_python(_: Room) -> None:
    raise SystemExit


async def interrupts(_: Room) -> None:
    raise KeyboardInterrupt


async def cancels_its_own(_: Room) -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    task.cancel()
    await task


async def leaves_python_in_a_task(_: Room) -> str:
    async def leave() -> None:
        raise SystemExit

    await asyncio.wait([asyncio.create_task(leave())])
    return "wrong"


async def leaves_python_in_a_callback(room: Room) -> str:
    async def leave(_: Msg) -> None:
        raise SystemExit

    client = await room.connect("mine")
    await client.subscribe("S", cb=leave)
    await client.publish("S")
    await room.settle(client)
    await asyncio.sleep(0.1)
    return "wrong"


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


async def raises_the_unspeakable(_: Room) -> None:
    raise UnspeakableError


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (leaves_python, "raised SystemExit"),
        (interrupts, "raised KeyboardInterrupt"),
        (cancels_its_own, "raised CancelledError"),
        (leaves_python_in_a_task, "you returned 'wrong'"),
        (leaves_python_in_a_callback, "you returned 'wrong'"),
        (raises_the_unspeakable, "raised UnspeakableError"),
    ],
)
def test_what_would_end_the_kernel_becomes_a_sentence(answer: object, said: str) -> None:
    assert said in str(verdict(calls_it, answer))


async def blocks_and_catches(_: Room) -> None:
    while True:
        with suppress(Exception):
            time.sleep(60)  # noqa: ASYNC251


async def spins_in_asyncio(_: Room) -> None:
    while asyncio.Queue().empty():
        pass


async def blocks_when_cancelled(_: Room) -> None:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        time.sleep(60)  # noqa: ASYNC251


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs SIGALRM")
@pytest.mark.parametrize("answer", [blocks, blocks_and_catches, spins_in_asyncio, blocks_when_cancelled])
def test_no_way_to_block_outlives_the_deadline_for_long(answer: object) -> None:
    begin = time.monotonic()
    assert not verdict(calls_it, answer).ok
    assert time.monotonic() - begin < 15


def test_other_tasks_of_the_notebook_go_on() -> None:
    async def run() -> bool:
        started: list[asyncio.Task[None]] = []

        async def starts_others() -> None:
            await asyncio.sleep(0.1)
            started.append(asyncio.create_task(asyncio.sleep(60)))
            await asyncio.sleep(60)

        mine = asyncio.create_task(starts_others())
        await calls_it.evaluate(forever)
        going = not mine.done() and not started[0].done()
        mine.cancel()
        started[0].cancel()
        return going

    assert asyncio.run(run())


def test_two_checks_at_once_do_not_disturb_each_other() -> None:
    async def run() -> list[Verdict]:
        return await asyncio.gather(calls_it.evaluate(right), calls_it.evaluate(wrong))

    assert [found.ok for found in asyncio.run(run())] == [True, False]
