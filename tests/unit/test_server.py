import os
import shutil
import signal
import socket
import stat
import statistics
import time
from pathlib import Path

import psutil
import pytest

from support import binary as binary_module
from support import server as module
from support.binary import ServerError, check_version, find_server
from support.child import Child
from support.server import NatsServer, PortTakenError


def can_connect(server: NatsServer) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=1) as client:
            client.sendall(b'CONNECT {"verbose": false}\r\nPING\r\n')
            lines = client.makefile("rb")
            return lines.readline().startswith(b"INFO") and lines.readline() == b"PONG\r\n"
    except OSError:
        return False


def listening(pid: int | None) -> set[str]:
    found = psutil.Process(pid).net_connections(kind="inet")
    return {each.laddr.ip for each in found if each.status == psutil.CONN_LISTEN}


def fake_server(path: Path, answer: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_when_start_returns_a_client_can_connect() -> None:
    with NatsServer() as server:
        assert can_connect(server)


def test_it_listens_on_this_machine_only() -> None:
    with NatsServer(jetstream=True) as server:
        assert listening(server.pid) == {"127.0.0.1"}


def test_the_port_is_the_servers_own_choice_and_two_servers_do_not_meet() -> None:
    with NatsServer() as one, NatsServer() as other:
        assert one.port != other.port
        assert one.url == f"nats://127.0.0.1:{one.port}"


def test_a_port_that_is_asked_for_is_used() -> None:
    with NatsServer() as first:
        port = first.port
    with NatsServer(port=port) as server:
        assert server.port == port
        assert can_connect(server)


def test_a_taken_port_is_named_with_what_to_do() -> None:
    with NatsServer() as first, pytest.raises(PortTakenError) as raised:
        NatsServer(port=first.port).start()
    message = str(raised.value)
    assert f"port {first.port} on 127.0.0.1 is taken" in message
    assert "leave port out" in message
    assert "address already in use" in message, "the last lines of the log belong to it"


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("nonsense: true", 'unknown field "nonsense"'),
        ("accounts {", "Parse error"),
        ("max_payload: many", "int64"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_reason(config: str, reason: str) -> None:
    with pytest.raises(ServerError, match="nats-server refuses this configuration") as raised:
        NatsServer(config=config).start()
    assert reason in str(raised.value)


def test_a_configuration_may_be_a_file_that_includes_others(tmp_path: Path) -> None:
    (tmp_path / "limits.conf").write_text("max_payload: 2048\n")
    main = tmp_path / "a server.conf"
    main.write_text("include 'limits.conf'\n")
    with NatsServer(config=main) as server:
        assert server.monitor.varz().max_payload == 2048


def test_a_configuration_that_listens_on_every_network_is_refused() -> None:
    with pytest.raises(ServerError, match=r"open to the network.*127\.0\.0\.1:-1"):
        NatsServer(config="leafnodes { port: -1 }").start()
    with NatsServer(config='leafnodes { listen: "127.0.0.1:-1" }') as server:
        assert can_connect(server)


def test_a_missing_binary_is_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binary_module.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("NATS_SERVER", raising=False)
    with pytest.raises(ServerError, match=r'not found .* run "make setup", or set NATS_SERVER'):
        NatsServer().start()
    monkeypatch.setenv("NATS_SERVER", str(tmp_path / "none"))
    with pytest.raises(ServerError, match=r"NATS_SERVER names .* not a file"):
        NatsServer().start()


def test_the_environments_own_binary_wins_over_an_old_one_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = fake_server(tmp_path / "nats-server", "nats-server: v2.9.10")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert shutil.which("nats-server") == str(old)
    assert find_server() != old
    with NatsServer() as server:
        assert server.version == server.monitor.varz().version


def test_the_order_is_environment_then_nats_server_then_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path = fake_server(tmp_path / "path" / "nats-server", "")
    named = fake_server(tmp_path / "named", "")
    own = fake_server(tmp_path / "own" / "nats-server", "")
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.delenv("NATS_SERVER", raising=False)
    monkeypatch.setattr(binary_module.sysconfig, "get_path", lambda _: str(own.parent))
    assert find_server() == own
    own.unlink()
    assert find_server() == on_path
    monkeypatch.setenv("NATS_SERVER", str(named))
    assert find_server() == named


@pytest.mark.parametrize("version", ["2.9.10", "2.11.11"])
def test_an_old_server_is_refused_and_told_why(tmp_path: Path, version: str) -> None:
    binary = fake_server(tmp_path / "nats-server", f"nats-server: v{version}")
    with pytest.raises(ServerError, match=f"{version}, which is too old.* silently ignores configuration"):
        check_version(binary)


def test_what_is_no_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="does not say that it is a nats-server"):
        check_version(fake_server(tmp_path / "nats-server", "hello"))


def test_a_restart_keeps_port_and_process_identity_changes() -> None:
    with NatsServer() as server:
        url, pid = server.url, server.pid
        server.restart()
        assert server.url == url
        assert server.pid != pid
        assert can_connect(server)


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_stopped_or_killed_it_can_start_again_with_its_log(ending: str) -> None:
    with NatsServer() as server:
        getattr(server, ending)()
        assert server.pid is None
        assert not can_connect(server)
        server.start()
        assert can_connect(server)
        assert sum(line.text == "Server is ready" for line in server.log()) == 2


def test_a_private_store_survives_restarts_and_is_removed_at_the_end() -> None:
    import asyncio

    import nats

    async def store(count: int) -> int:
        client = await nats.connect(server.url)
        try:
            stream = client.jetstream()
            await stream.add_stream(name="KEPT", subjects=["KEPT"])
            for _ in range(count):
                await stream.publish("KEPT", b"x")
            return (await stream.stream_info("KEPT")).state.messages
        finally:
            await client.close()

    with NatsServer(jetstream=True) as server:
        folder = server.log_file.parent
        assert asyncio.run(store(2)) == 2
        server.kill()
        server.start()
        assert asyncio.run(store(1)) == 3
        server.restart()
        assert asyncio.run(store(0)) == 3
    assert not folder.exists()


def test_a_restart_that_fails_keeps_the_store() -> None:
    server = NatsServer(jetstream=True).start()
    try:
        folder = server.log_file.parent
        server.stop()
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", server.port))
            other.listen()
            with pytest.raises(PortTakenError):
                server.start()
        assert (folder / "store").is_dir()
        server.start()
        assert can_connect(server)
    finally:
        server.close()


def test_a_named_store_is_kept(tmp_path: Path) -> None:
    with NatsServer(jetstream=True, store_dir=tmp_path / "my store"):
        pass
    assert (tmp_path / "my store" / "jetstream").is_dir()


def test_two_servers_on_one_store_are_refused(tmp_path: Path) -> None:
    refused = pytest.raises(ServerError, match=r"in use by another server.*store_dir of its own")
    with NatsServer(jetstream=True, store_dir=tmp_path), refused:
        NatsServer(jetstream=True, store_dir=tmp_path).start()
    with NatsServer(jetstream=True, store_dir=tmp_path) as server:
        assert can_connect(server), "once the first has ended, the store is free again"


def test_a_killed_server_frees_its_store(tmp_path: Path) -> None:
    with NatsServer(jetstream=True, store_dir=tmp_path) as first:
        first.kill()
        with NatsServer(jetstream=True, store_dir=tmp_path) as second:
            assert can_connect(second)


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ServerError, match=r"cannot be made.*may write to"):
        NatsServer(jetstream=True, store_dir=tmp_path / "file" / "store").start()


