import asyncio
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from support import NatsServer, Processes, log_lines

HOST = "web1.example.net"


def test_commands_share_settings_and_end_with_the_block(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    log, out = tmp_path / "app.log", tmp_path / "out"
    log.write_bytes(b"".join(log_lines(HOST, 10)))
    with (
        NatsServer() as server,
        Processes(NATS_URL=server.url, SHIPPER_SUBJECT="logs", SHIPPER_OUTPUT="log-%Y") as shipper,
    ):
        consumer = shipper.start("consumer", SHIPPER_DIRECTORY=out)
        pid = consumer.pid
        assert pid
        eventually(lambda: any(each.subscriptions for each in server.monitor.connz().connections))
        said = asyncio.run(
            shipper.run(
                "producer", "--once", HOSTNAME=HOST, SHIPPER_FILE=log, SHIPPER_STATE=tmp_path / "state"
            )
        )
        assert "shipped 10 lines" in said
        eventually(lambda: any(path.read_bytes() == log.read_bytes() for path in out.glob("*/log-*")))
        assert "at most once" in consumer.output()
        assert repr(shipper) == "<1 processes>"
    assert not psutil.pid_exists(pid)


def test_a_command_that_fails_says_why() -> None:
    with (
        Processes(NATS_URL="nats://127.0.0.1:1") as shipper,
        pytest.raises(RuntimeError, match=r"setup failed \(2\): SHIPPER_SUBJECT is missing"),
    ):
        asyncio.run(shipper.run("setup"))


def test_a_command_that_does_not_end_is_ended() -> None:
    with Processes(NATS_URL="nats://127.0.0.1:1", SHIPPER_SUBJECT="logs", SHIPPER_STREAM="LOGS") as shipper:
        with pytest.raises(TimeoutError):
            asyncio.run(shipper.run("setup", timeout=0.5))
        assert repr(shipper) == "<0 processes>"


def test_the_shippers_variables_of_this_process_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_CREDS", "/elsewhere")
    monkeypatch.setenv("SHIPPER_STREAM", "OTHER")
    found = Processes(SHIPPER_STREAM="LOGS", SHIPPER_SUBJECT="logs").environment(SHIPPER_SUBJECT=None)
    assert found == {"NATS_CREDS": "", "SHIPPER_STREAM": "LOGS", "SHIPPER_SUBJECT": ""}


def test_all_are_ended_although_one_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    shipper = Processes(NATS_URL="nats://127.0.0.1:1", SHIPPER_SUBJECT="logs", SHIPPER_STREAM="LOGS")
    first, last = shipper.start("setup"), shipper.start("setup")
    pid, close = first.pid, last.close

    def fail() -> None:
        close()
        raise OSError("cannot be ended")

    monkeypatch.setattr(last, "close", fail)
    with pytest.raises(OSError, match="cannot be ended"):
        shipper.close()
    assert pid
    assert not psutil.pid_exists(pid)
    shipper.close()
