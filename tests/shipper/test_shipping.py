"""From file to file, by real processes over a real server."""

import asyncio
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import psutil
import pytest
from nats.aio.client import Client
from nats.js.api import ConsumerConfig
from world import SHIPPER, World

from support import NatsCluster, NatsServer
from support.config import Account, Config, Permissions, User

WEB1 = "web1.example.net"
Wait = Callable[..., None]

DEAF = """
import asyncio, types
from support.shipper import feeds, producer

def deaf(wait):
    async def waiting(*arguments):
        try:
            return await wait(*arguments)
        except asyncio.CancelledError:
            return []
    return waiting

feeds._Inbox.take = deaf(feeds._Inbox.take)
producer.asyncio = types.SimpleNamespace(**vars(asyncio) | {"sleep": deaf(asyncio.sleep)})
"""


def ask(world: World, question: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    """Ask the server of a world something, on a connection of our own."""

    async def main() -> Any:
        nc = await nats.connect(world.server.url)
        try:
            return await question(nc)
        finally:
            await nc.close()

    return asyncio.run(main())


def publish(world: World, *messages: tuple[str, bytes]) -> None:
    async def go(nc: Client) -> None:
        for subject, data in messages:
            await nc.publish(subject, data)
        await nc.flush()
        await nc.flush()

    ask(world, go)


def test_every_byte_travels_as_it_is(world: World) -> None:
    data = (
        b"one\r\n\n\0\xff\xfe\n" + bytes(range(256)) + b"\n" + b"x" * 3_000_000 + b"\nlast, without newline"
    )
    world.write(WEB1, data)
    world.ship(WEB1)
    assert world.stored(WEB1) == data
    today = datetime.now(UTC).strftime("%Y%m%d")
    assert [path.name for path in (world.out / WEB1).iterdir()] == [f"log-{today}"]


def test_a_line_a_message(world: World) -> None:
    world.write(WEB1, b"one\ntwo\nthree\n")
    assert "3 lines, 14 bytes in 3 messages" in world.done("producer", "--once", host=WEB1, SHIPPER_BATCH="0")
    world.ship()
    assert world.stored(WEB1) == b"one\ntwo\nthree\n"


def test_what_was_shipped_is_not_shipped_again(world: World) -> None:
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    world.write(WEB1, b"two\n")
    assert "1 lines, 4 bytes" in world.done("producer", "--once", host=WEB1)
    shutil.rmtree(world.folder / "state" / WEB1)
    world.write(WEB1, b"three\n")
    assert "1 lines, 6 bytes" in world.done("producer", "--once", host=WEB1), "the stream knows it, too"
    world.ship()
    assert world.stored(WEB1) == b"one\ntwo\nthree\n"


def test_producer_and_consumer_follow_for_ever_and_end_in_good_order(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    producer, consumer = world.start("producer", host=WEB1), world.start("consumer")
    eventually(lambda: world.stored(WEB1) == b"one\n")
    world.write(WEB1, b"two\n")
    eventually(lambda: world.stored(WEB1) == b"one\ntwo\n")
    for child, number, said in (
        (producer, signal.SIGTERM, "shipped 2 lines, 8 bytes in 2 messages"),
        (consumer, signal.SIGINT, "stored 2 lines, 8 bytes in 2 messages"),
    ):
        child.signal(number)
        child.wait(5)
        assert said in child.output()
        assert "Traceback" not in child.output()
    (lag,) = json.loads(world.done("report", "--json"))
    assert (lag["messages"], lag["pending"], lag["unacked"]) == (2, 0, 0)


def test_an_exit_is_0_when_it_was_asked_for(world: World) -> None:
    process = subprocess.Popen(
        [*SHIPPER, "consumer"],
        env={**os.environ, **world.environment(None)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_for_reader(world)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def wait_for_reader(world: World) -> None:
    async def waiting(nc: Client) -> None:
        async with asyncio.timeout(10):
            while not (await nc.jetstream().consumer_info("LOGS", "PULL_0")).num_waiting:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    ask(world, waiting)


def test_partitions_are_read_by_whoever_is_told_to(world: World) -> None:
    world.settings |= {"SHIPPER_PARTITIONS": "3"}
    world.done("setup")
    hosts = [f"web{number}.example.net" for number in range(8)]
    for host in hosts:
        world.write(host, host.encode() + b"\n")
        world.done("producer", "--once", host=host)
    first = world.folder / "first"
    world.done("consumer", "--until-idle", "0.3", SHIPPER_READ_PARTITIONS="0-1", SHIPPER_DIRECTORY=str(first))
    world.done("consumer", "--until-idle", "0.3", SHIPPER_READ_PARTITIONS="2")
    there = {path.name for path in first.iterdir()} - {".shipper"}
    here = {path.name for path in world.out.iterdir()} - {".shipper"}
    assert there and here
    assert there | here == set(hosts)
    assert not there & here


@pytest.mark.parametrize("target", [None, "out.logs"])
def test_a_stream_for_each_partition(world: World, target: str | None) -> None:
    world.settings |= {"SHIPPER_PARTITIONS": "2", "SHIPPER_STREAM": "PER", "SHIPPER_SUBJECT": "per"}
    world.settings |= {"SHIPPER_READ_PARTITIONS": "0-1"}
    if target:
        world.settings["SHIPPER_STREAM_TARGET"] = target
    plan = world.done("setup", "--per-partition")
    assert "+ stream PER_0: per.p0.>" in plan
    assert "+ stream PER_1: per.p1.>" in plan
    hosts = [f"web{number}" for number in range(4)]
    for host in hosts:
        world.write(host, host.encode() + b"\n")
    world.ship(*hosts)
    assert [world.stored(host) for host in hosts] == [host.encode() + b"\n" for host in hosts]
    assert {lag["stream"] for lag in json.loads(world.done("report", "--json"))} == {"PER_0", "PER_1"}


def test_a_host_that_moves_to_another_partition_waits_for_what_is_in_the_old_one(
    world: World, eventually: Wait
) -> None:
    world.settings |= {"SHIPPER_READ_PARTITIONS": "0-4", "SHIPPER_PARTITIONS": "5"}
    world.done("setup")
    world.write("h15", b"one\n")
    world.done("producer", "--once", host="h15")
    world.write("h15", b"two\n")
    moved = world.start("producer", host="h15", SHIPPER_PARTITIONS="3")
    eventually(lambda: "this host has moved from logs.p4.h15 to logs.p0.h15" in moved.output())
    assert world.server.monitor.jsz().messages == 1
    world.start("consumer")
    eventually(lambda: world.stored("h15") == b"one\ntwo\n", timeout=20)


def test_pushed_messages_survive_a_killed_consumer(world: World, eventually: Wait) -> None:
    world.settings["SHIPPER_STREAM_TARGET"] = "out.logs"
    world.done("setup")
    producer = world.start("producer", host=WEB1, SHIPPER_BATCH="0")
    written = bytearray()
    for round_ in range(3):
        consumer = world.start("consumer")
        for number in range(300):
            line = b"%d %d\n" % (round_, number)
            written += line
            world.write(WEB1, line)
        before = (round_ * 300 + 50) * 5
        eventually(lambda before=before: len(world.stored(WEB1)) > before, timeout=20)
        consumer.kill()
        consumer.wait()
    producer.terminate()
    producer.wait()
    world.ship(WEB1)
    assert world.stored(WEB1) == written


def test_without_a_stream_it_says_so_and_ships_at_most_once(world: World, eventually: Wait) -> None:
    world.settings["SHIPPER_STREAM"] = ""
    world.settings["SHIPPER_SUBJECT"] = "live"
    world.write(WEB1, b"before\n")
    assert "at most once" in world.done("producer", "--once", host=WEB1)
    consumer = world.start("consumer", SHIPPER_STREAM="")
    eventually(lambda: world.server.monitor.connz().num_connections == 1)
    eventually(lambda: any(c.subscriptions for c in world.server.monitor.connz().connections))
    world.write(WEB1, b"after\n")
    world.done("producer", "--once", host=WEB1)
    eventually(lambda: world.stored(WEB1) == b"after\n")
    assert f"{WEB1}: bytes 0 to 7 of" in consumer.output(), "what is missing is said"


def test_a_second_producer_for_a_host_is_refused(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    first = world.start("producer", host=WEB1)
    eventually(lambda: world.server.monitor.jsz().messages == 1)
    result = world.run("producer", "--once", host=WEB1)
    assert result.returncode == 1
    assert f"another producer ships {world.log(WEB1)} for {WEB1} already" in result.stderr
    result = world.run("producer", "--once", host=WEB1, SHIPPER_STATE=str(world.folder / "elsewhere"))
    assert result.returncode == 1
    assert f"another producer ships for {WEB1} already" in result.stderr
    assert "HOSTNAME of its own" in result.stderr
    assert first.pid


def test_two_producers_that_do_not_hear_of_each_other_never_mix(world: World) -> None:
    """Each may publish on the host's subject, but not answer the other: then the stream decides."""
    world.settings["SHIPPER_STREAM"] = "LOGS"
    other = world.folder / "other.log"
    world.log(WEB1).write_bytes(b"")
    other.write_bytes(b"")
    deaf = Permissions(deny_subscribe=["logs.control.>"])
    config = Config(users=[User("deaf", permissions=deaf)])
    with NatsServer(jetstream=True, config=config) as server:
        login = config.users[0].login
        url = server.url.replace("//", f"//{login['user']}:{login['password']}@")
        world.settings["NATS_URL"] = url
        world.done("setup")
        one = world.start("producer", host=WEB1)
        two = world.start(
            "producer", host=WEB1, SHIPPER_FILE=str(other), SHIPPER_STATE=str(world.folder / "s2")
        )
        deadline = time.monotonic() + 20
        number = 0
        while one.pid and two.pid and time.monotonic() < deadline:
            number += 1
            world.write(WEB1, b"one %d\n" % number)
            with other.open("ab") as file:
                file.write(b"two %d\n" % number)
            time.sleep(0.005)
        refused = [child for child in (one, two) if not child.pid]
        assert len(refused) == 1, "one of them is stopped, and only one"
        assert "another producer publishes on logs.p0.web1.example.net: stop it" in refused[0].output()


def test_a_second_consumer_is_refused(world: World) -> None:
    world.start("consumer")
    wait_for_reader(world)
    result = world.run("consumer", "--until-idle", "1")
    assert result.returncode == 1
    assert f"another consumer writes to {world.out} already" in result.stderr
    result = world.run("consumer", "--until-idle", "1", SHIPPER_DIRECTORY=str(world.folder / "elsewhere"))
    assert result.returncode == 1
    assert f"another consumer ({world.out} on" in result.stderr
    assert "reads partition 0 of LOGS already: stop it" in result.stderr


def test_a_name_that_is_no_host_name_is_never_written(world: World) -> None:
    world.write(WEB1, b"one\n")
    world.done("producer", "--once", host=WEB1)
    publish(world, ("logs.p0.we_b", b"bad\n"), ("logs.p0.-x", b"bad\n"), ("logs.p0.web2", b"plain\n"))
    publish(world, ("logs.p0.a b".replace(" ", "\\"), b"bad\n"))
    said = world.done("consumer", "--until-idle", "0.3")
    assert "3 messages refused" in said
    assert "refused, since it names no host: 'logs.p0.we_b'" in said
    assert {path.name for path in world.out.iterdir()} == {".shipper", WEB1, "web2"}
    assert world.stored("web2") == b"plain\n", "other programs may publish lines, too"
    (lag,) = json.loads(world.done("report", "--json"))
    assert lag["pending"] == lag["unacked"] == 0


def test_the_big_red_button(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    producer = world.start("producer", host=WEB1)
    eventually(lambda: world.server.monitor.jsz().messages == 1)
    publish(world, ("logs.control", b"pause"))
    eventually(lambda: "paused by logs.control" in producer.output())
    world.write(WEB1, b"two\n")
    with pytest.raises(AssertionError, match="not within"):
        eventually(lambda: world.server.monitor.jsz().messages > 1, timeout=0.3)
    publish(world, ("logs.control", b"resume"))
    eventually(lambda: world.server.monitor.jsz().messages == 2)
    publish(world, ("logs.control", b"pause"))
    eventually(lambda: producer.output().count("paused by") == 2)
    producer.terminate()
    producer.wait(5)
    world.ship(WEB1)
    assert world.stored(WEB1) == b"one\ntwo\n"


def test_setup_tells_what_differs_and_changes_nothing_else(world: World) -> None:
    assert world.done("setup") == "nothing to change\n"
    world.settings["SHIPPER_PARTITIONS"] = "2"
    plan = world.done("setup", "--dry-run", "--max-age", "48")
    assert "~ stream LOGS: subjects logs.p0.> → logs.p0.>, logs.p1.>; max_age 86400.0 → 172800.0" in plan
    assert "+ consumer PULL_1 of LOGS: logs.p1.>, pulled" in plan
    assert "nothing was changed" in plan
    assert world.done("setup", "--max-age", "48").splitlines()[-1] == "done"
    assert world.done("setup", "--max-age", "48") == "nothing to change\n"

    async def meddle(nc: Client) -> None:
        js = nc.jetstream()
        info = await js.consumer_info("LOGS", "PULL_0")
        await js.add_consumer(
            "LOGS", ConsumerConfig(**{**vars(info.config), "ack_wait": 5.0, "description": "x"})
        )

    ask(world, meddle)
    assert "~ consumer PULL_0 of LOGS: ack_wait 5.0 → 30.0" in world.done("setup", "--max-age", "48")
    description = ask(world, lambda nc: nc.jetstream().consumer_info("LOGS", "PULL_0")).config.description
    assert description == "x", "what is not ours to say stays"


def test_a_stream_that_is_missing_is_named_and_waited_for(world: World, eventually: Wait) -> None:
    world.settings["SHIPPER_STREAM"] = "LATER"
    world.settings["SHIPPER_SUBJECT"] = "later"
    world.write(WEB1, b"one\n")
    producer, consumer = world.start("producer", host=WEB1), world.start("consumer")
    for child in (producer, consumer):
        eventually(lambda child=child: "there is no stream LATER" in child.output())
        assert child.output().count("there is no stream") == 1
    world.done("setup")
    eventually(lambda: world.stored(WEB1) == b"one\n", timeout=15)


def test_a_place_that_cannot_be_written_to_is_said(world: World) -> None:
    (world.folder / "file").touch()
    result = world.run("producer", host=WEB1, SHIPPER_STATE=str(world.folder / "file"))
    assert result.returncode == 1
    assert "set SHIPPER_STATE to a directory that you may write to" in result.stderr
    result = world.run("consumer", SHIPPER_DIRECTORY=str(world.folder / "file"))
    assert result.returncode == 1
    assert "set SHIPPER_DIRECTORY to a directory that you may write to" in result.stderr
    (world.out / ".shipper").mkdir(parents=True)
    (world.out / ".shipper" / "checkpoint.sqlite").write_text("no database, but long enough to be read")
    result = world.run("consumer")
    assert result.returncode == 1
    assert "the checkpoint in" in result.stderr
    assert "Traceback" not in result.stderr


def test_positions_that_cannot_be_saved_keep_nothing_from_being_shipped(
    world: World, eventually: Wait
) -> None:
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    (state,) = (world.folder / "state" / WEB1).glob("*.json")
    state.with_suffix(".new").mkdir()  # where it would be written
    producer = world.start("producer", host=WEB1)
    eventually(lambda: world.write(WEB1, b"two\n") or "cannot save positions" in producer.output())
    world.write(WEB1, b"three\n")
    producer.kill()
    producer.wait()
    state.with_suffix(".new").rmdir()
    world.ship(WEB1)
    assert world.stored(WEB1) == world.log(WEB1).read_bytes()
    assert producer.output().count("cannot save positions") == 1


def test_producer_and_consumer_go_on_after_the_server_was_restarted(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    producer, consumer = world.start("producer", host=WEB1), world.start("consumer")
    eventually(lambda: world.stored(WEB1) == b"one\n")
    for number in range(2):
        world.server.kill()
        world.write(WEB1, b"%d\n" % number)
        world.server.restart()
        eventually(lambda number=number: world.stored(WEB1).endswith(b"%d\n" % number), timeout=8)
    assert world.stored(WEB1) == b"one\n0\n1\n"
    assert producer.pid and consumer.pid


@pytest.mark.parametrize("side", ["producer", "consumer"])
def test_a_cancellation_that_gets_lost_keeps_no_dead_connection(
    world: World, eventually: Wait, tmp_path: Path, side: str
) -> None:
    # What Python 3.11's wait_for does now and then, each time: it returns, and the cancellation is gone.
    (tmp_path / "deaf").mkdir()
    (tmp_path / "deaf" / "sitecustomize.py").write_text(DEAF)
    world.write(WEB1, b"one\n")
    deaf = {"PYTHONPATH": str(tmp_path / "deaf")}
    world.start("producer", host=WEB1, **(deaf if side == "producer" else {}))
    world.start("consumer", **(deaf if side == "consumer" else {}))
    eventually(lambda: world.stored(WEB1) == b"one\n")
    world.server.kill()
    world.write(WEB1, b"two\n")
    world.server.restart()
    eventually(lambda: world.stored(WEB1) == b"one\ntwo\n", timeout=20)


def test_poison_is_passed_over(world: World) -> None:
    """A subject that is no text ends the client library's reading; numbers may be beyond all measure."""
    world.write(WEB1, b"one\n")
    world.done("producer", "--once", host=WEB1)
    with socket.create_connection(("127.0.0.1", world.server.port)) as raw:
        raw.sendall(b"CONNECT {}\r\nPUB logs.p0.\xff 4\r\nbad\n\r\nPING\r\n")
        while b"PONG" not in raw.recv(4096):
            pass

    async def publish_nonsense(nc: Client) -> None:
        headers = {
            "Shipper-Source": f"1-1-1 {10**20} {10**20 + 4}",
            "Shipper-Check": "0",
            "Shipper-Producer": "x",
        }
        await nc.jetstream().publish("logs.p0.web2", b"odd\n", headers=headers)

    ask(world, publish_nonsense)
    world.write(WEB1, b"two\n")
    world.done("producer", "--once", host=WEB1)
    said = world.done("consumer", "--until-idle", "0.5", timeout=60)
    assert "refused, since its subject is no text" in said
    assert world.stored(WEB1) == b"one\ntwo\n"
    assert world.stored("web2") == b"odd\n"


def test_two_files_in_turn_under_one_name(world: World) -> None:
    other = world.folder / "other.log"
    for number in range(3):
        world.write(WEB1, b"a%d\n" % number)
        world.done("producer", "--once", host=WEB1)
        with other.open("ab") as file:
            file.write(b"b%d\n" % number)
        world.done("producer", "--once", host=WEB1, SHIPPER_FILE=str(other))
    world.ship()
    assert world.stored(WEB1) == b"a0\nb0\na1\nb1\na2\nb2\n"


def test_a_restored_copy_of_the_stored_files_is_filled_up_again(world: World) -> None:
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    shutil.copytree(world.out, world.folder / "backup")
    world.write(WEB1, b"two\n")
    world.ship(WEB1)
    shutil.rmtree(world.out)
    shutil.copytree(world.folder / "backup", world.out)
    world.ship(WEB1)
    assert world.stored(WEB1) == b"one\ntwo\n"


def test_other_programs_go_on_in_a_stream_made_anew(world: World) -> None:
    publish(world, *[("logs.p0.web2", b"%d\n" % number) for number in range(4)])
    world.ship()
    ask(world, lambda nc: nc.jetstream().delete_stream("LOGS"))
    world.done("setup")
    publish(world, ("logs.p0.web2", b"4\n"))
    world.ship()
    assert world.stored("web2") == b"0\n1\n2\n3\n4\n"


def test_a_partition_that_cannot_be_read_is_said_once(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    world.done("producer", "--once", host=WEB1)
    consumer = world.start("consumer", SHIPPER_READ_PARTITIONS="0-2")
    eventually(lambda: world.stored(WEB1) == b"one\n")
    eventually(lambda: "cannot read partition 2" in consumer.output())
    with pytest.raises(AssertionError, match="not within"):
        eventually(lambda: consumer.output().count("cannot read") > 2, timeout=2)
    assert "reading partition" not in consumer.output()


def test_a_server_that_is_not_there_is_said_once_and_waited_for(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    world.server.stop()
    producer, consumer = world.start("producer", host=WEB1), world.start("consumer")
    for child in (producer, consumer):
        eventually(lambda child=child: "cannot connect to" in child.output())
    world.server.restart()
    eventually(lambda: world.stored(WEB1) == b"one\n", timeout=15)
    for child in (producer, consumer):
        assert child.output().count("cannot connect") == 1
        assert child.output().count("connected to") == 1


def test_what_cannot_be_set_up_is_said(world: World) -> None:
    result = world.run("setup", "--replicas", "3")
    assert result.returncode == 1
    assert "replicas > 1 not supported in non-clustered mode" in result.stderr
    result = world.run("report", SHIPPER_STREAM="OTHER")
    assert result.returncode == 1
    assert result.stderr == "there is no stream OTHER, nor OTHER_0: `setup` makes it\n"


def test_a_file_that_is_not_there_is_said_once_and_waited_for(world: World, eventually: Wait) -> None:
    producer = world.start("producer", host=WEB1)
    eventually(lambda: f"there is no file {world.log(WEB1)} yet" in producer.output())
    world.write(WEB1, b"one\n")
    eventually(lambda: f"now there is {world.log(WEB1)}" in producer.output())
    assert producer.output().count("there is no file") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_how_fast_it_goes(world: World) -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, **world.environment(WEB1), "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([*SHIPPER, "producer"], env=environment, stderr=theirs)
    try:
        world.write(WEB1, b"one\ntwo\n")
        said = b""
        deadline = time.monotonic() + 10
        while b"shipped 2 lines" not in said and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.1)[0]:
                said += os.read(ours, 4096)
        assert b"lines/s" in said and b"MB/s" in said and b"MB behind" in said
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def test_it_can_be_ended_while_there_is_no_server(world: World, eventually: Wait) -> None:
    world.server.stop()
    producer = world.start("producer", host=WEB1)
    eventually(lambda: "cannot connect to" in producer.output())
    producer.terminate()
    producer.wait(5)


def test_a_refused_subject_is_named(world: World, eventually: Wait) -> None:
    config = Config(users=[User("weak", permissions=Permissions(deny_publish=["logs.p0.>"]))])
    with NatsServer(jetstream=True, config=config) as server:
        login = config.users[0].login
        world.settings["NATS_URL"] = server.url.replace("//", f"//{login['user']}:{login['password']}@")
        world.done("setup")
        world.write(WEB1, b"one\n")
        producer = world.start("producer", host=WEB1)
        eventually(lambda: "permissions violation for publish to" in producer.output())
        assert f'"logs.p0.{WEB1}"' in producer.output()
        server.stop()
        eventually(lambda: "cannot connect to 127.0.0.1:" in producer.output())
        assert login["password"] not in producer.output()


def test_a_full_disk_is_said_once_and_nothing_is_lost(world: World, eventually: Wait) -> None:
    world.write(WEB1, b"one\n")
    producer, consumer = world.start("producer", host=WEB1), world.start("consumer")
    eventually(lambda: world.stored(WEB1) == b"one\n")
    process = psutil.Process(consumer.pid)
    process.rlimit(psutil.RLIMIT_FSIZE, (100_000, -1))
    world.write(WEB1, b"x" * 200_000 + b"\n")
    eventually(lambda: "cannot store: file too large" in consumer.output())
    world.write(WEB1, b"two\n")
    eventually(lambda: world.server.monitor.jsz().messages == 3)
    assert world.stored(WEB1) == b"one\n", "nothing half written is left"
    (lag,) = json.loads(world.done("report", "--json"))
    assert lag["pending"] + lag["unacked"] == 2
    process.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
    eventually(lambda: world.stored(WEB1).endswith(b"two\n"), timeout=20)
    assert world.stored(WEB1) == world.log(WEB1).read_bytes()
    assert consumer.output().count("cannot store") == 1
    assert consumer.output().count("storing again") == 1
    producer.terminate()


def test_what_a_restored_server_has_forgotten_is_shipped_again(world: World) -> None:
    """The server's store goes back to an older copy; the consumer has already stored more."""
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    world.server.stop()
    shutil.copytree(world.folder / "store", world.folder / "backup")
    world.server.restart()
    world.write(WEB1, b"two\n")
    world.ship(WEB1)
    world.log(WEB1).rename(world.log(WEB1).with_name("app.log.1"))
    world.write(WEB1, b"three\n")
    world.done("producer", "--once", host=WEB1)  # acknowledged by the server, and not yet stored
    world.server.stop()
    shutil.rmtree(world.folder / "store")
    shutil.copytree(world.folder / "backup", world.folder / "store")
    world.server.restart()
    world.write(WEB1, b"four\n")
    world.ship(WEB1)
    assert world.stored(WEB1) == b"one\ntwo\nthree\nfour\n"


def test_a_stream_that_was_made_anew_is_filled_again(world: World) -> None:
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    world.log(WEB1).rename(world.log(WEB1).with_name("app.log.1"))
    world.write(WEB1, b"two\n")
    world.done("producer", "--once", host=WEB1)
    ask(world, lambda nc: nc.jetstream().delete_stream("LOGS"))
    world.done("setup")
    world.write(WEB1, b"three\n")
    world.ship(WEB1)
    assert world.stored(WEB1) == b"one\ntwo\nthree\n"


def test_messages_that_expired_are_no_reason_to_begin_again(world: World) -> None:
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    ask(world, lambda nc: nc.jetstream().purge_stream("LOGS"))
    world.write(WEB1, b"two\n")
    assert "1 lines, 4 bytes" in world.done("producer", "--once", host=WEB1)
    world.ship()
    assert world.stored(WEB1) == b"one\ntwo\n"


def test_lines_that_expired_before_they_were_read_are_reported(world: World) -> None:
    world.write(WEB1, b"one\n")
    world.ship(WEB1)
    world.write(WEB1, b"two\n")
    world.done("producer", "--once", host=WEB1)
    ask(world, lambda nc: nc.jetstream().purge_stream("LOGS"))
    world.write(WEB1, b"three\n")
    world.done("producer", "--once", host=WEB1)
    assert f"{WEB1}: bytes 4 to 8 of" in world.done("consumer", "--until-idle", "0.3")
    assert world.stored(WEB1) == b"one\nthree\n"


def test_a_cluster_whose_leader_is_killed_under_load_loses_nothing(tmp_path: Path, eventually: Wait) -> None:
    with NatsCluster(3, jetstream=True) as cluster, World(tmp_path, ",".join(cluster.urls)) as world:
        world.done("setup", "--replicas", "3")
        producer, consumer = world.start("producer", host=WEB1), world.start("consumer")
        written = bytearray()

        def write(seconds: float) -> None:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                line = b"%08d\n" % len(written)
                written.extend(line)
                world.write(WEB1, line)
                time.sleep(0.001)

        write(1.0)
        leader = asyncio.run(leader_of(cluster.urls))
        cluster.kill(leader)
        write(2.0)
        eventually(lambda: world.stored(WEB1) == written, timeout=40)
        producer.terminate()
        consumer.terminate()


async def leader_of(urls: list[str]) -> str:
    nc = await nats.connect(urls)
    try:
        info = await nc.jetstream().stream_info("LOGS")
        return str(info.cluster.leader)
    finally:
        await nc.close()


def test_a_producer_with_the_rights_for_its_own_host_alone(world: World) -> None:
    own = Permissions(
        publish=[
            f"logs.p0.{WEB1}",
            "$JS.API.STREAM.INFO.LOGS",
            "$JS.API.STREAM.MSG.GET.LOGS",
            f"logs.control.producer.{WEB1}",
            "_INBOX.>",
        ],
        subscribe=["_INBOX.>", "logs.control", f"logs.control.producer.{WEB1}"],
    )
    admin, weak = User("admin"), User("weak", permissions=own)
    config = Config(accounts=[Account("LOGS", users=[admin, weak], jetstream=True)])
    with NatsServer(jetstream=True, config=config) as server:

        def url(user: User) -> str:
            return server.url.replace("//", f"//{user.name}:{user.password}@")

        world.settings["NATS_URL"] = url(admin)
        world.done("setup")
        world.write(WEB1, b"one\n")
        said = world.done("producer", "--once", host=WEB1, NATS_URL=url(weak))
        assert "Violation" not in said
        world.ship()
        assert world.stored(WEB1) == b"one\n"
