"""The server's own view of itself: its monitoring endpoints, typed.

The endpoints and their fields: NATS documentation, "Monitoring".
"""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, fields
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT = 5.0  # seconds for one answer


class _Reply:
    """What the subclasses' fields name is taken from the JSON; what the server left out is absent."""

    __slots__ = ()

    @classmethod
    def of(cls, reply: dict[str, Any], **more: object) -> Self:
        names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        return cls(**{key: value for key, value in reply.items() if key in names} | more)


@dataclass(frozen=True, slots=True)
class Varz(_Reply):
    """`/varz`: the server as a whole. `mem` in bytes, `cpu` in percent of one core."""

    server_id: str
    server_name: str
    version: str
    host: str
    port: int
    max_payload: int
    mem: int
    cpu: float
    cores: int
    connections: int
    total_connections: int
    subscriptions: int
    slow_consumers: int
    in_msgs: int
    out_msgs: int
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True, slots=True)
class Subscription(_Reply):
    """One subscription: `msgs` messages delivered to it so far; `queue` None unless in a queue group."""

    subject: str
    sid: str
    msgs: int
    queue: str | None


@dataclass(frozen=True, slots=True)
class Connection(_Reply):
    """One connection in `/connz`. Counts are the server's: `in_msgs` came from this client."""

    cid: int
    ip: str
    port: int
    in_msgs: int
    out_msgs: int
    in_bytes: int
    out_bytes: int
    pending_bytes: int
    subscriptions: tuple[Subscription, ...]
    name: str = ""
    lang: str = ""
    version: str = ""
    rtt: str = ""

    @property
    def label(self) -> str:
        """The name that the client gave itself, else its number at this server."""
        return self.name or f"client {self.cid}"


@dataclass(frozen=True, slots=True)
class Connz(_Reply):
    """`/connz`: who is connected; one page of `limit` connections at most."""

    num_connections: int
    total: int
    limit: int
    connections: tuple[Connection, ...]


@dataclass(frozen=True, slots=True)
class Subsz(_Reply):
    """`/subsz`: how subjects are matched; rates between 0 and 1, fan-out in messages."""

    num_subscriptions: int
    num_cache: int
    num_inserts: int
    num_removes: int
    num_matches: int
    cache_hit_rate: float
    max_fanout: int
    avg_fanout: float


@dataclass(frozen=True, slots=True)
class Jsz(_Reply):
    """`/jsz`: JetStream as a whole; `memory`, `storage` and `bytes` in bytes."""

    memory: int
    storage: int
    streams: int
    consumers: int
    messages: int
    bytes: int


class Monitor:
    """Ask a server about itself over HTTP; each call is one request.

        server.monitor.varz().connections

    Raises OSError if the server cannot be reached (it was stopped, say).
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def varz(self) -> Varz:
        """The server as a whole: version, memory, counters."""
        return Varz.of(self.get("/varz"))

    def connz(self, *, limit: int = 1024) -> Connz:
        """Up to `limit` open connections with their subscriptions, the oldest first."""
        reply = self.get(f"/connz?subs=detail&sort=cid&limit={limit}")
        return Connz.of(reply, connections=tuple(map(_connection, reply["connections"] or ())))

    def subsz(self) -> Subsz:
        """The server's table of subscriptions."""
        return Subsz.of(self.get("/subsz"))

    def jsz(self) -> Jsz:
        """JetStream: streams, consumers and messages; all 0 where JetStream is off."""
        return Jsz.of(self.get("/jsz"))

    def get(self, path: str) -> dict[str, Any]:
        """The answer of any endpoint as it comes, for example `/healthz`."""
        address = urlsplit(self.url)
        assert address.hostname
        # http.client, not urllib: a proxy configured for the outside must not see this request.
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise OSError(f"GET {path}: {response.status} {response.reason}")
        reply: dict[str, Any] = json.loads(body)
        return reply


def _connection(reply: dict[str, Any]) -> Connection:
    found = reply.get("subscriptions_list_detail") or ()
    subscriptions = (Subscription.of(each, queue=each.get("qgroup")) for each in found)
    return Connection.of(reply, subscriptions=tuple(subscriptions))
