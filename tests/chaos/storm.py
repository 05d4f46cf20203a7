"""A storm: writers, producers, consumers at work while all around them is killed, cut and filled up.

The schedule follows from a seed. At the end each host's stored bytes must be those that were written.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import psutil
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from world import World

from support import Child, NatsServer

HOSTS = ["web1.example.net", "web2.example.net", "db1.example.net", "mail"]
PARTITIONS = 3
LONG = 100  # kills from which on it shows how far it is
COLUMNS = (
    *Progress.get_default_columns(),
    MofNCompleteColumn(),
    TextColumn("{task.fields[written]:,.0f} MB written"),
)


class Proxy:
    """A way to the server that can be cut, on a port of its own."""

    def __init__(self, server: NatsServer) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._transports: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(5)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break all connections in the middle of whatever they carry."""

        def abort() -> None:
            for each in list(self._transports):
                each.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", 0))
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        listening.close()
        for each in list(self._transports):
            each.transport.abort()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._server.port)
        except OSError:
            writer.transport.abort()
            return
        self._transports |= {writer, back}
        await asyncio.gather(_copy(reader, back), _copy(there, writer))
        self._transports -= {writer, back}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


class Writer(threading.Thread):
    """Writes numbered lines of all kinds to one host's log, and rotates it in one of two ways."""

    def __init__(self, world: World, host: str, seed: int, *, copies: bool, rate: float) -> None:
        super().__init__(daemon=True)
        self.world, self.host, self.copies, self._rate = world, host, copies, rate
        self._random = random.Random(f"{seed} {host}")
        self.written = bytearray()
        self._lock, self._end = threading.Lock(), threading.Event()
        world.log(host).touch()

    def run(self) -> None:
        number = 0
        while not self._end.wait(self._random.expovariate(self._rate)):
            with self._lock:
                lines = []
                for _ in range(self._random.choice([1, 1, 5, 200])):
                    number += 1
                    lines.append(b"%s %08d " % (self.host.encode(), number) + self._noise() + b"\n")
                self._write(b"".join(lines))

    def _noise(self) -> bytes:
        kind = self._random.randrange(20)
        if kind == 0:
            return self._random.randbytes(40).replace(b"\n", b"\0")
        if self._random.randrange(2000) == 0:  # one a second, so that a soak does not fill the disk
            return b"x" * self._random.randrange(200_000)
        return b"y" * self._random.randrange(150) + b"\r" * (kind == 2)

    def _write(self, data: bytes) -> None:
        self.written += data
        cut = self._random.randrange(len(data))  # a reader may see half of a line
        for part in data[:cut], data[cut:]:
            self.world.write(self.host, part)

    def rotate(self) -> None:
        """Rename the log, or copy it and cut it to nothing; three older ones stay."""
        with self._lock:
            log = self.world.log(self.host)
            for number in range(30, 0, -1):
                with suppress(FileNotFoundError):
                    log.with_name(f"app.log.{number}").rename(log.with_name(f"app.log.{number + 1}"))
            if self.copies:
                shutil.copyfile(log, log.with_name("app.log.1"))
                os.truncate(log, 0)
            else:
                log.rename(log.with_name("app.log.1"))
                log.touch()

    def stop(self) -> None:
        self._end.set()
        self.join(10)


