"""Several servers as one: clusters, and super-clusters of clusters.

with NatsCluster(3, jetstream=True) as cluster:
    nc = await nats.connect(cluster.urls)
    cluster.kill("n1")
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any, Self

import nats
import nats.errors
from nats.js.api import StorageType

from .binary import ServerError
from .config import HOST, Cluster, Config, Gateway
from .server import NatsServer, PortTakenError, wait_for

PROBE = "cluster-probe"  # the name of a stream, and its subject
ATTEMPTS = 3  # to find ports that nobody takes meanwhile
POLL = 0.05  # seconds


class _Servers:
    """What a cluster and a super-cluster have in common: members by name, and one life."""

    jetstream: bool

    def __init__(self) -> None:
        self._members: dict[str, NatsServer] = {}

    def _build(self) -> dict[str, NatsServer]:
        raise NotImplementedError

    def _usable(self) -> bool:
        raise NotImplementedError

    @property
    def servers(self) -> Mapping[str, NatsServer]:
        """The members by name, in order; empty before the start."""
        return self._members

    def __getitem__(self, name: str) -> NatsServer:
        return self._member(name)

    @property
    def urls(self) -> list[str]:
        """What a client connects to: the addresses of all members."""
        return [server.url for server in self._members.values()]

    def start(self) -> Self:
        """Start all members and return when the whole is usable; nothing to do if it was started.

        Raises ServerError with the reason, and the end of the log, of a member that does not start.
        """
        for attempt in range(ATTEMPTS if not self._members else 0):
            self._members = self._build()
            try:
                # All at once: with JetStream, a member is ready only when enough others are there.
                self._start_all()
                self.wait()
            except PortTakenError:
                # Somebody took a port between our finding it and the server's using it.
                self.close()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                self.close()
                raise
            else:
                break
        return self

    def _start_all(self) -> None:
        with ThreadPoolExecutor(len(self._members)) as pool:
            starts = [pool.submit(server.start) for server in self._members.values()]
            try:
                for start in as_completed(starts):
                    start.result()
            except BaseException:
                while wait(starts, POLL).not_done:  # they would go on waiting for the one that failed
                    for server in self._members.values():
                        server.kill()
                raise

    def wait(self) -> None:
        """Return when all running members know each other; with JetStream, when they have a leader.

        Raises TimeoutError if that does not come about, for instance since too few members run.
        """
        wait_for(self._sure, "be usable together")

    def _sure(self) -> bool:
        with suppress(OSError):  # one that is just starting
            return self._usable()
        return False

    def stop(self, name: str) -> None:
        """End one member in an orderly way (SIGTERM); `restart` brings it back with its store."""
        self._member(name).stop()

    def kill(self, name: str) -> None:
        """End one member at once (SIGKILL); `restart` brings it back with its store."""
        self._member(name).kill()

    def restart(self, name: str) -> None:
        """Start one member again, on its ports and its store, and wait until the others know it.

        With JetStream there is nothing to wait for while half of the members, or more, are down.
        """
        self._member(name).restart()
        if not self.jetstream or 2 * len(self._running()) > len(self._members):
            self.wait()

    def close(self) -> None:
        """End all members and remove their stores. May be called again."""
        with ExitStack() as stack:
            for server in self._members.values():
                stack.callback(server.close)
        self._members = {}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        states = (f"{name} {'runs' if each.pid else 'down'}" for name, each in self._members.items())
        return f"<{type(self).__name__} {', '.join(states) or 'not started'}>"

    def _running(self) -> list[NatsServer]:
        return [server for server in self._members.values() if server.pid is not None]

    def _member(self, name: str) -> NatsServer:
        if name not in self._members:
            known = ", ".join(self._members) or "none, before start()"
            raise ServerError(f"there is no member {name!r}; there are: {known}")
        return self._members[name]


class NatsCluster(_Servers):
    """`size` servers on 127.0.0.1 that act as one; members are called n1, n2, …

    Arguments:
        name: of the cluster; members of a named one are called like east-1, east-2.
        jetstream: with JetStream, replicated as each stream asks for.
        config: what all members are configured with, beside their membership.
    """

    def __init__(
        self, size: int = 3, *, name: str | None = None, jetstream: bool = False, config: Config | None = None
    ) -> None:
        super().__init__()
        if size < 1:
            raise ValueError("a cluster has at least one member")
        self.size = size
        self.name = name or "cluster"
        self.jetstream = jetstream
        self._prefix = f"{name}-" if name else "n"
        self._config = config or Config()

    def _build(self) -> dict[str, NatsServer]:
        ports = free_ports(self.size)
        return members(self.name, self._prefix, ports, self._config, jetstream=self.jetstream)

    def _usable(self) -> bool:
        running = self._running()
        known = all(_knows(server, len(running) - 1) for server in running)
        return known and _led(running, self.size) and self._places(running)

    def _places(self, running: list[NatsServer]) -> bool:
        """Whether a stream can be placed on all running members, which the leader's own view does not tell.

        Tried with a stream in memory, which is removed again; not where one must log in.
        """
        locked = self._config.users or self._config.accounts or self._config.tls or self._config.more
        if len(running) < 2 or not self.jetstream or locked:
            return True
        with ThreadPoolExecutor(1) as pool:  # the caller's thread may have a loop that runs
            return pool.submit(asyncio.run, _place(running[0].url, len(running))).result()


class Supercluster(_Servers):
    """Clusters joined by gateways: {"east": 2, "west": 1} has the members east-1, east-2 and west-1.

    Arguments:
        sizes: how many servers each cluster has, by its name.
        config: what all members are configured with, beside their membership.
    """

    def __init__(
        self, sizes: Mapping[str, int], *, jetstream: bool = False, config: Config | None = None
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes.values()) < 1:
            raise ValueError(
                'a super-cluster joins at least two clusters, for example {"east": 2, "west": 1}'
            )
        self.sizes = dict(sizes)
        self.jetstream = jetstream
        self._config = config or Config()

    def of(self, cluster: str) -> list[str]:
        """The addresses of one cluster's members, for a client that lives near them."""
        if cluster not in self.sizes:
            raise ServerError(f"there is no cluster {cluster!r}; there are: {', '.join(self.sizes)}")
        return [self._member(f"{cluster}-{number}").url for number in range(1, self.sizes[cluster] + 1)]

    def _build(self) -> dict[str, NatsServer]:
        total = sum(self.sizes.values())
        ports = iter(free_ports(2 * total))
        routes = {name: [next(ports) for _ in range(size)] for name, size in self.sizes.items()}
        remotes = {name: [next(ports) for _ in range(size)] for name, size in self.sizes.items()}
        found: dict[str, NatsServer] = {}
        for name in self.sizes:
            gateways = [Gateway(name, port, remotes) for port in remotes[name]]
            found |= members(name, f"{name}-", routes[name], self._config, gateways, jetstream=self.jetstream)
        return found

    def _usable(self) -> bool:
        clusters: dict[str, list[NatsServer]] = {name: [] for name in self.sizes}
        for member, server in self._members.items():
            if server.pid is not None:
                clusters[member.rpartition("-")[0]].append(server)
        alive = {name for name, servers in clusters.items() if servers}
        return all(
            _knows(server, len(servers) - 1) and _reaches(server, alive - {name})
            for name, servers in clusters.items()
            for server in servers
        ) and _led(self._running(), len(self._members))


