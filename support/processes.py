"""The commands of the log shipper as real processes, beside a notebook or a test."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from .child import Child
from .waiting import until

SHIPPER = (sys.executable, "-m", "support.shipper")
OURS = ("NATS_", "SHIPPER_")  # how the names of the shipper's variables begin


class Processes:
    """Processes that share some settings, and that all end with the block, the kernel or `close`.

        with Processes(NATS_URL=server.url, SHIPPER_SUBJECT="logs") as shipper:
            consumer = shipper.start("consumer", SHIPPER_DIRECTORY=out)
            await shipper.run("producer", "--once", HOSTNAME="web1.example.net", SHIPPER_FILE=log)
            print(consumer.output())

    The settings are environment variables; of this process's own environment, none of the shipper's
    variables is passed on.
    """

    def __init__(self, **settings: str | Path | None) -> None:
        self.settings = settings
        self._children: list[Child] = []

    def environment(self, **more: str | Path | None) -> dict[str, str]:
        """What a process sees: the shared settings and `more`; None is as if it were not set."""
        hidden = {name: "" for name in os.environ if name.startswith(OURS) or name == "HOSTNAME"}
        return hidden | {name: str(value or "") for name, value in {**self.settings, **more}.items()}

    def start(self, *words: str, **more: str | Path | None) -> Child:
        """Start a command, for example `start("producer", HOSTNAME="web1.example.net")`.

        Its output is kept until `close`: see `Child.output`.
        """
        child = Child([*SHIPPER, *words], environment=self.environment(**more))
        self._children.append(child)
        return child

    async def run(self, *words: str, timeout: float = 20.0, **more: str | Path | None) -> str:
        """Run a command to its end, and return all that it said.

        Raises RuntimeError, with what it said, if it fails; TimeoutError after `timeout` seconds.
        """
        child = self.start(*words, **more)
        try:
            await until(lambda: child.pid is None, timeout=timeout)
            if child.status != 0:
                raise RuntimeError(f"{' '.join(words)} failed ({child.status}): {child.output().strip()}")
            return child.output()
        finally:
            child.close()
            if child in self._children:  # `close` may have been called meanwhile
                self._children.remove(child)

    def close(self) -> None:
        """End all of them, and let go of their output. May be called again."""
        with ExitStack() as stack:
            while self._children:
                stack.callback(self._children.pop().close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{sum(child.pid is not None for child in self._children)} processes>"
