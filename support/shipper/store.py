"""Files per host: appended, synced, and noted in a checkpoint, so that each byte is in them exactly once.

A batch of pieces is stored in three steps: the files that are about to be made are noted; the bytes are
appended and synced; and in one transaction it is noted how long each file is now, and up to where each
source is stored. After a crash, files are cut back to what was noted. What arrives again is then
recognised by its source position, and skipped or cut to its new part.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from .positions import RefusedError, lock, make_own
from .source import Position

DAY = 24 * 3600  # seconds
AT_ONCE = 8  # files that are written at the same time: each waits for the disk
REMEMBER = 30  # days for which sources are known after their last byte

_TABLES = """
CREATE TABLE IF NOT EXISTS hosts (host PRIMARY KEY, file, day, whole) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (host, file, day, length, PRIMARY KEY (host, file)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (host, source, stored, day, PRIMARY KEY (host, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (host, source, first, until, day);
CREATE TABLE IF NOT EXISTS reached (origin PRIMARY KEY, sequence) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS belongs (directory PRIMARY KEY) WITHOUT ROWID;
"""


# The newest source of a host stays, however long it is silent.
_FORGET = """
DELETE FROM sources WHERE day < ? AND EXISTS (
    SELECT 1 FROM sources AS other WHERE other.host = sources.host AND other.day > sources.day)
"""


class StoreError(RuntimeError):
    """Nothing of the batch was stored; says why. It can be tried again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes `start`… of a source of a host, with `lines` newlines; `time` is the stream's, in seconds.

    What another program has published has no `start`: then `number`, its sequence in the stream, says
    whether it is new; without a stream nothing does.
    """

    host: str
    source: str
    start: int | None
    data: bytes
    time: float
    lines: int = 0
    after: Position | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes `first` to `until` of a source that never arrived."""

    host: str
    source: str
    first: int
    until: int


@dataclass(slots=True)
class _Host:
    """What is noted of a host: its newest file, that file's day, and whether its last line is whole."""

    file: str = ""
    day: int = -1
    whole: bool = True


@dataclass(slots=True)
class _Batch:
    """What one call of `store` is about to change; taken over only when all of it is on disk."""

    hosts: dict[str, _Host] = field(default_factory=dict)
    stored: dict[tuple[str, str], int] = field(default_factory=dict)  # (host, source) → end
    bytes: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)  # (host, file) → what to append
    days: dict[tuple[str, str], int] = field(default_factory=dict)  # (host, file) → day
    gaps: list[Gap] = field(default_factory=list)
    reached: tuple[str, int] | None = None
    today: int = 0


class Store:
    """All files below one directory, with one writer.

    Arguments:
        directory: where the files go: <directory>/<host>/<output>.
        output: strftime pattern of the files' names, from the beginning of the day (UTC).
        keep: days for which files are kept, counted back from the newest message.
        state: where the checkpoint lives.
        warn: told what is missing, and what somebody else has changed.

    Raises RefusedError if another consumer writes to the directory.
    """

    def __init__(
        self,
        directory: Path,
        *,
        output: str,
        keep: int = 7,
        state: Path | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.directory, self._output, self._keep, self._warn = directory, output, keep, warn
        state = state or directory / ".shipper"
        own = directory / ".shipper"
        make_own(own, "SHIPPER_DIRECTORY")
        make_own(state, "SHIPPER_STATE")
        self._locks = [lock(own / "lock", f"another consumer writes to {directory} already")]
        try:
            if state.resolve() != own.resolve():
                self._locks.append(
                    lock(state / "lock", f"another consumer uses the checkpoint in {state} already")
                )
            self._db = sqlite3.connect(
                state / "checkpoint.sqlite", isolation_level=None, check_same_thread=False
            )
            # WAL: a transaction is one write and one sync (SQLite documentation, "Write-Ahead Logging").
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + _TABLES)
            self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="store")
            rows = self._db.execute("SELECT host, file, day, whole FROM hosts")
            self._hosts = {host: _Host(file, day, bool(whole)) for host, file, day, whole in rows}
            rows = self._db.execute("SELECT host, file, length FROM files")
            self._lengths: dict[tuple[str, str], int] = {(host, file): length for host, file, length in rows}
            self._sources: dict[tuple[str, str], int] = {}
            self._reached: dict[str, int] = dict(self._db.execute("SELECT origin, sequence FROM reached"))
            days = (each.day for each in self._hosts.values())
            self._day = max((day for day in days if day <= _tomorrow()), default=0)
            self._belong(state)
            self._recover()
        except (OSError, sqlite3.Error) as error:
            self._release()
            raise RefusedError(
                f"the checkpoint in {state} cannot be used ({error}): make room if the disk is full, or move "
                "the checkpoint away; then files are appended to, and what comes again is doubled"
            ) from None
        except BaseException:
            self._release()
            raise

    def store(self, pieces: Sequence[Piece], reached: tuple[str, int] | None = None) -> int:
        """Append what is new in `pieces`, in order, and return how many bytes that were.

        `reached` is the origin of the pieces, and the sequence up to which all of it is stored then.
        Raises StoreError if that cannot be done; then the files are as they were.
        """
        batch = _Batch(today=self._day, reached=reached)
        try:
            for piece in pieces:
                self._take(piece, batch)
            self._note_new_files(batch)
            self._write(batch)
            self._commit(batch)
        except (OSError, sqlite3.Error) as error:
            self._cut_back(batch.bytes)
            raise StoreError(_reason(error)) from error
        except BaseException:
            self._cut_back(batch.bytes)
            raise
        self._hosts.update(batch.hosts)
        self._sources.update(batch.stored)
        if batch.reached:
            self._reached[batch.reached[0]] = batch.reached[1]
        for gap in batch.gaps:
            self._warn(f"{gap.host}: bytes {gap.first} to {gap.until} of {gap.source} never arrived")
        if batch.today > self._day:
            self._day = batch.today
            try:
                self._remove_old()
            except (OSError, sqlite3.Error) as error:
                self._warn(f"old files could not be removed: {_reason(error)}; tomorrow again")
        return sum(len(data) for pieces in batch.bytes.values() for data in pieces)

    def gaps(self) -> list[Gap]:
        """All that is known to be missing."""
        return [Gap(*row) for row in self._db.execute("SELECT host, source, first, until FROM gaps")]

    def reached(self, origin: str) -> int | None:
        """The sequence up to which all of an origin is stored; None if that is not known."""
        return self._reached.get(origin)

    def close(self) -> None:
        """Let another consumer write to the directory."""
        self._pool.shutdown()
        self._db.close()
        self._release()

    def _release(self) -> None:
        for each in self._locks:
            each.release()

    def _belong(self, state: Path) -> None:
        """A checkpoint is that of one directory: on another one it would cut the wrong files."""
        directory = str(self.directory.resolve())
        row = self._db.execute("SELECT directory FROM belongs").fetchone()
        if row is None:
            self._db.execute("INSERT INTO belongs VALUES (?)", (directory,))
        elif row[0] != directory:
            raise RefusedError(
                f"the checkpoint in {state} is that of {row[0]}: give {directory} a SHIPPER_STATE of its own"
            )

    # -- what is new --------------------------------------------------------------------------

    def _take(self, piece: Piece, batch: _Batch) -> None:
        key = piece.host, piece.source
        known = batch.stored.get(key)
        stored = self._stored(*key) if known is None else known
        if piece.after and stored == 0:
            before = piece.host, piece.after.source
            until = batch.stored.get(before) or self._stored(*before)
            if until < piece.after.end and (until or piece.host in self._hosts):
                batch.gaps.append(Gap(piece.host, piece.after.source, until, piece.after.end))
                batch.stored[before] = piece.after.end
        if piece.start is None:
            new, reached = piece.data if not piece.number or piece.number > stored else b"", piece.number
        else:
            if piece.start > stored:
                batch.gaps.append(Gap(piece.host, piece.source, stored, piece.start))
            new, reached = piece.data[max(0, stored - piece.start) :], piece.start + len(piece.data)
        if not new:
            return
        host = batch.hosts.get(piece.host)
        if host is None:
            host = batch.hosts[piece.host] = replace(self._hosts.get(piece.host, _Host()))
        day = int(piece.time // DAY)
        if not host.file or (day > host.day and host.whole):  # a line that was begun ends in its file
            host.day = day
            host.file = datetime.fromtimestamp(day * DAY, UTC).strftime(self._output)
        host.whole = piece.start is None or new.endswith(b"\n")
        file = piece.host, host.file
        batch.bytes.setdefault(file, []).append(new)
        batch.days[file] = max(day, host.day)
        # A clock that is ahead must not make all other files old.
        batch.today = max(batch.today, min(day, _tomorrow()))
        batch.stored[key] = reached

    def _stored(self, host: str, source: str) -> int:
        """Up to where a source is stored; 0 if it is not known."""
        if (found := self._sources.get((host, source))) is None:
            query = "SELECT stored FROM sources WHERE host = ? AND source = ?"
            row = self._db.execute(query, (host, source)).fetchone()
            found = self._sources[host, source] = row[0] if row else 0
        return found

    # -- how it gets to disk --------------------------------------------------------------------

    def _note_new_files(self, batch: _Batch) -> None:
        """Before a file is made: so that after a crash it is known to be ours, and cut back."""
        new = [file for file in batch.bytes if file not in self._lengths]
        if not new:
            return
        lengths = {file: self._length(file) for file in new}
        rows = [(*file, batch.days[file], lengths[file]) for file in new]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
        self._lengths.update(lengths)
        for file in new:
            if lengths[file]:
                self._warn(f"{self._path(file)} was there before; it is kept, and appended to")
            self._path(file).parent.mkdir(exist_ok=True)

    def _write(self, batch: _Batch) -> None:
        files = list(batch.bytes.items())
        if len(files) == 1:
            self._append(files[0])
            return
        jobs = [self._pool.submit(self._append, each) for each in files]
        wait(jobs)  # all of them, also if one fails: nobody writes any more when files are cut back
        for job in jobs:
            job.result()

    def _append(self, job: tuple[tuple[str, str], list[bytes]]) -> None:
        file, pieces = job
        path = self._path(file)
        made = not path.exists()
        if made:
            path.parent.mkdir(exist_ok=True)
        with path.open("ab", buffering=0) as output:
            if output.tell() > self._lengths[file]:
                output.truncate(self._lengths[file])  # half written by an attempt that failed
            # Somebody may have emptied or removed it: then go on at its end, as each log writer does.
            self._lengths[file] = min(output.tell(), self._lengths[file])
            for data in pieces:
                view = memoryview(data)
                while view:
                    view = view[output.write(view) :]
            os.fsync(output.fileno())
        if made:
            _sync_directory(path.parent)

    def _commit(self, batch: _Batch) -> None:
        if not batch.bytes and not batch.gaps and not batch.reached:
            return
        added = {file: sum(map(len, pieces)) for file, pieces in batch.bytes.items()}
        lengths = {file: self._lengths[file] + size for file, size in added.items()}
        hosts = [(name, each.file, each.day, each.whole) for name, each in batch.hosts.items()]
        sources = [(*key, stored, batch.today) for key, stored in batch.stored.items()]
        gaps = [(each.host, each.source, each.first, each.until, batch.today) for each in batch.gaps]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO hosts VALUES (?, ?, ?, ?)", hosts)
            self._db.executemany("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", sources)
            self._db.executemany("INSERT INTO gaps VALUES (?, ?, ?, ?, ?)", gaps)
            if batch.reached:
                self._db.execute("INSERT OR REPLACE INTO reached VALUES (?, ?)", batch.reached)
            rows = [(*file, batch.days[file], length) for file, length in lengths.items()]
            self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", rows)
        self._lengths.update(lengths)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    # -- after a crash, a failure, a week -----------------------------------------------------------

    def _recover(self) -> None:
        for file, length in self._lengths.items():
            there = self._length(file)
            if there < length:
                self._warn(
                    f"{self._path(file)} is shorter than what was stored: {there} of {length} bytes are left"
                )
                self._lengths[file] = there
        self._cut_back(self._lengths)

    def _cut_back(self, files: Iterable[tuple[str, str]]) -> None:
        """Leave in the files what is noted of them."""
        for file in files:
            path, length = self._path(file), self._lengths.get(file)
            with contextlib.suppress(OSError):  # it is done again at the next start
                if length == 0:
                    path.unlink(missing_ok=True)
                elif length and path.stat().st_size > length:
                    os.truncate(path, length)

    def _remove_old(self) -> None:
        """Remove files, and forget sources, that are older than they need be."""
        oldest = self._day - self._keep
        rows = self._db.execute("SELECT host, file FROM files WHERE day < ?", (oldest,)).fetchall()
        current = {(host, each.file) for host, each in self._hosts.items()}
        for file in rows:
            self._path(file).unlink(missing_ok=True)
            self._lengths.pop(file, None)
            if file in current:
                self._hosts[file[0]].file = ""
        with self._transaction():
            self._db.execute("DELETE FROM files WHERE day < ?", (oldest,))
            self._db.execute(_FORGET, (self._day - max(REMEMBER, self._keep),))
        self._sources.clear()

    def _path(self, file: tuple[str, str]) -> Path:
        return self.directory / file[0] / file[1]

    def _length(self, file: tuple[str, str]) -> int:
        try:
            return self._path(file).stat().st_size
        except FileNotFoundError:
            return 0


def _tomorrow() -> int:
    return int(time.time() // DAY) + 1


def _sync_directory(path: Path) -> None:
    """So that a new file's name survives a power cut, too (not to be had on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror.lower()}{f' ({error.filename})' if error.filename else ''}"
    return str(error)
