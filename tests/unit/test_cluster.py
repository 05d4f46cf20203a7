import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats
import psutil
import pytest

from support import cluster as module
from support.binary import ServerError
from support.cluster import NatsCluster, Supercluster, free_ports
from support.config import Config
from support.server import NatsServer, PortTakenError

T = TypeVar("T")


async def settled(ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` gives once the member asked knows who leads the stream: before that, "no responders"."""
    for _ in range(50):
        try:
            return await ask()
        except (TimeoutError, nats.errors.Error):
            await asyncio.sleep(0.2)
    raise AssertionError("the stream has no leader")


async def settle(client: nats.aio.client.Client) -> None:
    await client.flush()
    await client.flush()


async def answers(asker: list[str], provider: list[str]) -> bytes:
    """The answer of a service that runs elsewhere."""
    service, client = await nats.connect(provider), await nats.connect(asker)
    try:

        async def answer(msg: nats.aio.msg.Msg) -> None:
            await msg.respond(b"yes")

        await service.subscribe("S", queue="q", cb=answer)
        await settle(service)
        for _ in range(50):  # the others learn of it over the routes
            try:
                return (await client.request("S", timeout=1)).data
            except (nats.errors.NoRespondersError, TimeoutError):
                await asyncio.sleep(0.05)
        raise AssertionError("the members do not know each other's subscriptions")
    finally:
        await service.close()
        await client.close()


def test_members_act_as_one() -> None:
    with NatsCluster(3) as cluster:
        assert list(cluster.servers) == ["n1", "n2", "n3"]
        assert asyncio.run(answers([cluster["n1"].url], [cluster["n3"].url])) == b"yes"


def test_all_members_listen_on_this_machine_only() -> None:
    with Supercluster({"east": 1, "west": 1}) as world:
        for server in world.servers.values():
            found = psutil.Process(server.pid).net_connections(kind="inet")
            assert {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_with_jetstream_it_is_ready_when_a_replicated_stream_can_be_made() -> None:
    async def run() -> int:
        client = await nats.connect(cluster.urls)
        try:
            stream = client.jetstream()
            await stream.add_stream(name="R3", subjects=["r3"], num_replicas=3)
            await settled(lambda: stream.publish("r3", b"kept", headers={"Nats-Msg-Id": "one"}))
            cluster.kill("n1")
            cluster.restart("n1")
            return (await settled(lambda: stream.stream_info("R3"))).state.messages
        finally:
            await client.close()

    with NatsCluster(3, jetstream=True) as cluster:
        assert asyncio.run(run()) == 1


def test_a_member_can_be_stopped_killed_and_restarted_by_name() -> None:
    with NatsCluster(2) as cluster:
        url = cluster["n2"].url
        for end in cluster.stop, cluster.kill:
            end("n2")
            assert repr(cluster) == "<NatsCluster n1 runs, n2 down>"
            cluster.restart("n2")
            assert cluster["n2"].url == url
        assert asyncio.run(answers([cluster["n1"].url], [url])) == b"yes"


def test_an_unknown_member_is_named_with_the_known_ones() -> None:
    with NatsCluster(2) as cluster, pytest.raises(ServerError, match="no member 'n9'; there are: n1, n2"):
        cluster.kill("n9")


def test_a_supercluster_answers_across_its_gateways() -> None:
    with Supercluster({"east": 2, "west": 1}) as world:
        assert list(world.servers) == ["east-1", "east-2", "west-1"]
        assert asyncio.run(answers(world.of("east"), world.of("west"))) == b"yes"
        assert asyncio.run(answers(world.of("west"), world.of("east"))) == b"yes"


def test_a_port_that_is_taken_meanwhile_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        found = [[taken, *free_ports(1)], free_ports(2)]
        monkeypatch.setattr(module, "free_ports", lambda _: found.pop(0))
        with NatsCluster(2) as cluster:
            assert len(cluster.urls) == 2
        monkeypatch.setattr(module, "free_ports", lambda count: [taken, *free_ports(count - 1)])
        with pytest.raises(PortTakenError, match=f"port {taken}"):
            NatsCluster(2).start()


def test_a_wrong_configuration_ends_all_members() -> None:
    with pytest.raises(ServerError, match="nonsense"):
        NatsCluster(2, config=Config(more={"nonsense": 1})).start()


@pytest.mark.parametrize("make", [lambda: NatsCluster(0), lambda: Supercluster({"east": 1})])
def test_too_few_members_are_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"at least|or more"):
        make()


def test_after_the_end_nothing_is_left() -> None:
    with NatsCluster(2) as cluster:
        members = list(cluster.servers.values())
        pids = [member.pid for member in members]
        assert all(isinstance(member, NatsServer) for member in members)
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)
    cluster.close()


def test_all_members_can_go_and_come_back_one_by_one() -> None:
    with NatsCluster(3, jetstream=True) as cluster:
        for name in cluster.servers:
            cluster.stop(name)
        for name in cluster.servers:
            cluster.restart(name)
        cluster.wait()


def test_without_a_majority_jetstream_is_not_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    with NatsCluster(3, jetstream=True) as cluster:
        cluster.kill("n1")
        cluster.kill("n2")
        with monkeypatch.context() as patch, pytest.raises(TimeoutError, match="be usable together"):
            patch.setattr("support.server.PATIENCE", 1.0)
            cluster.wait()


def test_a_cluster_of_one_is_a_server() -> None:
    with NatsCluster(1, jetstream=True) as cluster:
        assert asyncio.run(jetstream_is_on(cluster.urls))


async def jetstream_is_on(urls: list[str]) -> bool:
    client = await nats.connect(urls)
    try:
        return (await client.jetstream().account_info()).streams == 0
    finally:
        await client.close()


def test_a_member_that_does_not_start_ends_the_start_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    start = NatsServer.start

    def start_but_n2(server: NatsServer) -> NatsServer:
        if server.name == "n2":
            raise ServerError("n2 is broken")
        return start(server)

    monkeypatch.setattr(NatsServer, "start", start_but_n2)
    begin = time.monotonic()
    with pytest.raises(ServerError, match="n2 is broken"):
        NatsCluster(3, jetstream=True).start()
    assert time.monotonic() - begin < 9  # it does not wait for the two others


def test_an_unknown_cluster_is_named() -> None:
    with pytest.raises(ServerError, match="no cluster 'north'; there are: east, west"):
        Supercluster({"east": 1, "west": 1}).of("north")