def test_a_store_without_jetstream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jetstream=True"):
        NatsServer(store_dir=tmp_path)


def test_debug_and_trace_go_into_the_log_and_can_be_switched() -> None:
    with NatsServer(name="teacher") as server:
        assert {line.level for line in server.log()} == {"INF"}
        server.reload(debug=True, trace=True)
        assert can_connect(server)
        assert {"DBG", "TRC"} <= {line.level for line in server.log()}
        server.reload(debug=False, trace=False)
        before = len(server.log())
        assert can_connect(server)
        assert {line.level for line in server.log()[before:]} <= {"INF"}
        assert server.monitor.varz().server_name == "teacher"


def test_a_name_may_be_in_any_language() -> None:
    with NatsServer(name="münchen-✓") as server:
        assert server.monitor.varz().server_name == "münchen-✓"


def test_jetstream_from_the_configuration_has_a_private_store_too() -> None:
    with NatsServer(config="jetstream {}") as server:
        store = server.monitor.get("/jsz")["config"]["store_dir"]
        assert Path(store).is_relative_to(server.log_file.parent)


def test_a_message_cannot_pretend_that_a_reload_failed() -> None:
    with NatsServer(trace=True) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        said = b"[ERR] Failed to reload server configuration: boo"
        client.sendall(b'CONNECT {"verbose": false}\r\nPUB S %d\r\n%s\r\n' % (len(said), said))
        server.reload(debug=True)
        assert server.tracing


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="needs Unix signals")
def test_a_lame_duck_can_still_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with NatsServer() as server:
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address) as one, socket.create_connection(address) as two:
            for client in one, two:
                client.sendall(b'CONNECT {"verbose": false}\r\nPING\r\n')
                client.recv(4096)
            folder = server.log_file.parent
            server.lame_duck()
            monkeypatch.setattr(module, "PATIENCE", 1.0)
            server.close()
    assert not folder.exists()


