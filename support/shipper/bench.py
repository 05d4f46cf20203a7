"""How fast on this machine."""

from __future__ import annotations


def bench() -> None:
    """To come."""
