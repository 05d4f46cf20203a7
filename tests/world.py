"""What a test of the shipper works with: its commands as real processes, their files, what was stored."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self

from support import Child, NatsServer, Processes
from support.processes import SHIPPER as COMMAND

SHIPPER = [*COMMAND]


class World:
    """The shipper's processes on one NATS, below one folder. All end with the `with` block."""

    server: NatsServer

    def __init__(self, folder: Path, url: str, **more: str) -> None:
        self.folder, self.out = folder, folder / "out"
        self.settings = {
            "NATS_URL": url,
            "SHIPPER_SUBJECT": "logs",
            "SHIPPER_STREAM": "LOGS",
            "SHIPPER_DIRECTORY": str(self.out),
            "SHIPPER_OUTPUT": "log-%Y%m%d",
            **more,
        }
        self._processes = Processes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def environment(self, host: str | None, **more: str) -> dict[str, str]:
        """The settings of one process; of the producer of `host`, if one is named."""
        own = {}
        if host:
            own = {
                "HOSTNAME": host,
                "SHIPPER_FILE": str(self.log(host)),
                "SHIPPER_STATE": str(self.folder / "state" / host),
            }
        return {**self.settings, **own, **more}

    def log(self, host: str) -> Path:
        """The file that the producer of `host` follows."""
        path = self.folder / "logs" / host / "app.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, host: str, data: bytes) -> None:
        """Append to the log of `host`."""
        with self.log(host).open("ab") as file:
            file.write(data)

    def run(
        self, *words: str, host: str | None = None, timeout: float = 30, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the shipper to its end."""
        environment = os.environ | self._processes.environment(**self.environment(host, **more))
        return subprocess.run(
            [*SHIPPER, *words], env=environment, capture_output=True, text=True, timeout=timeout
        )

    def done(self, *words: str, host: str | None = None, **more: str) -> str:
        """Run a command, which must succeed, and return all that it said."""
        result = self.run(*words, host=host, **more)
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    def start(self, *words: str, host: str | None = None, **more: str) -> Child:
        """Start a command in the background."""
        return self._processes.start(*words, **self.environment(host, **more))

    def ship(self, *hosts: str) -> None:
        """Ship all that is in the hosts' logs, and store it."""
        for host in hosts:
            self.done("producer", "--once", host=host)
        self.done("consumer", "--until-idle", "0.3")

    def stored(self, host: str) -> bytes:
        """All that is stored of a host, the oldest file first."""
        return b"".join(path.read_bytes() for path in sorted((self.out / host).glob("*")))
