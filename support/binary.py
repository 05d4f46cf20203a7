"""The nats-server program: where it is, and whether it is new enough."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

OLDEST = (2, 12)  # see `check_version`
PATIENCE = 10.0  # seconds for it to say its version


class ServerError(RuntimeError):
    """A nats-server cannot be found, started or controlled; the message says why and what to do."""


def find_server() -> Path:
    """The nats-server of this Python environment, else of NATS_SERVER, else of PATH.

    The environment comes first since a nats-server that happens to be on PATH may be years old.
    """
    name = "nats-server.exe" if sys.platform == "win32" else "nats-server"
    own = Path(sysconfig.get_path("scripts")) / name
    if own.is_file():
        return own
    if named := os.environ.get("NATS_SERVER"):
        if Path(named).is_file():
            return Path(named)
        raise ServerError(f"NATS_SERVER names {named}, which is not a file: correct it, or unset it")
    if found := shutil.which("nats-server"):
        return Path(found)
    raise ServerError(
        "nats-server not found in this Python environment, in NATS_SERVER or on PATH: "
        'run "make setup", or set NATS_SERVER to its path'
    )


def check_version(binary: Path) -> tuple[int, ...]:
    """The version of `binary`, for example (2, 15, 1); raise ServerError if it is older than 2.12."""
    version = _version(binary, binary.stat().st_mtime_ns)
    if version < OLDEST:
        raise ServerError(
            f"{binary} is nats-server {'.'.join(map(str, version))}, which is too old: before 2.12 a server "
            "silently ignores configuration that it does not know, so that a notebook would run and mean "
            'something else. Run "make setup", or set NATS_SERVER to a newer one'
        )
    return version


@functools.cache
def _version(binary: Path, _modified: int) -> tuple[int, ...]:
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{binary} cannot be run ({error}): set NATS_SERVER to a nats-server") from error
    found = re.search(r"nats-server: v(\d+)\.(\d+)\.(\d+)", answer.stdout)
    if not found:
        raise ServerError(f"{binary} does not say that it is a nats-server: set NATS_SERVER to one")
    return tuple(map(int, found.groups()))