def members(
    cluster: str,
    prefix: str,
    ports: list[int],
    config: Config,
    gateways: list[Gateway] | None = None,
    *,
    jetstream: bool,
) -> dict[str, NatsServer]:
    """One server for each port of `ports`, all in one cluster, none started."""
    found = {}
    for index, port in enumerate(ports):
        # A single member of no super-cluster is a server by itself: as a cluster, its JetStream would wait.
        membership = Cluster(cluster, port, ports) if len(ports) > 1 or gateways else None
        own = replace(config, cluster=membership, gateway=gateways[index] if gateways else None)
        name = f"{prefix}{index + 1}"
        found[name] = NatsServer(jetstream, name=name, config=own)
    return found


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _knows(server: NatsServer, others: int) -> bool:
    """Whether `server` has routes to `others` members."""
    varz: dict[str, Any] = server.monitor.get("/varz")
    return bool(varz.get("remotes", 0) >= others)


def _led(running: list[NatsServer], size: int) -> bool:
    """Whether JetStream, where it is on, has a leader that can place replicas on all running members.

    Of the `size` members of the whole, more than half must run for that.
    """
    if size < 2 or not running or not running[0].jetstream:
        return True
    if 2 * len(running) <= size:
        return False
    for server in running:
        meta: dict[str, Any] = server.monitor.get("/jsz")["meta_cluster"]
        if meta.get("leader") == server.name:
            peers = [
                each for each in meta.get("replicas") or () if each["current"] and not each.get("offline")
            ]
            return len(peers) >= len(running) - 1
    return False


async def _place(url: str, replicas: int) -> bool:
    """Make a stream with so many replicas, and remove it; whether that could be done."""
    try:
        nc = await nats.connect(url, allow_reconnect=False, connect_timeout=1, error_cb=_ignore)
    except (nats.errors.Error, OSError, TimeoutError):
        return False
    js = nc.jetstream(timeout=1)
    try:
        await js.add_stream(name=PROBE, subjects=[PROBE], storage=StorageType.MEMORY, num_replicas=replicas)
        return await js.delete_stream(PROBE)
    except (nats.errors.Error, TimeoutError):
        return False
    finally:
        await nc.close()


async def _ignore(_: Exception) -> None:
    """It is tried again."""


def _reaches(server: NatsServer, clusters: set[str]) -> bool:
    """Whether a gateway leads from `server` to each of `clusters`; each server opens one for itself."""
    return clusters <= set(server.monitor.get("/gatewayz").get("outbound_gateways") or {})
