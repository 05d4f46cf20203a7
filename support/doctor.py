"""Say what is there and what is missing, before a learner runs into it."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil

from .binary import ServerError, check_version, find_server
from .child import PREFIX
from .config import HOST
from .limits import allow_open_files
from .server import NatsServer

PROJECT = "nats-notebooks"
OLDEST_PYTHON = (3, 11)
LEAST_FILES = 4096  # open files that part 3 wants for its thousands of connections
LEAST_SPACE = 1 << 30  # bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `stops` says that a learner cannot work like this."""

    what: str
    said: str
    stops: bool = False
    note: bool = False

    @property
    def mark(self) -> str:
        return "✗" if self.stops else "!" if self.note else "✓"

    def __str__(self) -> str:
        return f"{self.mark} {self.what}: {self.said}"


def examine(lock: Path) -> Iterator[Finding]:
    """All findings, in the order in which a learner would need things; `lock` names exact versions."""
    yield _python()
    yield from _packages(lock)
    yield from _server()
    yield from map(_port, (4222, 8222))
    yield _store()
    yield _open_files()
    yield from _left_overs()
    yield _cli()


def _python() -> Finding:
    found = sys.version.partition(" ")[0]
    if sys.version_info < OLDEST_PYTHON:
        return Finding("Python", f"{found} is too old: install Python 3.11 or newer", stops=True)
    return Finding("Python", found)


def _packages(lock: Path) -> Iterator[Finding]:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text() if lock.exists() else "", re.MULTILINE))
    for requirement in requires(PROJECT) or ():
        name = re.match(r"[\w.-]+", requirement)
        if not name or "extra ==" in requirement:
            continue
        try:
            found = version(name[0])
        except PackageNotFoundError:
            yield Finding(name[0], 'missing: run "make setup"', stops=True)
            continue
        wanted = pinned.get(name[0], found)
        if found == wanted:
            yield Finding(name[0], found)
        else:
            yield Finding(
                name[0], f'{found}, while the notebooks were run with {wanted}: "make setup"', note=True
            )


def _server() -> Iterator[Finding]:
    try:
        binary = find_server()
        yield Finding("nats-server", f"{'.'.join(map(str, check_version(binary)))} at {binary}")
        begin = time.perf_counter()
        with NatsServer(jetstream=True):
            took = time.perf_counter() - begin
        yield Finding("a server of our own", f"starts in {took * 1000:.0f} ms, with JetStream, on {HOST}")
    except ServerError as error:
        yield Finding("nats-server", str(error), stops=True)


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        free = probe.connect_ex((HOST, port)) != 0
    if free:
        return Finding(f"port {port}", "free")
    return Finding(f"port {port}", "in use; no matter, servers here choose free ports", note=True)


def _store() -> Finding:
    folder = Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX) as probe:
            (Path(probe) / "probe").write_bytes(b"x" * 4096)
    except OSError as error:
        return Finding("store", f"{folder} cannot be written ({error.strerror}): set TMPDIR", stops=True)
    free = shutil.disk_usage(folder).free
    if free < LEAST_SPACE:
        return Finding(
            "store", f"only {free >> 20} MiB free in {folder}: make room, or set TMPDIR", note=True
        )
    return Finding("store", f"{folder} is writable, {free >> 30} GiB free")


def _open_files() -> Finding:
    allowed = allow_open_files(LEAST_FILES)
    if allowed < LEAST_FILES:
        return Finding("open files", f"at most {allowed}: part 3 measures fewer connections", note=True)
    return Finding("open files", "enough")


def _left_overs() -> Iterator[Finding]:
    """Private directories whose owner has ended.

    The guards remove them, unless the power fails, or the owner is killed in the moment between making
    the directory and starting the guard.
    """
    used: set[str] = set()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            used.update(word for word in process.cmdline() if PREFIX in word)
    found = [
        path
        for path in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*"))
        if not any(str(path) in word for word in used)
    ]
    for path in found:
        yield Finding("left over", f"{path}: nobody uses it, you may remove it", note=True)
    if not found:
        yield Finding("left overs", "none")


def _cli() -> Finding:
    found = shutil.which("nats")
    return (
        Finding("nats CLI", found)
        if found
        else Finding("nats CLI", "not installed; it is optional", note=True)
    )
