"""One nats-server process: find it, start it, know when it is ready, read its log, end it.

    with NatsServer() as server:
        nc = await nats.connect(server.url)

How it finds its port and says that it is ready: NATS documentation, "Ports file" (`--ports_file_dir`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Self

import psutil

from .binary import ServerError, check_version, find_server
from .child import PREFIX, Child, ChildError, LockedError
from .config import HOST, Config
from .log import LogLine, parse_log
from .monitor import Monitor

PATIENCE = 10.0  # seconds to become ready, to stop, to reload
POLL = 0.001  # seconds between two looks


class PortTakenError(ServerError):
    """The port that was asked for is in use."""


class NatsServer:
    """A real nats-server on 127.0.0.1, which ends when its owner ends, however that happens.

        server = NatsServer().start()           # ... server.close()
        with NatsServer(jetstream=True) as server: ...

    Arguments:
        jetstream: switch JetStream on.
        name: the server's name; None lets the server choose one.
        port: a fixed port; None lets the server choose a free one, which it then keeps.
        store_dir: where JetStream stores its messages, kept at the end; None for a private temporary
            directory, removed at the end.
        config: more configuration: a `Config`, text in nats-server's format, or a path to such a file.
        debug, trace: what goes into the log; see also `reload`.
    """

    def __init__(
        self,
        jetstream: bool = False,
        *,
        name: str | None = None,
        port: int | None = None,
        store_dir: str | Path | None = None,
        config: Config | str | Path | None = None,
        debug: bool = False,
        trace: bool = False,
    ) -> None:
        if store_dir is not None and not jetstream:
            raise ValueError("store_dir is JetStream's: say NatsServer(jetstream=True, store_dir=...)")
        if port is not None and not (isinstance(port, int) and 0 < port < 65536):
            raise ValueError(f"{port!r} is no port: give a number from 1 to 65535, or leave it out")
        self.jetstream = jetstream
        self.name = name
        self._store_dir = None if store_dir is None else Path(store_dir).resolve()
        self._config = config
        self._debug = debug
        # Without SIGHUP (on Windows) a running server cannot be told to begin to trace.
        self._trace = trace or not hasattr(signal, "SIGHUP")
        self._port = port
        self._directory: Path | None = None
        self._child: Child | None = None
        self._monitor: Monitor | None = None
        self._version = ""

    # -- its life -----------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it and return when a client can connect; nothing to do if it runs.

        Raises:
            PortTakenError: `port` is in use.
            ServerError: anything else that prevents it, with the last lines of its log.
        """
        if self.pid is not None:
            return self
        binary = find_server()
        check_version(binary)
        first = self._directory is None
        try:
            self._prepare()
            self._check(binary)
            self._launch(binary)
            self._await_ready()
        except BaseException as error:
            explained = self._explain(error)
            if first:
                self.close()
            else:
                self.kill()
            if explained is error:
                raise
            raise explained from None  # it says all that there is to say
        return self

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM); port and store stay for `restart`. May be repeated."""
        self._end("terminate")

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; port and store stay for `restart`."""
        self._end("kill")

    def restart(self) -> Self:
        """Stop it if it runs, and start it on the same port and the same store."""
        self.stop()
        return self.start()

    def lame_duck(self) -> None:
        """Ask it to send its clients elsewhere, one after the other, and to end then (SIGUSR2)."""
        self._running().signal(_unix_signal("SIGUSR2", "lame duck mode"))

    def close(self) -> None:
        """Stop it and remove its private directory: the end. `start` would begin anew."""
        if self._child:
            try:
                self.stop()
            except TimeoutError:  # a lame duck takes its time
                self.kill()
            self._child.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._child = self._directory = self._monitor = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is known of it ------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What a client connects to, for example nats://127.0.0.1:4222."""
        return f"nats://{HOST}:{self.port}"

    @property
    def port(self) -> int:
        """The port on which it listens for clients; the same again after a restart."""
        if self._port is None:
            raise ServerError("the server chooses its port when it starts: call start() first")
        return self._port

    @property
    def pid(self) -> int | None:
        """The process id of nats-server while it runs, else None."""
        return self._child.pid if self._child else None

    @property
    def version(self) -> str:
        """The version of nats-server, for example "2.15.1"."""
        return self._version or ".".join(map(str, check_version(find_server())))

    @property
    def monitor(self) -> Monitor:
        """Its monitoring endpoints, typed: `monitor.varz()`, `connz()`, `subsz()`, `jsz()`."""
        if self._monitor is None:
            raise ServerError("the server has not been started: call start() first")
        return self._monitor

    @property
    def log_file(self) -> Path:
        """The file that holds its log, which goes on through restarts."""
        if self._directory is None:
            raise ServerError("the server has not been started: call start() first")
        return self._directory / "log"

    def log(self) -> list[LogLine]:
        """Its log so far, the oldest line first."""
        return parse_log(self.log_file.read_text("utf-8", "replace"))

    @property
    def tracing(self) -> bool:
        """Whether the log shows each protocol message."""
        return self._trace

    def reload(self, *, debug: bool | None = None, trace: bool | None = None) -> None:
        """Change what goes into the log while it runs, and return when that is in force (SIGHUP)."""
        running, number = self._running(), _unix_signal("SIGHUP", "a reload")
        before = self._debug, self._trace
        self._debug = self._debug if debug is None else debug
        self._trace = self._trace if trace is None else trace
        self._write_config()
        seen = self.log_file.stat().st_size

        def reloaded() -> bool:
            # What clients send stands in the log, too, but not on lines of this level.
            said = [line for line in parse_log(self._log_from(seen)) if line.level in ("INF", "ERR")]
            for line in said:
                if line.text.startswith("Failed to reload server configuration"):
                    raise ServerError(f"nats-server: {line.text}")
            return any(line.text.startswith("Reloaded server configuration") for line in said)

        running.signal(number)
        try:
            wait_for(reloaded, "reload")
        except BaseException:
            self._debug, self._trace = before
            raise

    def __repr__(self) -> str:
        state = f"at {self.url}, pid {self.pid}" if self.pid else "not running"
        words = ["nats-server", self.version, self.name, "with JetStream" if self.jetstream else None, state]
        return f"<{' '.join(word for word in words if word)}>"

    def _repr_html_(self) -> str:
        running = self.pid is not None
        rows = {
            "state": "● running" if running else "○ not running",
            "version": self.version,
            "name": self.name or "its own choice",
            "url": self.url if running else "none",
            "JetStream": "on" if self.jetstream else "off",
            "connections": self.monitor.varz().connections if running else 0,
        }
        body = "".join(f"<tr><th>{key}</th><td>{escape(str(value))}</td></tr>" for key, value in rows.items())
        return f"<table><caption>nats-server</caption>{body}</table>"

    # -- inside -------------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            self._directory = self._directory or Path(tempfile.mkdtemp(prefix=PREFIX))
            self._write_config()
        except OSError as error:
            raise ServerError(
                f"nothing can be written to {tempfile.gettempdir()} ({error.strerror}): "
                "free some space, or set TMPDIR to another folder"
            ) from error
        for left_over in self._directory.glob("*.ports"):  # by a server that was killed
            left_over.unlink()
        if self._store_dir:
            try:
                self._store_dir.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ServerError(
                    f"the store {self._store_dir} cannot be made ({error.strerror}): "
                    "give NatsServer a store_dir that you may write to"
                ) from error

    def _write_config(self) -> None:
        assert self._directory
        lines = [f"debug: {str(self._debug).lower()}", f"trace: {str(self._trace).lower()}"]
        if self.name:
            lines.append(f"server_name: {json.dumps(self.name, ensure_ascii=False)}")
        if isinstance(self._config, Path):
            # nats-server takes an included path as relative, always.
            path = os.path.relpath(self._config.resolve(), self._directory.resolve())
            lines.insert(0, f'include "{Path(path).as_posix()}"')
        elif self._config:
            lines.insert(0, str(self._config))
        self._file.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _check(self, binary: Path) -> None:
        """Let the server read its configuration before it is started with it."""
        if not self._config:
            return
        command: list[str | Path] = [binary, "-t", "-c", self._file]
        checked = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        if checked.returncode:
            said = checked.stderr.strip().removeprefix("nats-server: ").replace(f"{self._file}:", "line ")
            raise ServerError(f"nats-server refuses this configuration: {said}")

    def _launch(self, binary: Path) -> None:
        assert self._directory
        command: list[str | Path] = [binary, "-a", HOST, "-p", str(self._port or -1), "-m", "-1"]
        command += ["-c", self._file, "--ports_file_dir", self._directory]
        # Said in any case: a configuration may switch JetStream on, too, and the default is shared by all.
        command += ["-sd", self._store_dir or self._directory / "store"]
        if self.jetstream:
            command.append("-js")
        lock = self._store_dir / ".in-use" if self._store_dir else None
        before = self._child
        self._child = Child(command, log=self._directory / "log", directory=self._directory, lock=lock)
        if before:
            before.close(keep=True)  # only now: at any moment one guard answers for the directory

    def _await_ready(self) -> None:
        """Three ways out: a client can connect; the server has ended; it takes too long."""
        child, directory = self._running(), self._directory
        assert directory
        ports: dict[str, list[str]] = {}

        def reported() -> bool:
            if child.pid is None:
                raise ServerError("it ended before it was ready")
            for path in directory.glob("*.ports"):
                with suppress(json.JSONDecodeError, FileNotFoundError):  # not yet written to its end
                    ports.update(json.loads(path.read_text()))
            return bool(ports)

        def healthy() -> bool:
            if child.pid is None:
                raise ServerError("it ended before it was ready")
            # Asked over HTTP: a client to try it with would be seen in the server's log and counts.
            with suppress(OSError):
                return bool(monitor.get(health)["status"] == "ok")
            return False

        # The JetStream of a member is healthy only with others: they are waited for by the cluster.
        member = isinstance(self._config, Config) and self._config.cluster
        health = "/healthz?js-enabled-only=true" if member else "/healthz"
        wait_for(reported, "become ready")
        monitor = Monitor(ports["monitoring"][0])
        if self._config:
            _refuse_other_addresses(child)
        wait_for(healthy, "become healthy")
        self._port = int(ports["nats"][0].rpartition(":")[2])
        self._monitor = monitor

    def _explain(self, error: BaseException) -> BaseException:
        """The error that tells the reader why the start failed, with the end of the log."""
        if isinstance(error, LockedError):
            return ServerError(
                f"the store {self._store_dir} is in use by another server: two servers on one store lose "
                "messages, so stop the other one, or give this one a store_dir of its own"
            )
        if not isinstance(error, (ChildError, ServerError, TimeoutError)) or not self._directory:
            return error
        if not self.log_file.exists():
            return ServerError(str(error))
        text = self.log_file.read_text("utf-8", "replace")
        tail = "".join(f"\n    {line}" for line in text.splitlines()[-8:])
        said = f"\nThe last lines of its log:{tail}" if tail else ""
        this_start = text.rpartition("Starting nats-server")[2]
        if taken := re.search(r"listen tcp ([\d.]+):(\d+): bind: address already in use", this_start):
            return PortTakenError(
                f"port {taken[2]} on {taken[1]} is taken by another program: stop that program, choose "
                f"another port, or leave port out and let the server find a free one{said}"
            )
        causes = re.findall(r"(?:\[FTL\]|^nats-server:) (.*)", text, re.MULTILINE)
        return ServerError(f"nats-server did not start: {causes[-1] if causes else error}{said}")

    @property
    def _file(self) -> Path:
        assert self._directory
        return self._directory / "server.conf"

    def _running(self) -> Child:
        if self._child is None or self._child.pid is None:
            raise ServerError("the server does not run: call start() first")
        return self._child

    def _log_from(self, offset: int) -> str:
        with self.log_file.open("rb") as log:
            log.seek(offset)
            return log.read().decode("utf-8", "replace")

    def _end(self, how: str) -> None:
        if self._child:
            self._child.signal(how)
            self._child.wait(PATIENCE)


# -- small things -----------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Return when `condition()` is true; raise TimeoutError after `PATIENCE` seconds. Blocks."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nats-server did not {what} within {PATIENCE:.0f} s")
        time.sleep(POLL)


def _unix_signal(name: str, what: str) -> int:
    number: int | None = getattr(signal, name, None)
    if number is None:
        raise ServerError(f"{what} needs the signal {name}, which this system does not have")
    return number


def _refuse_other_addresses(child: Child) -> None:
    """A configuration can open more listeners; none may be reachable from outside."""
    pid = child.pid
    try:
        connections = psutil.Process(pid).net_connections(kind="inet") if pid else None
    except psutil.NoSuchProcess:
        connections = None
    if connections is None:
        raise ServerError("it ended before it was ready")
    listening = {c.laddr for c in connections if c.status == psutil.CONN_LISTEN}
    if outside := sorted(f"{ip}:{port}" for ip, port in listening if ip not in (HOST, "::1")):
        raise ServerError(
            f"its configuration makes it listen on {', '.join(outside)}, open to the network: "
            f'write listen: "{HOST}:-1" there'
        )
