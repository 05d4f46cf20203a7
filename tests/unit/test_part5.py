"""The exercises of part 5: a wrong answer fails for the right reason."""

import asyncio
import hashlib
import random
import re
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from support.checks import part5
from support.checks.check import Check
from support.shipper.subjects import fnv1a, is_host


def site(host: str, partitions: int) -> int:
    return fnv1a(host.split(".")[1].encode()) % partitions


def storing(allowed: Callable[[str], object]) -> Any:
    async def consume(nc: Client, folder: Path) -> None:
        async def store(message: Msg) -> None:
            host = message.subject.removeprefix("logs.p0.")
            if allowed(host):
                path = folder / host / "log"
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(message.data)

        await nc.subscribe("logs.p0.>", cb=store)

    return consume


def bids(digest: Callable[[bytes], Any]) -> Callable[[str, int], int]:
    return lambda host, partitions: max(range(partitions), key=lambda n: digest(f"{host} {n}".encode()))


def jump(host: str, partitions: int) -> int:
    """Jump consistent hash (Lamping and Veach, 2014)."""
    key, here, there = int.from_bytes(hashlib.sha256(host.encode()).digest()[:8], "big"), -1, 0
    while there < partitions:
        here = there
        key = (key * 2862933555777941757 + 1) % 2**64
        there = int((here + 1) * (2**31 / ((key >> 33) + 1)))
    return here


def only_21(host: str, partitions: int) -> int:
    return blake(host, partitions) if partitions > 10 else fnv1a(host.encode()) % partitions


blake = bids(lambda data: hashlib.blake2b(data).digest())


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part5.partitions_by_site, site, "✓ 200 hosts of 6 sites"),
        (part5.partitions_by_site, lambda h, n: fnv1a(h.encode()) % n, "hash only its site, "),
        (part5.partitions_by_site, lambda h, n: 1 + site(h, n), "must be in partition "),
        (part5.partitions_by_site, lambda h, n: float(site(h, n)), "you returned a float"),
        (part5.partitions_by_site, lambda h, n: fnv1a(h.split(".")[-3].encode()) % n, "web1.ams.rack2"),
        (part5.partitions_by_site, lambda h, n: zlib.crc32(h.split(".")[1].encode()) % n, "must be in "),
        (part5.partitions_by_site, lambda h, n: f"p{site(h, n)}", "you returned a str"),
        (part5.refuses_bad_hosts, storing(is_host), "✓ 7 hosts stored, 12 names refused"),
        (part5.refuses_bad_hosts, storing(lambda host: "/" not in host), "was taken for a host name"),
        (part5.refuses_bad_hosts, storing(lambda host: True), "outside of its folder"),
        (part5.refuses_bad_hosts, storing(lambda host: False), "both lines of web1.example.net must be in"),
        (
            part5.refuses_bad_hosts,
            storing(lambda host: re.fullmatch(r"[A-Za-z0-9.-]+", host)),
            "a name that begins with a hyphen was taken",
        ),
        (
            part5.refuses_bad_hosts,
            storing(lambda host: is_host(host) and host.islower()),
            "both lines of WEB9",
        ),
        (part5.refuses_bad_hosts, storing(lambda host: is_host(host) and len(host) > 3), "both lines of a.b"),
        (
            part5.refuses_bad_hosts,
            storing(lambda host: is_host(host.split(".")[0]) and len(host) < 254 and "/" not in host),
            "a name with a label that begins with a hyphen was taken",
        ),
        (
            part5.refuses_bad_hosts,
            storing(lambda host: is_host(host) and len(host) < 60),
            "both lines of a name with labels of 63 characters must be in",
        ),
        (part5.moves_few, blake, "✓ even shares"),
        (part5.moves_few, jump, "✓ even shares"),
        (part5.moves_few, lambda h, n: fnv1a(h.encode()) % n, "95% of the hosts move, and 5% must"),
        (part5.moves_few, bids(fnv1a), "uneven"),
        (part5.moves_few, lambda h, n: 0, "uneven"),
        (part5.moves_few, lambda h, n: n, "one of the numbers from 0 to 6"),
        (part5.moves_few, lambda h, n: random.randrange(n), "the same partition each time"),
        (part5.moves_few, only_21, "from 7 to 8 partitions"),
        (part5.moves_few, cache(bids(lambda data: hash(data))), "Python's hash says something else"),
        (part5.moves_few, bids(lambda data: hash(data)), "Python's hash says something else"),
    ],
)
def test_part_5_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")


def test_what_was_refused_made_nothing_in_the_folder(tmp_path: Path) -> None:
    """A directory is something, too."""

    async def makes_directories(nc: Client, folder: Path) -> None:
        async def store(message: Msg) -> None:
            host = message.subject.removeprefix("logs.p0.")
            if is_host(host):
                (folder / host).mkdir(exist_ok=True)
                with (folder / host / "log").open("ab") as file:
                    file.write(message.data)
            else:
                (folder / "refused").mkdir(exist_ok=True)

        await nc.subscribe("logs.p0.>", cb=store)

    found = asyncio.run(part5.refuses_bad_hosts.evaluate(makes_directories))
    assert "something was made in the folder" in str(found)
