"""What a producer remembers between its runs: the files it has shipped, and how far."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import filelock

from .notices import Notices
from .source import Position

REMEMBERED = 500  # sources, the newest ones, from one run to the next


class RefusedError(RuntimeError):
    """This program must not run, since another one does the same work; says which."""


@dataclass(slots=True)
class Known:
    """A source: the file with this `inode`, shipped up to `end`; `check` is that of the bytes before.

    The last part of the name of a source is when (ns) it was met for the first time.
    """

    source: str
    inode: int
    end: int = 0
    check: int = 0
    changed: int = 0  # when (ns) its file was last written to, as far as it was read

    @property
    def position(self) -> Position:
        return Position(self.source, self.end, self.check)


@dataclass(slots=True)
class Positions:
    """The sources in the order in which they were shipped, kept in a file; the newest is last.

    `sequence` is the stream sequence of the last acknowledged message, `created` when that stream was,
    `subject` where it was published.
    """

    path: Path
    sources: list[Known] = field(default_factory=list)
    sequence: int = 0
    created: str = ""
    subject: str = ""
    notices: Notices = field(default_factory=Notices)

    @classmethod
    def load(cls, path: Path, notices: Notices | None = None) -> Positions:
        """Read the file; nothing is known where there is none, or where it cannot be read."""
        notices = notices or Notices()
        try:
            saved: dict[str, Any] = json.loads(path.read_text())
            sources = [Known(**each) for each in saved["sources"]][-REMEMBERED:]
            return cls(
                path,
                sources,
                int(saved["sequence"]),
                str(saved["created"]),
                str(saved.get("subject", "")),
                notices,
            )
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError) as error:
            notices.warn(f"the positions in {path} cannot be read ({error}): going on without them")
        return cls(path, notices=notices)

    def save(self) -> None:
        """Replace the file, in one step that no crash can leave half done.

        Where that cannot be done, it is said, and tried again the next time: the stream knows better anyway.
        """
        try:
            self._save()
        except OSError as error:
            self.notices.trouble("positions", f"cannot save positions in {self.path}: {error.strerror}")
        else:
            self.notices.over("positions", "positions are saved again")

    def _save(self) -> None:
        saved = {
            "sources": [asdict(each) for each in self.sources],
            "sequence": self.sequence,
            "created": self.created,
            "subject": self.subject,
        }
        new = self.path.with_suffix(".new")
        with new.open("w") as file:
            json.dump(saved, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def add(self, known: Known) -> None:
        """Note a source, in its place among the others: by the time in its name."""
        self.sources.append(known)
        self.sources.sort(key=met_at)

    def find(self, source: str) -> Known | None:
        """What is known of a source."""
        return next((each for each in reversed(self.sources) if each.source == source), None)

    def reach(self, position: Position) -> None:
        """Note that a known source is shipped up to `position`."""
        if known := self.find(position.source):
            known.end, known.check = position.end, position.check


def met_at(known: Known) -> int:
    """When a source was met for the first time (ns), by its name."""
    try:
        return int(known.source.rpartition("-")[2], 16)
    except ValueError:
        return 0  # named by another program


def state_file(directory: Path, host: str, file: Path) -> Path:
    """Where the positions of one file of one host are kept, in a directory that is made if need be."""
    make_own(directory, "SHIPPER_STATE")
    return directory / f"{host}-{zlib.crc32(os.fsencode(file.absolute())):08x}.json"


def make_own(directory: Path, variable: str) -> None:
    """Make a directory if need be, and see that it can be written to; raise RefusedError if it cannot."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise RefusedError(
            f"nothing can be written to {directory} ({error.strerror}): "
            f"set {variable} to a directory that you may write to"
        ) from None


def lock(path: Path, otherwise: str) -> filelock.BaseFileLock:
    """Lock `path` until `release`, or until this process ends; raise RefusedError with `otherwise`."""
    held = filelock.FileLock(path, timeout=0)
    try:
        held.acquire()
    except filelock.Timeout:
        raise RefusedError(otherwise) from None
    return held
