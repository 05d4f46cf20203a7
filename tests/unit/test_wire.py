import asyncio
from collections.abc import Awaitable, Callable

import nats
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from support.config import Account, Config, User
from support.log import parse_log
from support.server import NatsServer
from support.wire import Wire, is_inbox, parse, trace, unquote


async def settle(client: Client) -> None:
    await client.flush()
    await client.flush()


def record(
    talk: Callable[[Client, Client], Awaitable[None]], *, names: tuple[str | None, str | None]
) -> Wire:
    """What crosses the wire while two clients talk."""

    async def run() -> Wire:
        with NatsServer() as server:
            one = await nats.connect(server.url, name=names[0])
            two = await nats.connect(server.url, name=names[1])
            try:
                with trace(server) as wire:
                    await talk(one, two)
                return wire
            finally:
                await one.close()
                await two.close()

    return asyncio.run(run())


async def ask_once(client: Client, service: Client) -> None:
    async def answer(msg: nats.aio.msg.Msg) -> None:
        await msg.respond(b"rain")

    subscription = await service.subscribe("WEATHER", queue="grp", cb=answer)
    await settle(service)
    await client.request("WEATHER", b"London?", timeout=5)
    await subscription.unsubscribe()
    await settle(service)


def test_a_request_is_recorded_message_by_message() -> None:
    wire = record(ask_once, names=("client", "service"))
    frames = [frame for frame in wire.only("SUB", "PUB", "MSG", "UNSUB") if frame.op != "SUB" or frame.queue]
    assert [(frame.client, frame.to_server, frame.op) for frame in frames] == [
        ("service", True, "SUB"),
        ("client", True, "PUB"),
        ("service", False, "MSG"),
        ("service", True, "PUB"),
        ("client", False, "MSG"),
        ("service", True, "UNSUB"),
    ]
    sub, request, delivered, reply, answer, unsub = frames
    assert (sub.subject, sub.queue) == (unsub.subject, unsub.queue) == ("WEATHER", "grp")
    assert request.payload == delivered.payload == b"London?"
    assert request.reply == delivered.reply == reply.subject == answer.subject
    assert is_inbox(answer.subject)
    assert reply.payload == answer.payload == b"rain"
    assert [frame.time for frame in frames] == sorted(frame.time for frame in frames)


def test_headers_are_kept_apart_from_the_payload() -> None:
    async def talk(one: Client, two: Client) -> None:
        subscription = await two.subscribe("S")
        await settle(two)
        await one.publish("S", b"body", headers={"Colour": "blue"})
        await subscription.next_msg(timeout=5)

    wire = record(talk, names=("one", "two"))
    for frame in wire.only("PUB", "MSG"):
        assert frame.payload == b"body"
        assert b"Colour: blue" in frame.headers


@pytest.mark.parametrize("name", ['a "quoted" name', "with:colons - and <<- arrows", "naïve ✓", "[brackets]"])
def test_any_client_name_is_read_back(name: str) -> None:
    async def talk(one: Client, _: Client) -> None:
        await one.publish("S", b"x")
        await settle(one)

    (frame,) = record(talk, names=(name, "other")).only("PUB")
    assert frame.client == name


def test_a_client_without_a_name_is_called_by_its_number() -> None:
    async def talk(one: Client, _: Client) -> None:
        await one.publish("S", b"x")
        await settle(one)

    (frame,) = record(talk, names=(None, "other")).only("PUB")
    assert frame.client.removeprefix("client ").isdigit()


def test_a_client_that_connects_inside_the_block_is_recorded() -> None:
    async def run() -> Wire:
        with NatsServer() as server:
            with trace(server) as wire:
                client = await nats.connect(server.url, name="late")
                await client.publish("S", b"x")
                await settle(client)
                await client.close()
            return wire

    (frame,) = asyncio.run(run()).only("PUB")
    assert (frame.client, frame.payload) == ("late", b"x")


def test_with_accounts_a_payload_cannot_pretend_to_be_a_frame() -> None:
    shop = Account("SHOP", users=[User("client")])
    payload = b'x" - <<- [PUB evil 3]'

    async def run() -> Wire:
        with NatsServer(config=Config(accounts=[shop])) as server:
            client = await nats.connect(server.url, name="client", **shop.users[0].login)
            with trace(server) as wire:
                await client.publish("S", payload)
                await settle(client)
            await client.close()
            return wire

    (frame,) = asyncio.run(run()).only("PUB")
    assert (frame.client, frame.subject, frame.payload) == ("client", "S", payload)


def test_lines_that_break_the_protocol_are_passed_over() -> None:
    head = '[1] 2026/01/01 00:00:00.000001 [TRC] 127.0.0.1:1 - cid:5 - "v1:c:me" - <<- '
    log = f'{head}MSG_PAYLOAD: ["from before"]\n{head}[HPUB a b]\n{head}[PUB S 1]\n{head}MSG_PAYLOAD: ["x"]\n'
    (frame,) = parse(parse_log(log))
    assert (frame.op, frame.payload) == ("PUB", b"x")


