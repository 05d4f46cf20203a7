"""A process that never outlives the one that started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

GUARD = Path(__file__).with_name("_guard.py")
PREFIX = "nats-notebook-"  # of private directories in the temporary folder
PATIENCE = 10.0  # seconds for a guard to end its command


class ChildError(RuntimeError):
    """A child process could not be started."""


class LockedError(ChildError):
    """Another process holds the lock that the child needs."""


class Child:
    """A command, run as a process that ends when its owner ends, however that happens.

        with Child([sys.executable, "service.py"]) as service:
            ...
            service.kill()

    The owner is this Python process. It may end normally, by an exception, by a restart of the
    kernel or by SIGKILL: the command is ended by a guard process that waits for just that (see
    `_guard.py`). Ctrl-C in the owner does not reach the command.

    Arguments:
        command: the program and its arguments.
        log: file to which everything that the command prints is appended; None for one in `directory`.
        directory: removed with everything in it at the end; None for a new temporary one.
        lock: file that is locked while the command lives; None for no lock.
        environment: variables to add to this process's own.

    Raises:
        LockedError: another process holds `lock`.
        ChildError: the command could not be run at all.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path | None = None,
        directory: Path | None = None,
        lock: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        given = directory is not None
        self._directory = directory = directory or Path(tempfile.mkdtemp(prefix=PREFIX))
        self.log = log or directory / "log"
        guard = [sys.executable, "-I", "-S", GUARD, directory, lock or ""]
        with self.log.open("ab") as output:
            self._guard: subprocess.Popen[bytes] = subprocess.Popen(
                [str(word) for word in (*guard, *command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env={**os.environ, **(environment or {})},
                **_APART,
            )
        self._release = weakref.finalize(self, _release, self._guard, directory)
        _children.add(self)
        said = self._said()
        self._process: psutil.Process | None = None
        self._status: int | None = None
        if said.isdigit():
            with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended already
                self._process = psutil.Process(int(said))
            return
        self.close(keep=given)
        if said == "locked":
            raise LockedError("another process holds the lock")
        raise ChildError(said or "the guard process ended unexpectedly")

    @property
    def pid(self) -> int | None:
        """Its process id while it runs, else None."""
        with contextlib.suppress(psutil.NoSuchProcess):
            if self._process and self._process.status() != psutil.STATUS_ZOMBIE:
                return self._process.pid
        return None

    @property
    def status(self) -> int | None:
        """Its exit status once it has ended by itself: 0 for success, -9 for SIGKILL; else None."""
        if self._status is None and self.pid is None and self._guard.stdout and not self._guard.stdout.closed:
            said = self._said()
            self._status = int(said) if said else None
        return self._status

    def output(self) -> str:
        """What it has printed so far; nothing is left of it after `close`."""
        return self.log.read_text("utf-8", "replace")

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self.signal("terminate")

    def kill(self) -> None:
        """End it at once, with no chance to tidy up (SIGKILL)."""
        self.signal("kill")

    def signal(self, signal: int | str) -> None:
        """Send it a signal; "terminate" and "kill" work on every system. No error if it has ended."""
        if self._process:
            with contextlib.suppress(psutil.NoSuchProcess):
                if isinstance(signal, str):
                    getattr(self._process, signal)()
                else:
                    self._process.send_signal(signal)

    def wait(self, timeout: float = PATIENCE) -> None:
        """Wait until it has ended; raise TimeoutError after `timeout` seconds."""
        if self._process:
            try:
                self._process.wait(timeout)
            except psutil.TimeoutExpired:
                raise TimeoutError(f"process {self._process.pid} still runs after {timeout} s") from None

    def close(self, *, keep: bool = False) -> None:
        """End it if it still runs, and remove `directory` unless `keep`. May be called again."""
        _children.discard(self)
        if self._release.detach():
            _release(self._guard, None if keep else self._directory)

    def _said(self) -> str:
        """The guard's next line; empty if there is none any more."""
        assert self._guard.stdout
        return self._guard.stdout.readline().decode().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Child {f'pid {self.pid}' if self.pid else 'ended'}>"


_children: weakref.WeakSet[Child] = weakref.WeakSet()


def _let_go() -> None:
    """In a fork of the owner: the children stay the owner's, and so does its end of the life lines."""
    for child in _children:
        child._release.detach()
        if child._guard.stdin:
            with contextlib.suppress(OSError, ValueError):
                os.close(child._guard.stdin.fileno())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)

# A session of its own, so that an interrupt of the notebook's kernel does not reach the command.
_APART: dict[str, Any] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if sys.platform == "win32"
    else {"start_new_session": True}
)


def _release(guard: subprocess.Popen[bytes], remove: Path | None) -> None:
    assert guard.stdin
    assert guard.stdout
    guard.stdout.close()
    with contextlib.suppress(BrokenPipeError), guard.stdin as life_line:
        if not remove:
            life_line.write(b"k")
    guard.wait(PATIENCE)
    if remove:
        # The guard has done it, unless it was killed.
        shutil.rmtree(remove, ignore_errors=True)