def test_a_taken_port_of_another_kind_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port} on 127.0.0.1"):
            NatsServer(config=f'leafnodes {{ listen: "127.0.0.1:{port}" }}').start()


def test_a_store_that_is_a_folder_with_a_strange_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / ".in-use").mkdir()
    with pytest.raises(ServerError, match=r"cannot lock .*\.in-use"):
        NatsServer(jetstream=True, store_dir=tmp_path).start()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR2"), reason="needs Unix signals")
def test_a_lame_duck_says_so() -> None:
    with NatsServer() as server:
        server.lame_duck()
        deadline = time.monotonic() + 5
        while not any("lame duck" in line.text.lower() for line in server.log()):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_its_words_about_itself_are_readable() -> None:
    server = NatsServer(jetstream=True, name="teacher")
    assert repr(server) == f"<nats-server {server.version} teacher with JetStream not running>"
    with server:
        assert f"at {server.url}, pid {server.pid}>" in repr(server)
        html = server._repr_html_()
        assert "● running" in html
        assert server.url in html
    assert "○ not running" in server._repr_html_()


def test_what_needs_a_running_server_says_so() -> None:
    server = NatsServer()
    for use in (lambda: server.url, lambda: server.monitor, server.log, server.reload, server.lame_duck):
        with pytest.raises(ServerError, match=r"call start\(\) first"):
            use()
    server.stop()
    server.close()


def test_the_median_start_takes_less_than_60_ms() -> None:
    def start() -> float:
        begin = time.perf_counter()
        with NatsServer():
            return time.perf_counter() - begin

    start()
    best = min(statistics.median(start() for _ in range(9)) for _ in range(3))
    if best >= 0.060 and psutil.getloadavg()[0] > (psutil.cpu_count() or 1):
        pytest.skip(f"{best * 1000:.0f} ms, but the machine has other work")
    assert best < 0.060


def test_a_garbage_collected_server_is_ended(eventually) -> None:  # type: ignore[no-untyped-def]
    server = NatsServer().start()
    pid = server.pid
    del server
    eventually(lambda: not psutil.pid_exists(pid))


@pytest.mark.parametrize("port", [70000, -5, "4222"])
def test_what_is_no_port_is_refused_at_once(port: object) -> None:
    with pytest.raises(ValueError, match="is no port: give a number from 1 to 65535"):
        NatsServer(port=port)


def test_a_server_with_a_configuration_that_dies_while_starting_is_said_to_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def die_first(child: Child) -> None:
        child.kill()
        child.wait()
        refuse(child)

    refuse = module._refuse_other_addresses
    monkeypatch.setattr(module, "_refuse_other_addresses", die_first)
    with pytest.raises(ServerError, match="it ended before it was ready"):
        NatsServer(config="max_payload: 1000").start()