def test_frames_are_in_the_order_of_their_stamps() -> None:
    """A line may be written after one with a later stamp; equal stamps stay as they were written."""

    def line(stamp: int, cid: int, text: str) -> str:
        head = f"[1] 2026/01/01 00:00:00.00000{stamp} [TRC] 127.0.0.1:1 - cid:{cid} - "
        return f'{head}"v1:c:client-{cid}" - {text}\n'

    log = (
        line(4, 1, "<<- [PUB LATE 1]")
        + line(4, 1, '<<- MSG_PAYLOAD: ["x"]')
        + line(2, 2, "<<- [PUB EARLY 1]")
        + line(3, 2, '<<- MSG_PAYLOAD: ["y"]')
        + line(4, 3, "->> [MSG EARLY 1 1]")
        + line(5, 3, '->> MSG_PAYLOAD: ["y"]')
    )
    frames = parse(parse_log(log))
    assert [(frame.op, frame.subject, frame.payload) for frame in frames] == [
        ("PUB", "EARLY", b"y"),
        ("PUB", "LATE", b"x"),
        ("MSG", "EARLY", b"y"),
    ]
    assert frames[0].time == 0.0
    assert [round(frame.time * 1e6) for frame in frames] == [0, 2, 2]


def test_an_answer_stands_after_its_question_however_much_goes_on() -> None:
    async def talk(one: Client, two: Client) -> None:
        async def answer(msg: nats.aio.msg.Msg) -> None:
            await msg.respond(b"rain")

        for client in one, two:
            await client.subscribe("WEATHER", queue="grp", cb=answer)
            await settle(client)
        await asyncio.gather(*(each.request("WEATHER", b"?", timeout=5) for each in (one, two) * 100))

    wire = record(talk, names=("one", "two"))
    assert [frame.time for frame in wire.frames] == sorted(frame.time for frame in wire.frames)
    steps: dict[str, list[tuple[str, bytes]]] = {}
    for frame in wire.only("PUB", "MSG"):
        steps.setdefault(frame.reply or frame.subject, []).append((frame.op, frame.payload))
    assert len(steps) == 200
    assert set(map(tuple, steps.values())) == {
        (("PUB", b"?"), ("MSG", b"?"), ("PUB", b"rain"), ("MSG", b"rain"))
    }


@settings(max_examples=3, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=20, max_size=20))
def test_any_payload_is_read_back_as_it_was(payloads: list[bytes]) -> None:
    payloads = [*payloads, b'"] [quoted]\\', "é€😀\n\x00".encode(), b"\xff\xc3", b"%s \\x41 \\n"]

    async def talk(one: Client, _: Client) -> None:
        for payload in payloads:
            await one.publish("S", payload)
        await settle(one)

    wire = record(talk, names=("one", "two"))
    assert [frame.payload for frame in wire.only("PUB")] == payloads


def test_tracing_is_on_for_the_block_only() -> None:
    async def run() -> tuple[bool, bool, bool]:
        with NatsServer() as server:
            before = server.tracing
            with trace(server):
                during = server.tracing
            client = await nats.connect(server.url)
            await client.publish("S", b"after")
            await settle(client)
            await client.close()
            assert not any("[PUB S" in line.text for line in server.log())
            return before, during, server.tracing

    assert asyncio.run(run()) == (False, True, False)


def test_tracing_ends_with_an_exception_too() -> None:
    with NatsServer() as server:
        with pytest.raises(ZeroDivisionError), trace(server):
            _ = 1 / 0
        assert not server.tracing


def test_a_server_that_traces_anyway_goes_on_tracing() -> None:
    with NatsServer(trace=True) as server:
        with trace(server):
            pass
        assert server.tracing


def test_subscriptions_from_before_the_block_are_known() -> None:
    async def run() -> Wire:
        with NatsServer() as server:
            client = await nats.connect(server.url, name="early")
            await client.subscribe("S", queue="grp")
            await settle(client)
            with trace(server) as wire:
                pass
            await client.close()
            return wire

    assert ("S", "grp") in asyncio.run(run()).subscriptions.values()


def test_lines_that_are_no_trace_are_passed_over() -> None:
    assert parse(parse_log("nonsense\n[1] 2026/01/01 00:00:00.000001 [INF] Server is ready\n")) == ()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("plain", b"plain"),
        (r"a\nb\tc", b"a\nb\tc"),
        (r"\"\\", b'"\\'),
        (r"\x00\xff", b"\x00\xff"),
        (r"\u200b", "\u200b".encode()),
        ("é", "é".encode()),
    ],
)
def test_gos_quoting_is_undone(written: str, meant: bytes) -> None:
    assert unquote(written) == meant
