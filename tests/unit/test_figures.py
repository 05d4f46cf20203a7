import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nats
import pytest

from support.figures import partitions, picture, scoreboard, sequence, topology
from support.figures.scoreboard import recorded, standing
from support.figures.sequence import shorten
from support.server import NatsServer
from support.wire import Frame, Wire

mpl.use("Agg")


def png(content: dict[str, Any]) -> bytes:
    return base64.b64decode(content["image/png"])


def test_a_picture_is_a_png_with_its_text(shown: list[dict[str, Any]]) -> None:
    with picture("Finding", drawn="what", text="A line that rises.") as axes:
        axes.plot([1, 2])
    (content,) = shown
    assert png(content).startswith(b"\x89PNG")
    assert content["text/plain"] == content["metadata"]["image/png"]["alt"] == "A line that rises."


def test_a_picture_that_fails_is_not_shown(shown: list[dict[str, Any]]) -> None:
    with pytest.raises(ZeroDivisionError), picture("", drawn="", text=""):
        _ = 1 / 0
    assert shown == []


def test_the_look_is_not_left_behind(shown: list[dict[str, Any]]) -> None:
    before = dict(mpl.rcParams)
    with picture("", drawn="", text=""):
        pass
    assert dict(mpl.rcParams) == before


def test_a_request_is_told_in_four_arrows_and_chance_is_named_as_chance(shown: list[dict[str, Any]]) -> None:
    inbox = "_INBOX.abc.def1"
    wire = Wire(
        frames=(
            Frame(0.0, "client", True, "SUB", "_INBOX.abc.*", None, "1"),
            Frame(0.0, "client", True, "PUB", "WEATHER", reply=inbox, payload=b"London?"),
            Frame(0.001, "w-2", False, "MSG", "WEATHER", None, "7", inbox, payload=b"London?"),
            Frame(0.002, "w-2", True, "PUB", inbox, payload=b"rain"),
            Frame(0.003, "client", False, "MSG", inbox, None, "1", payload=b"rain"),
            Frame(0.004, "client", True, "PING"),
        ),
        subscriptions={("w-1", "7"): ("WEATHER", "grp"), ("w-2", "7"): ("WEATHER", "grp")},
    )
    sequence(wire, "Title")
    assert shown[0]["text/plain"].splitlines() == [
        "Sequence diagram:",
        "client to server: PUB WEATHER “London?”",
        "server to one member of grp: MSG WEATHER “London?”",
        "one member of grp to server: PUB _INBOX… “rain”",
        "server to client: MSG _INBOX… “rain”",
    ]
    other = Wire(wire.frames[:2], wire.subscriptions)
    sequence(other, "Title", text="said by the author")
    assert shown[1]["text/plain"] == "said by the author"


def test_the_words_do_not_depend_on_the_order_of_a_fan_out(shown: list[dict[str, Any]]) -> None:
    published = Frame(0, "p", True, "PUB", "S", payload=b"x")
    copies = [Frame(0, name, False, "MSG", "S", None, "1", payload=b"x") for name in ("a", "b")]
    subscriptions = {("a", "1"): ("S", None), ("b", "1"): ("S", None)}
    for order in copies, copies[::-1]:
        sequence(Wire((published, *order), subscriptions), "Title")
    assert shown[0]["text/plain"] == shown[1]["text/plain"]


def test_much_traffic_and_strange_payloads_can_be_drawn(shown: list[dict[str, Any]]) -> None:
    payloads = [b"$x_1$ and $", b"\xff\x00", b"two\nlines", b"x" * 5000, "😀 é".encode()] * 20
    frames = tuple(Frame(0, "p", True, "PUB", "S", payload=payload) for payload in payloads)
    sequence(Wire(frames), "Much")
    assert len(png(shown[0])) < 100_000
    sequence(Wire(), "Nothing")


def test_an_inbox_is_shortened_and_a_subject_is_not() -> None:
    assert shorten("_INBOX.abcdef.ghijkl") == "_INBOX…jkl"
    assert shorten("ORDERS.new") == "ORDERS.new"


def test_a_topology_tells_who_is_there(shown: list[dict[str, Any]]) -> None:
    async def run() -> None:
        with NatsServer() as server:
            topology(server, "Nobody")
            clients = [
                await nats.connect(server.url, name=name) for name in ("sender", "w-2", "w-1", "audit")
            ]
            for worker in clients[1:3]:
                await worker.subscribe("JOBS", queue="group")
            for subject in "A", "B", "C":
                await clients[3].subscribe(subject)
            for client in clients:
                await client.flush()
                await client.flush()
            topology(server, "Four")
            for client in clients:
                await client.close()

    asyncio.run(run())
    assert shown[0]["text/plain"].endswith("nobody")
    assert shown[1]["text/plain"].splitlines()[1:] == [
        "sender only sends",
        "audit subscribes to A, B, …",
        "w-1 subscribes to JOBS, in queue group group",
        "w-2 subscribes to JOBS, in queue group group",
    ]


def test_a_scoreboard_keeps_its_numbers_and_later_parts_show_them(
    shown: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scoreboard(4, order=(False, "12 inv."), secured=(True, "mTLS"))
    (first,) = shown
    assert first["text/plain"].splitlines()[1:] == [
        "order within a host: not met",
        "across networks, secured: met",
    ]
    notebook = {"cells": [{"outputs": [{"metadata": first["metadata"]}]}]}
    (tmp_path / "04_log_shipper.ipynb").write_text(json.dumps(notebook))
    assert recorded(tmp_path, 4) == {"order": (False, "12 inv."), "secured": (True, "mTLS")}
    assert recorded(tmp_path, 5) == {}
    columns = {4: recorded(tmp_path, 4), 5: {"order": (True, "0 inv.")}}
    assert standing(columns, 4) == columns[4]
    assert standing(columns, 5) == {"order": (True, "0 inv."), "secured": (True, "mTLS")}
    alone = png(shown[0])
    scoreboard(5, order=(True, "0 inv."))
    (tmp_path / "04_log_shipper.ipynb").unlink()
    scoreboard(5, order=(True, "0 inv."))
    assert png(shown[1]) != png(shown[2]) != alone
    assert shown[1]["text/plain"] == shown[2]["text/plain"], "what the tests compare is this part's own"


def test_a_scoreboard_refuses_what_it_cannot_show() -> None:
    with pytest.raises(TypeError, match="no demand is called colour"):
        scoreboard(4, colour=(True, "green"))
    with pytest.raises(ValueError, match="say it in 10 characters"):
        scoreboard(4, order=(True, "twelve inversions"))


def test_partitions_are_told_host_by_host(shown: list[dict[str, Any]]) -> None:
    partitions({"web1": 0, "web2": 3}, {"worker-1": [0, 1]}, "Two hosts")
    assert shown[0]["text/plain"].splitlines()[1:] == ["web1 → p0 → worker-1", "web2 → p3 → nobody"]
    assert png(shown[0]).startswith(b"\x89PNG")
