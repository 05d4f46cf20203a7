"""What the notebooks of this series import: a real nats-server, its wire, and pictures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .binary import ServerError as ServerError
    from .child import Child as Child
    from .cluster import NatsCluster as NatsCluster
    from .cluster import Supercluster as Supercluster
    from .figures import ROLE as ROLE
    from .figures import components as components
    from .figures import picture as picture
    from .figures import sequence as sequence
    from .figures import topology as topology
    from .limits import allow_open_files as allow_open_files
    from .server import NatsServer as NatsServer
    from .server import PortTakenError as PortTakenError
    from .waiting import until as until
    from .wire import trace as trace

_HOME = {
    "Child": "child",
    "NatsCluster": "cluster",
    "NatsServer": "server",
    "PortTakenError": "server",
    "ROLE": "figures",
    "ServerError": "binary",
    "Supercluster": "cluster",
    "allow_open_files": "limits",
    "components": "figures",
    "picture": "figures",
    "sequence": "figures",
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
