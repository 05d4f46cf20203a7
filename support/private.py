"""A directory of one's own that is removed at the end, also when its owner is killed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Self

from .child import PREFIX, Child

_WAIT = "import time\nwhile True: time.sleep(3600)"


class PrivateDirectory:
    """A temporary directory that only this user can read, for as long as its owner lives.

        with PrivateDirectory() as here:
            (here.path / "app.log").write_text("...")

    `tempfile.TemporaryDirectory` stays behind when a kernel is killed; this one is then removed by the
    guard process of a `Child` that does nothing.
    """

    def __init__(self) -> None:
        directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self.path = directory / "files"
        self.path.mkdir()
        try:
            self._keeper = Child([sys.executable, "-I", "-S", "-c", _WAIT], directory=directory)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise

    def close(self) -> None:
        """Remove it with everything in it. May be called again."""
        self._keeper.close()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "<private directory>"