@dataclass
class Storm:
    """One run. `kills` processes are killed; between two events pass about `pause` seconds."""

    world: World
    seed: int
    kills: int
    pause: float = 0.5
    rate: float = 40.0
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._proxy = Proxy(self.world.server)
        self.world.settings |= {
            "NATS_URL": self._proxy.url,
            "SHIPPER_PARTITIONS": str(PARTITIONS),
            "SHIPPER_READ_PARTITIONS": f"0-{PARTITIONS - 1}",
        }
        self.world.done("setup")
        self._writers = {
            host: Writer(self.world, host, self.seed, copies=bool(number % 2), rate=self.rate)
            for number, host in enumerate(HOSTS)
        }
        self._producers: dict[str, Child] = {}

    def run(self) -> None:
        """All of it; returns when everything is still again."""
        print(f"the seed is {self.seed}")
        for host, writer in self._writers.items():
            self._producers[host] = self.world.start("producer", host=host)
            writer.start()
        self._consumer = self.world.start("consumer")
        # What is rotated away before a producer has ever seen it is not its to ship.
        deadline = time.monotonic() + 60
        while not all(self.world.stored(host) for host in HOSTS):
            assert time.monotonic() < deadline, "not everything has begun within 60 s"
            time.sleep(0.05)
        events: list[Callable[[], None]] = [self.kill_consumer, self.kill_server]
        events += [self.kill_producer] * 3 + [self.rotate] * 3 + [self.fill_disk, self.cut, self.forget]
        try:
            with Progress(*COLUMNS, disable=self.kills < LONG) as progress:
                task = progress.add_task("killed", total=self.kills, written=0.0)
                while self.done["kills"] < self.kills:
                    time.sleep(self._random.uniform(0.2, 1.8) * self.pause)
                    self._random.choice(events)()
                    progress.update(task, completed=self.done["kills"], written=self.written / 1e6)
        finally:
            for writer in self._writers.values():
                writer.stop()
            self._still()
            self._proxy.close()

    def _still(self) -> None:
        """Let everything end in good order, and ship what is left."""
        for child in (*self._producers.values(), self._consumer):
            child.terminate()
            child.wait(30)
        for host in HOSTS:
            self.world.done("producer", "--once", host=host, timeout=60)
        said = self.world.done("consumer", "--until-idle", "1")
        print(said, dict(self.done))

    def losses(self) -> dict[str, tuple[int, int, int]]:
        """For each host whose bytes differ: lines lost, doubled, reordered."""
        return {
            host: compare(bytes(writer.written), self.world.stored(host))
            for host, writer in self._writers.items()
            if bytes(writer.written) != self.world.stored(host)
        }

    @property
    def written(self) -> int:
        return sum(len(writer.written) for writer in self._writers.values())

    # -- what happens -------------------------------------------------------------------------

    def kill_producer(self) -> None:
        host = self._random.choice(HOSTS)
        self._producers[host].kill()
        self._producers[host].wait()
        self._producers[host].close()
        self._producers[host] = self.world.start("producer", host=host)
        self.done.update(["kills", "producer"])

    def kill_consumer(self) -> None:
        self._consumer.kill()
        self._consumer.wait()
        self._consumer.close()
        self._consumer = self.world.start("consumer")
        self.done.update(["kills", "consumer"])

    def kill_server(self) -> None:
        self.world.server.kill()
        time.sleep(self._random.uniform(0, 0.3))
        self.world.server.restart()
        self.done.update(["kills", "server"])

    def rotate(self) -> None:
        self._writers[self._random.choice(HOSTS)].rotate()
        self.done["rotations"] += 1

    def cut(self) -> None:
        self._proxy.cut()
        self.done["cuts"] += 1

    def forget(self) -> None:
        """A producer is killed, and its positions are gone."""
        host = self._random.choice(HOSTS)
        self._producers[host].kill()
        self._producers[host].wait()
        shutil.rmtree(self.world.folder / "state" / host, ignore_errors=True)
        self._producers[host].close()
        self._producers[host] = self.world.start("producer", host=host)
        self.done.update(["kills", "forgotten"])

    def fill_disk(self) -> None:
        """For a moment, the consumer can write no file beyond the size that the largest one has now."""
        if not hasattr(psutil, "RLIMIT_FSIZE") or not self._consumer.pid:
            return
        sizes = [path.stat().st_size for path in self.world.out.glob("*/*") if path.is_file()]
        process = psutil.Process(self._consumer.pid)
        with suppress(psutil.Error):
            process.rlimit(psutil.RLIMIT_FSIZE, (max(sizes, default=0) + 10_000, -1))
            time.sleep(self._random.uniform(0.2, 0.6))
            process.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
            self.done["full"] += 1


def compare(written: bytes, stored: bytes) -> tuple[int, int, int]:
    """Lines that are lost, doubled, and out of order."""
    before, after = written.split(b"\n"), stored.split(b"\n")
    counts, again = Counter(before), Counter(after)
    lost = sum((counts - again).values())
    doubled = sum((again - counts).values())
    numbers = [
        int(line.split(b" ")[1]) for line in after if line.count(b" ") > 1 and line.split(b" ")[1].isdigit()
    ]
    reordered = sum(later < earlier for earlier, later in pairwise(numbers))
    return lost, doubled, reordered
