"""Log lines and host names that look like real ones, the same in every run."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import count, cycle, islice

KINDS = "web", "app", "db", "cache", "mail", "queue", "build", "auth"
SITES = "ams", "fra", "lon", "nyc", "sgp", "syd"
BEGIN = datetime(2026, 3, 24, 6, 25, tzinfo=UTC)
ITEMS = "item", "cart", "order", "search", "login"


def host_names(number: int) -> list[str]:
    """So many host names, each different: web1.ams.example.net, app1.fra.example.net, …"""
    names = (f"{kind}{n}.{site}.example.net" for n in count(1) for kind in KINDS for site in SITES)
    return list(islice(names, number))


def log_lines(host: str, number: int, *, first: int = 1) -> list[bytes]:
    """So many lines of the log of a web server on `host`, each with its newline.

    They end in their number, from `first` on, so that one sees what is missing, doubled or out of order:
    `int(line.rpartition(b"#")[2])`.
    """
    draw = random.Random(f"{host} {first}")  # noqa: S311  it only has to look like traffic
    when, lines = BEGIN + timedelta(seconds=first), []
    for n, item in islice(zip(count(first), cycle(ITEMS), strict=False), number):
        when += timedelta(milliseconds=draw.randrange(1, 400))
        stamp = when.isoformat(timespec="milliseconds").removesuffix("+00:00")
        client = f"10.{draw.randrange(32)}.{draw.randrange(256)}.{draw.randrange(1, 255)}"
        status = draw.choices((200, 304, 404, 500), (90, 6, 3, 1))[0]
        asked = f"GET /{item}?{draw.randrange(10_000)} {status} {draw.randrange(1, 250)} ms"
        lines.append(f"{stamp}Z {host} web[812]: {client} {asked} #{n}\n".encode())
    return lines
