"""The exercises of part 7: the JetStream API is just NATS."""

from __future__ import annotations

import asyncio
import inspect
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import nats
from nats.aio.client import Client

from ..binary import ServerError
from ..config import Account, Config, Permissions, User
from ..server import NatsServer
from ..waiting import until
from .check import NotYet, check
from .room import Room

REPLY = 5.0  # seconds to wait for one reply
MANY = 520  # streams: more than two pages of STREAM.LIST, which holds 256

List = Callable[[Client, str, str], Awaitable[list[Any]]]
Differences = Callable[[dict[str, Any], dict[str, Any]], Mapping[str, object]]
Confine = Callable[[str], Permissions]


@check(deadline=30, jetstream=True)
async def lists_everything(room: Room, answer: List) -> str:
    """A function reads all pages of a list call, and raises RuntimeError for an error object."""
    nc = await room.connect("client")
    names = sorted(f"S{number}-{secrets.token_hex(2)}" for number in range(MANY))
    for begin in range(0, MANY, 50):
        await asyncio.gather(
            *(_api(nc, f"STREAM.CREATE.{name}", name=name, storage="memory") for name in names[begin:][:50])
        )
    for name in "C1", "C2":
        await _api(nc, f"CONSUMER.CREATE.{names[0]}", stream_name=names[0], config={"name": name})
    for call, key, right in (
        ("STREAM.LIST", "streams", names),
        ("STREAM.NAMES", "streams", names),
        (f"CONSUMER.NAMES.{names[0]}", "consumers", ["C1", "C2"]),
        (f"CONSUMER.NAMES.{names[1]}", "consumers", []),
    ):
        label = ".".join(call.split(".")[:2])
        found = await answer(nc, call, key)
        if not isinstance(found, list):
            raise NotYet(f"a list of what stands under {key!r} was expected, and you returned {found!r:.40}")
        seen = [each["config"]["name"] if isinstance(each, dict) else each for each in found]
        if len(set(seen)) < len(right):
            raise NotYet(
                f"{label} brought {len(set(seen))} of {len(right)}: ask again, with an offset, for the rest"
            )
        if len(seen) > len(right):
            raise NotYet(f"{label} brought some twice: the next page begins behind what you already have")
        if sorted(seen) != right:
            raise NotYet(f"{label} brought other names than the server has")
    try:
        await answer(nc, "CONSUMER.NAMES.NONE", "consumers")
    except RuntimeError as error:
        if "stream not found" not in str(error):
            raise NotYet("your RuntimeError must hold the description in the error object") from error
    except Exception as error:
        raise NotYet(
            f"an error object must become a RuntimeError, and yours a {type(error).__name__}"
        ) from error
    else:
        raise NotYet("the reply held an error object, and your function raised nothing")
    return f"{MANY} streams in three pages, two consumers, none, and an error raised for a missing stream"


@check(jetstream=True)
async def finds_differences(room: Room, answer: Differences) -> str:
    """A function finds what differs from a configuration of the server, nested too, and nothing else."""
    if inspect.iscoroutinefunction(answer):
        raise NotYet("a plain def will do here: both configurations are at hand")
    nc = await room.connect("client")
    wanted = {
        "name": "LOGS",
        "subjects": ["logs.>"],
        "max_age": 3600 * 10**9,
        "metadata": {"team": "web"},
        "consumer_limits": {"max_ack_pending": 500},
    }
    found = (await _api(nc, "STREAM.CREATE.LOGS", **wanted))["config"]
    for what, more, right in (
        ("the configuration that was just applied", {}, {}),
        ("defaults", {"max_msgs": -1, "retention": "limits"}, {}),
        (
            "what the server leaves out because it is empty",
            {"description": "", "no_ack": False, "metadata": {"team": "web", "owner": ""}},
            {},
        ),
        ("the age limit", {"max_age": 60 * 10**9}, {"max_age": (3600 * 10**9, 60 * 10**9)}),
        ("an age limit taken away", {"max_age": 0}, {"max_age": (3600 * 10**9, 0)}),
        ("a list", {"subjects": ["logs.>", "l"]}, {"subjects": (["logs.>"], ["logs.>", "l"])}),
        ("a switch", {"deny_delete": True}, {"deny_delete": (False, True)}),
        ("a nested field", {"metadata": {"team": "ops"}}, {"metadata.team": ("web", "ops")}),
        ("a new nested field", {"metadata": {"owner": "anna"}}, {"metadata.owner": (None, "anna")}),
        ("a nested field emptied", {"metadata": {"team": ""}}, {"metadata.team": ("web", "")}),
        (
            "a nested number",
            {"consumer_limits": {"max_ack_pending": 100}},
            {"consumer_limits.max_ack_pending": (500, 100)},
        ),
        (
            "a field two levels down",
            {"republish": {"dest": {"a": 1}}},
            {"republish.dest.a": (None, 1)},
        ),
    ):
        said = answer(wanted | more, found)
        if not isinstance(said, dict):
            raise NotYet(f"a dict was expected, and you returned a {type(said).__name__}")
        names, missing, extra = sorted(said), set(right) - set(said), set(said) - set(right)
        if extra and not right:
            raise NotYet(f"for {what} there is no difference, and you found one in {', '.join(names)}")
        if missing or extra:
            raise NotYet(
                f"for {what} {', '.join(right)} differs, and you found {', '.join(names) or 'nothing'}"
            )
        for name, values in said.items():
            if not isinstance(values, (tuple, list)) or tuple(values) != right[name]:
                raise NotYet(
                    f"for {what} the pair is {right[name]}, (found, wanted), and yours {values!r:.60}"
                )
    return "nine changes found, five of them nested, and none in defaults or in what the server added"


