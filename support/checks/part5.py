"""The exercises of part 5: many consumers, still in order."""

from __future__ import annotations

import asyncio
import builtins
import re
import secrets
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nats.aio.client import Client

from ..logs import SITES, host_names
from ..shipper.subjects import fnv1a
from .check import NotYet, check
from .room import Room

Partition = Callable[[str, int], int]
Consumer = Callable[[Client, Path], Awaitable[None]]

MANY = 2000  # hosts whose places are looked at
UNEVEN = 1.5  # times the equal share that one partition may have, at most
SPARE = 1.5  # times the share that must move that may move


@check()
async def partitions_by_site(room: Room, partition: Partition) -> str:
    """All hosts of a site are in the same partition: FNV-1a of the site."""
    for host in (*host_names(200), "web1.ams.rack2.example.net"):
        site = host.split(".")[1]
        for count in 5, 20, 1:
            found, right = partition(host, count), fnv1a(site.encode()) % count
            if type(found) is not int:
                raise NotYet(f"return a number, from 0 on; for {host} you returned a {type(found).__name__}")
            if found == right:
                continue
            if found == fnv1a(host.encode()) % count:
                raise NotYet(f"{host} has the partition of its whole name: hash only its site, {site}")
            raise NotYet(
                f"{host} must be in partition {right} of {count}: the remainder of fnv1a({site.encode()!r})"
            )
    return f"200 hosts of {len(SITES)} sites, each with its site's partition, of 1, 5 and 20"


@check()
async def refuses_bad_hosts(room: Room, consumer: Consumer) -> str:
    """Lines are stored below the folder, and only for host names."""
    with tempfile.TemporaryDirectory() as name:
        folder, outside = Path(name) / "logs", Path(name) / "outside"
        await asyncio.to_thread(folder.mkdir)
        client, producer = await room.connect("consumer"), await room.connect("producer")
        await consumer(client, folder)
        await room.settle(client)
        longest = ".".join("a" * length for length in (63, 63, 63, 61))
        good = [
            "web1.example.net",
            "web-2",
            "3com.example",
            "a" * 63 + ".net",
            "WEB9.Example.NET",
            "a.b",
            longest,
        ]
        bad = {
            str(outside): "an absolute path",
            "web1/etc": "a path",
            "web_1.example.net": "a name with an underscore",
            "-web1": "a name that begins with a hyphen",
            "web1-.example": "a label that ends with a hyphen",
            "web1.-x.net": "a name with a label that begins with a hyphen",
            "web1." + "b" * 64: "a name whose second label has 64 characters",
            "a" * 64 + ".net": "a label of 64 characters",
            ".".join(["a" * 62, *["a" * 63] * 3]): "a name of 254 characters",
            "wéb1": "a name with é",
            "web1\\x": "a name with a backslash",
            "~root": "a name with a tilde",
        }
        for host in (*bad, *good, *good):
            if not re.search(r"\s", host):  # the temporary folder's path may have a space, a subject has none
                await producer.publish(f"logs.p0.{host}", host.encode() + b"\n")
        await room.settle(producer)
        await room.quiet(lambda: sum(1 for _ in Path(name).rglob("*")))
        if outside.exists():
            raise NotYet(
                "a subject with an absolute path in it made your consumer write outside of its folder"
            )
        for host in good:
            path = folder / host / "log"
            if not path.is_file() or path.read_bytes() != 2 * (host.encode() + b"\n"):
                shown = host if len(host) < 30 else "a name with labels of 63 characters"
                raise NotYet(f"both lines of {shown} must be in folder/<host>/log; it is a good host name")
        for host, what in bad.items():
            if (folder / host).exists():
                raise NotYet(f"{what} was taken for a host name")
        left = {path.name for path in folder.iterdir()} - set(good)
        if left:
            raise NotYet(f"for {len(left)} names that are no host names, something was made in the folder")
    return f"{len(good)} hosts stored, {len(bad)} names refused, and nothing outside of the folder"


@check()
async def moves_few(room: Room, place: Partition) -> str:
    """From 20 to 21 partitions hardly more hosts move than must; the shares are even; all processes agree."""
    names = host_names(MANY)
    places = {count: [place(name, count) for name in names] for count in (7, 8, 20, 21)}
    for count, found in places.items():
        if any(type(each) is not int or not 0 <= each < count for each in found):
            raise NotYet(f"of {count} partitions, return one of the numbers from 0 to {count - 1}")
        shares = Counter(found)
        equal = MANY / count
        if (
            len(shares) < count
            or max(shares.values()) > UNEVEN * equal
            or min(shares.values()) < equal / UNEVEN
        ):
            raise NotYet(f"the shares of {count} partitions are uneven: one has far more hosts than another")
    if [place(name, 20) for name in names] != places[20]:
        raise NotYet("the same host and number must give the same partition each time")
    for before, after in (20, 21), (7, 8):
        moved = sum(one != other for one, other in zip(places[before], places[after], strict=True)) / MANY
        if moved > SPARE / after:
            raise NotYet(
                f"from {before} to {after} partitions {moved:.0%} of the hosts move, and {1 / after:.0%} must"
            )
    with _another_process():
        getattr(place, "cache_clear", lambda: None)()
        if [place(name, 20) for name in names] != places[20]:
            raise NotYet("Python's hash says something else in each process: take one that does not")
    return "even shares, and from 20 to 21 partitions hardly more hosts move than must"


@contextmanager
def _another_process() -> Iterator[None]:
    """As it is there for `hash`, which is salted: other numbers for the same texts."""
    before, salt = builtins.hash, secrets.randbits(60)
    builtins.hash = lambda value: before((salt, value))
    try:
        yield
    finally:
        builtins.hash = before
