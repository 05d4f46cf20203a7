import asyncio
from pathlib import Path

import nats
import pytest
from nats.errors import NoRespondersError

from support.binary import ServerError
from support.config import (
    Account,
    Config,
    JetStream,
    Latency,
    Limits,
    Permissions,
    ServiceExport,
    ServiceImport,
    StreamExport,
    StreamImport,
    Tls,
    User,
)
from support.server import NatsServer


def test_what_was_not_said_is_not_written() -> None:
    assert str(Config()) == ""
    assert str(Config(max_payload=2048)) == "max_payload: 2048\n"


def test_passwords_are_made_at_run_time_and_not_shown() -> None:
    one, other = User("a"), User("a")
    assert one.password != other.password
    assert len(one.password) >= 32
    assert one.password not in repr(one)
    assert one.password not in repr(Config(accounts=[Account("A", users=[one])]))


def test_the_server_takes_every_word() -> None:
    config = Config(
        accounts=[
            Account(
                "A",
                users=[
                    User("a", permissions=Permissions(["p"], ["s"], ["dp"], ["ds"], allow_responses=True))
                ],
                exports=[
                    ServiceExport("svc", to=["B"], latency=Latency("lat", "headers")),
                    StreamExport("str", to=["B"]),
                ],
                jetstream=Limits(max_file=1_000_000, max_streams=2),
            ),
            Account(
                "B",
                users=[User("b")],
                imports=[
                    ServiceImport("A", "svc", to="mine", share=True),
                    StreamImport("A", "str", to="theirs"),
                ],
                jetstream=True,
            ),
        ],
        jetstream=JetStream(max_memory=1 << 20, max_file=1 << 24, sync_interval="always"),
        max_payload=4096,
        max_pending=1 << 20,
        ping_interval=30,
        mappings={"old": "new"},
        more={"max_connections": 100},
    )
    with NatsServer(jetstream=True, config=config) as server:
        varz = server.monitor.get("/varz")
        assert (varz["max_payload"], varz["max_pending"]) == (4096, 1 << 20)
        assert varz["max_connections"] == 100
        assert varz["ping_interval"] == 30 * 10**9
        assert varz["jetstream"]["config"]["max_storage"] == 1 << 24
        assert {"A", "B"} <= set(server.monitor.get("/accountz")["accounts"])


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Config(more={"nonsense": True}), 'unknown field "nonsense"'),
        (Config(accounts=[Account("A", imports=[ServiceImport("NONE", "s")])]), "NONE"),
        (Config(tls=Tls(Path("/no/certificate"), Path("/no/key"))), "/no/certificate"),
    ],
)
def test_a_wrong_one_is_refused_before_the_start(config: Config, reason: str) -> None:
    with pytest.raises(ServerError, match="refuses this configuration") as raised:
        NatsServer(config=config).start()
    assert reason in str(raised.value)


def test_permissions_and_accounts_hold() -> None:
    narrow = User("narrow", permissions=Permissions(publish=["allowed"], subscribe=["_INBOX.>"]))
    service = User("service", permissions=Permissions(subscribe=["allowed"], allow_responses=True))
    other = User("other")
    config = Config(accounts=[Account("A", users=[narrow, service]), Account("B", users=[other])])

    async def run() -> None:
        with NatsServer(config=config) as server:
            refused: list[Exception] = []

            async def note(error: Exception) -> None:
                refused.append(error)

            client = await nats.connect(server.url, error_cb=note, **narrow.login)
            provider = await nats.connect(server.url, **service.login)
            stranger = await nats.connect(server.url, **other.login)

            async def answer(msg: nats.aio.msg.Msg) -> None:
                await msg.respond(b"yes")

            await provider.subscribe("allowed", cb=answer)
            await provider.flush()
            await provider.flush()
            assert (await client.request("allowed", timeout=5)).data == b"yes"
            with pytest.raises(NoRespondersError):
                await stranger.request("allowed", timeout=5)
            await client.publish("forbidden")
            await client.flush()
            await client.flush()
            assert "permissions violation" in str(refused[0]).lower()
            for each in client, provider, stranger:
                await each.close()

    asyncio.run(run())


def test_names_in_any_language_arrive() -> None:
    config = Config(accounts=[Account("Zürich 1", users=[User('jürg "the" user')])])
    with NatsServer(config=config) as server:
        assert "Zürich 1" in server.monitor.get("/accountz")["accounts"]


@pytest.mark.parametrize(
    "wrong",
    [
        Config(users=[User("u", permissions=Permissions(deny_publish="secret"))]),
        Config(users=[User("u", permissions=Permissions(subscribe="a.>"))]),
        Config(accounts=[Account("A", exports=[ServiceExport("S", to="SHOP")])]),
        Config(accounts=[Account("A", exports=[StreamExport("S", to="SHOP")])]),
    ],
)
def test_one_subject_without_a_list_around_it_is_refused(wrong: Config) -> None:
    """Letter by letter, it would allow and forbid something else."""
    with pytest.raises(TypeError, match="a list is expected"):
        str(wrong)


def test_two_accounts_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two accounts are called A"):
        str(Config(accounts=[Account("A", users=[User("u")]), Account("A", users=[User("v")])]))