@check(deadline=30)
async def confines_a_producer(room: Room, answer: Confine) -> str:
    """A producer may store on its own host's subject, hear the PubAck, and do nothing else."""
    if inspect.iscoroutinefunction(answer):
        raise NotYet("a plain def will do here: permissions need no await")
    host, other = (f"{letter}{secrets.token_hex(2)}" for letter in "wx")
    permissions = answer(host)
    if not isinstance(permissions, Permissions):
        raise NotYet(f"return Permissions; you returned a {type(permissions).__name__}")
    if permissions.allow_responses:
        raise NotYet("it answers no requests: leave allow_responses out")
    operator, producer = User("operator"), User("producer", permissions=permissions)
    config = Config(accounts=[Account("LOGS", users=[operator, producer], jetstream=True)])
    try:
        with NatsServer(jetstream=True, config=config) as server:
            await _try_producer(server, operator, producer, host, other)
    except ServerError as error:
        raise NotYet(str(error).partition("\n")[0]) from None
    return "its own lines stored and acknowledged; all other subjects, calls and inboxes tried, refused"


async def _try_producer(server: NatsServer, operator: User, producer: User, host: str, other: str) -> None:
    said: list[str] = []

    async def note(error: Exception) -> None:
        said.append(str(error))

    async def connect(user: User, prefix: str) -> Client:
        return await nats.connect(
            server.url,
            name=user.name,
            inbox_prefix=prefix,
            error_cb=note,
            allow_reconnect=False,
            **user.login,
        )

    async def refused(client: Client) -> bool:
        """Whether the server refused something since the last look: it says so before its PONG."""
        await client.flush()
        await client.flush()
        found = bool(said)
        said.clear()
        return found

    boss = await connect(operator, "_INBOX.operator")
    client = await connect(producer, f"_INBOX.{host}")
    try:
        await _api(boss, "STREAM.CREATE.LOGS", name="LOGS", subjects=["logs.>"])
        request = asyncio.create_task(client.request(f"logs.p1.{host}", b"a line", timeout=REPLY))
        await until(lambda: request.done() or said, timeout=2 * REPLY)
        request.cancel()
        await asyncio.wait([request])
        if any("publish" in text for text in said):
            raise NotYet("it cannot publish on the subject of its own host, logs.p1.<host>")
        if said:
            raise NotYet("its line is stored, and it cannot hear the PubAck: that comes to _INBOX.<host>.…")
        request.result()
        for subject, what in {
            f"logs.p1.{other}": "it can publish as another host",
            f"logs.p2.{host}": "it can publish in another partition",
            f"logs.p1.{host}.more": "it can publish below its own subject, which is another one",
            "$JS.API.INFO": "it can ask about JetStream: $JS.API.INFO",
            "$JS.API.STREAM.NAMES": "it can list the streams: $JS.API.STREAM.NAMES",
            "$JS.API.STREAM.INFO.LOGS": "it can look at the stream: $JS.API.STREAM.INFO.LOGS",
            "$JS.API.STREAM.MSG.GET.LOGS": "it can read every line: $JS.API.STREAM.MSG.GET.LOGS",
            "$JS.API.CONSUMER.CREATE.LOGS": "it can have lines delivered: $JS.API.CONSUMER.CREATE.LOGS",
            "$JS.API.CONSUMER.MSG.NEXT.LOGS.C": "it can fetch lines: $JS.API.CONSUMER.MSG.NEXT.…",
            "$JS.ACK.LOGS.C.1.1.1.1.0": "it can acknowledge lines for a reader: $JS.ACK.…",
            "$JS.API.STREAM.PURGE.LOGS": "it can empty the stream: $JS.API.STREAM.PURGE.LOGS",
            "$JS.API.STREAM.DELETE.LOGS": "it can delete the stream: $JS.API.STREAM.DELETE.LOGS",
            "_INBOX.operator.1": "it can send forged replies to the operator's inbox",
            f"_INBOX.{host}.1": "it can send replies to itself, which it does not need",
            "ELSE.where": "it can publish on any subject that is not denied",
        }.items():
            await client.publish(subject, b"")
            if not await refused(client):
                raise NotYet(what)
        for subject, what in {
            "logs.>": "it can listen to the lines of all hosts: an empty list of subjects allows all",
            "_INBOX.operator.>": "it can listen to the operator's replies: allow its own inboxes only",
            "_INBOX.operator.*.*": "it can listen to the operator's replies: allow its own inboxes only",
            "_INBOX.>": "it can listen to everybody's replies: allow its own inboxes only",
            "$JS.EVENT.>": "it can listen to what JetStream reports",
            "$JS.EVENT.ADVISORY.API": "it can listen to what JetStream reports",
            f"logs.p1.{host}": "it can listen to its own lines, which it does not need",
            f"logs.p1.{other}": "it can listen to another host",
            f"logs.p2.{other}": "it can listen to another partition",
            "ELSE.where": "it can listen to any subject that is not denied",
        }.items():
            listening = await client.subscribe(subject)
            if not await refused(client):
                raise NotYet(what)
            await listening.unsubscribe()
    finally:
        await client.close()
        await boss.close()


async def _api(nc: Client, call: str, **body: Any) -> dict[str, Any]:
    """The reply to one call, made by the check itself, which must succeed."""
    reply = await nc.request(f"$JS.API.{call}", json.dumps(body).encode(), timeout=REPLY)
    answer: dict[str, Any] = json.loads(reply.data)
    if "error" in answer:
        raise RuntimeError(f"{call}: {answer['error']['description']}")
    return answer
