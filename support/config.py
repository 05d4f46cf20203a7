"""What a nats-server is configured with, typed, and written in nats-server's own format.

    shop = Account("SHOP", users=[User("client")], imports=[ServiceImport("WEATHER", "WEATHER.SERVICE")])
    with NatsServer(config=Config(accounts=[shop, ...])) as server: ...

The words and what they mean: NATS documentation, "Configuring NATS Server". `NatsServer` has the server
itself check a configuration (`nats-server -t`) before it starts.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects that a user may publish and subscribe to; an empty list of allowed ones allows all.

    `allow_responses` lets a service answer each request, whatever the reply subject.
    """

    publish: Sequence[str] = ()
    subscribe: Sequence[str] = ()
    deny_publish: Sequence[str] = ()
    deny_subscribe: Sequence[str] = ()
    allow_responses: bool = False

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        return _without_nothing(
            publish=_without_nothing(allow=_list(self.publish), deny=_list(self.deny_publish)),
            subscribe=_without_nothing(allow=_list(self.subscribe), deny=_list(self.deny_subscribe)),
            allow_responses=self.allow_responses or None,
        )


@dataclass(frozen=True, slots=True)
class User:
    """A user with a password of its own, made at run time unless it is given, and never shown.

    nc = await nats.connect(server.url, **user.login)
    """

    name: str
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    permissions: Permissions | None = None

    @property
    def login(self) -> dict[str, Any]:
        """What `nats.connect` wants to know."""
        return {"user": self.name, "password": self.password}

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        permissions = self.permissions.as_dict() if self.permissions else None
        return _without_nothing(user=self.name, password=self.password, permissions=permissions)


