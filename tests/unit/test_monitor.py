import asyncio

import nats
import pytest

from support.monitor import Monitor
from support.server import NatsServer


def test_the_views_tell_what_really_is() -> None:
    async def run() -> None:
        with NatsServer(jetstream=True) as server:
            client = await nats.connect(server.url, name="worker")
            await client.subscribe("plain")
            await client.subscribe("shared", queue="group")
            stream = client.jetstream()
            await stream.add_stream(name="S", subjects=["s"])
            await stream.publish("s", b"12345")

            varz, connz = server.monitor.varz(), server.monitor.connz()
            subsz, jsz = server.monitor.subsz(), server.monitor.jsz()
            assert (varz.port, varz.connections, varz.version) == (server.port, 1, server.version)
            assert varz.mem > 1_000_000
            (connection,) = connz.connections
            assert connection.label == connection.name == "worker"
            found = {(each.subject, each.queue) for each in connection.subscriptions}
            assert {("plain", None), ("shared", "group")} <= found
            assert subsz.num_subscriptions == varz.subscriptions
            assert (jsz.streams, jsz.messages) == (1, 1)
            await client.close()

    asyncio.run(run())


def test_a_proxy_for_the_outside_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with NatsServer() as server:
        assert server.monitor.varz().connections == 0


def test_a_server_that_is_not_there_is_an_os_error() -> None:
    with NatsServer() as server:
        monitor = server.monitor
        server.stop()
        with pytest.raises(OSError):
            monitor.varz()


def test_an_unknown_endpoint_is_an_os_error() -> None:
    with NatsServer() as server, pytest.raises(OSError, match="404"):
        Monitor(server.monitor.url).get("/nonsense")


def test_jetstream_that_is_off_counts_nothing() -> None:
    with NatsServer() as server:
        assert server.monitor.jsz().streams == 0
