"""What the notebooks of this series import: a real nats-server, its wire, and pictures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .binary import ServerError as ServerError
    from .certificates import CertificateAuthority as CertificateAuthority
    from .child import Child as Child
    from .cluster import NatsCluster as NatsCluster
    from .cluster import Supercluster as Supercluster
    from .credentials import Operator as Operator
    from .figures import ROLE as ROLE
    from .figures import components as components
    from .figures import deliveries as deliveries
    from .figures import partitions as partitions
    from .figures import picture as picture
    from .figures import scoreboard as scoreboard
    from .figures import sequence as sequence
    from .figures import stream as stream
    from .figures import topology as topology
    from .limits import allow_open_files as allow_open_files
    from .limits import full_disk as full_disk
    from .logs import host_names as host_names
    from .logs import log_lines as log_lines
    from .private import PrivateDirectory as PrivateDirectory
    from .processes import Processes as Processes
    from .server import NatsServer as NatsServer
    from .server import PortTakenError as PortTakenError
    from .waiting import until as until
    from .wire import trace as trace

_HOME = {
    "CertificateAuthority": "certificates",
    "Child": "child",
    "NatsCluster": "cluster",
    "NatsServer": "server",
    "Operator": "credentials",
    "PortTakenError": "server",
    "PrivateDirectory": "private",
    "Processes": "processes",
    "ROLE": "figures",
    "ServerError": "binary",
    "Supercluster": "cluster",
    "allow_open_files": "limits",
    "components": "figures",
    "deliveries": "figures",
    "full_disk": "limits",
    "host_names": "logs",
    "log_lines": "logs",
    "partitions": "figures",
    "picture": "figures",
    "scoreboard": "figures",
    "sequence": "figures",
    "stream": "figures",
    "topology": "figures",
    "trace": "wire",
    "until": "waiting",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    # Each name is imported when it is first used: a program below `support` does not wait for matplotlib.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return list(__all__)