@dataclass(frozen=True, slots=True)
class Latency:
    """Have the server publish to `subject` how long a service took, for `sampling` % of the requests.

    With "headers", requests that carry a tracing header are sampled.
    """

    subject: str
    sampling: int | Literal["headers"] = 100

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        sampling = self.sampling if self.sampling == "headers" else f"{self.sampling}%"
        return {"sampling": sampling, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class ServiceExport:
    """Other accounts may import requests to `subject`: those named in `to`, or all if none is."""

    subject: str
    to: Sequence[str] = ()
    latency: Latency | None = None

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        latency = self.latency.as_dict() if self.latency else None
        return _without_nothing(service=self.subject, accounts=_list(self.to), latency=latency)


@dataclass(frozen=True, slots=True)
class StreamExport:
    """Other accounts may import messages on `subject`: those named in `to`, or all if none is."""

    subject: str
    to: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        return _without_nothing(stream=self.subject, accounts=_list(self.to))


@dataclass(frozen=True, slots=True)
class ServiceImport:
    """Send requests on `to` (else on the same subject) to `subject` in `account`.

    `share` tells the other account who asks, in latency samples.
    """

    account: str
    subject: str
    to: str | None = None
    share: bool = False

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        source = {"account": self.account, "subject": self.subject}
        return _without_nothing(service=source, to=self.to, share=self.share or None)


@dataclass(frozen=True, slots=True)
class StreamImport:
    """Receive the messages on `subject` of `account`, on `to` or else on the same subject."""

    account: str
    subject: str
    to: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        return _without_nothing(stream={"account": self.account, "subject": self.subject}, to=self.to)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one account may use of JetStream; bytes and counts, -1 for no limit."""

    max_memory: int = -1
    max_file: int = -1
    max_streams: int = -1
    max_consumers: int = -1

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        return {
            "max_mem": self.max_memory,
            "max_file": self.max_file,
            "max_streams": self.max_streams,
            "max_consumers": self.max_consumers,
        }


@dataclass(frozen=True, slots=True)
class Account:
    """A world of subjects of its own. `jetstream` is whether, and how much, it may use JetStream."""

    name: str
    users: Sequence[User] = ()
    exports: Sequence[ServiceExport | StreamExport] = ()
    imports: Sequence[ServiceImport | StreamImport] = ()
    jetstream: bool | Limits = False

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        limits = self.jetstream.as_dict() if isinstance(self.jetstream, Limits) else self.jetstream
        return _without_nothing(
            users=[each.as_dict() for each in self.users],
            exports=[each.as_dict() for each in self.exports],
            imports=[each.as_dict() for each in self.imports],
            jetstream=limits or None,
        )


@dataclass(frozen=True, slots=True)
class JetStream:
    """JetStream of the whole server: bytes; `sync_interval` in seconds, or "always" to sync each write.

    Whether it is on, and where it stores, are arguments of `NatsServer`.
    """

    max_memory: int | None = None
    max_file: int | None = None
    sync_interval: float | Literal["always"] | None = None

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        interval = self.sync_interval
        return _without_nothing(
            max_memory_store=self.max_memory,
            max_file_store=self.max_file,
            sync_interval=interval if interval in (None, "always") else f"{interval}s",
        )


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key of the server; with `verify`, clients must show one that `ca` has signed."""

    certificate: Path
    key: Path
    ca: Path | None = None
    verify: bool = False

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        return _without_nothing(
            cert_file=str(self.certificate),
            key_file=str(self.key),
            ca_file=str(self.ca) if self.ca else None,
            verify=self.verify or None,
        )


@dataclass(frozen=True, slots=True)
class Cluster:
    """Membership in a cluster: the port for the other members, and the ports of all of them."""

    name: str
    port: int
    routes: Sequence[int]

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        return {
            "name": self.name,
            "listen": f"{HOST}:{self.port}",
            "routes": [f"nats://{HOST}:{port}" for port in self.routes],
        }


@dataclass(frozen=True, slots=True)
class Gateway:
    """Membership in a super-cluster: the port for other clusters, and their gateways' ports by name."""

    name: str
    port: int
    remotes: Mapping[str, Sequence[int]]

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        gateways = [
            {"name": name, "urls": [f"nats://{HOST}:{port}" for port in ports]}
            for name, ports in self.remotes.items()
        ]
        return {"name": self.name, "listen": f"{HOST}:{self.port}", "gateways": gateways}


@dataclass(frozen=True, slots=True)
class Config:
    """A whole configuration; `str` of it is what stands in the file, passwords included.

    Arguments:
        max_payload: bytes that one message may carry. max_pending: bytes that may wait for one client.
        ping_interval: seconds between two PINGs to a quiet client. mappings: subject → subject.
        more: anything else, in nats-server's own words.
    """

    accounts: Sequence[Account] = ()
    users: Sequence[User] = ()
    jetstream: JetStream | None = None
    tls: Tls | None = None
    cluster: Cluster | None = None
    gateway: Gateway | None = None
    max_payload: int | None = None
    max_pending: int | None = None
    ping_interval: float | None = None
    mappings: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """In nats-server's words."""
        users = [each.as_dict() for each in self.users]
        names = [each.name for each in self.accounts]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two accounts are called {min(twice)}: give each a name of its own")
        return {
            **_without_nothing(
                accounts={each.name: each.as_dict() for each in self.accounts},
                authorization={"users": users} if users else None,
                jetstream=self.jetstream.as_dict() if self.jetstream else None,
                tls=self.tls.as_dict() if self.tls else None,
                cluster=self.cluster.as_dict() if self.cluster else None,
                gateway=self.gateway.as_dict() if self.gateway else None,
                max_payload=self.max_payload,
                max_pending=self.max_pending,
                ping_interval=None if self.ping_interval is None else f"{self.ping_interval}s",
                mappings=dict(self.mappings),
            ),
            **self.more,
        }

    def __str__(self) -> str:
        # JSON values are values of nats-server's format, too.
        return "".join(
            f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in self.as_dict().items()
        )


def _list(subjects: Sequence[str]) -> list[str]:
    """The subjects or names; one alone, without a list around it, would be taken letter by letter."""
    if isinstance(subjects, str):
        raise TypeError(f"a list is expected, as [{subjects!r}], not {subjects!r}")
    return [*subjects]


def _without_nothing(**values: Any) -> dict[str, Any]:
    """Leave out what was not said: None, empty lists and empty maps."""
    return {key: value for key, value in values.items() if value is not None and value not in ([], {})}
