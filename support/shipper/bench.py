"""How fast on this machine: real processes, a real server with file storage, and others on the same file.

What is timed begins when the file appears, with all processes up, and ends when the last byte of it is in
the file at the other end. Absolute numbers belong to the machine; so the table tells ratios, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import nats
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import rsyslogs
from .processes import UnusableError, cpu, lines_of, nats_server, peak, process, size_of, wait
from .source import Batch, check_of

HOST = "web1.example.net"
LONG = 100 << 20  # bytes of the long line
HOSTS = 5000
LONE = 200  # lines whose way is timed one by one
MESSAGE = 64 << 10  # bytes of the messages by which the server itself is measured
FILE = "log%"  # what SHIPPER_OUTPUT makes of "log%%": the name of the files, whatever the day


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender: `seconds` for `lines`; by process, processor time (s) and peak memory (bytes)."""

    name: str
    lines: int
    bytes: int
    seconds: float
    cpu: dict[str, float]
    memory: dict[str, int]

    @property
    def lines_per_second(self) -> float:
        return self.lines / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        return self.bytes / self.seconds / 1e6


def bench(
    lines: Annotated[int, typer.Option(min=1000, help="Lines of about 190 bytes.")] = 2_000_000,
    vs: Annotated[
        list[str] | None,
        typer.Option(
            "--vs",
            metavar="rsyslog|COMMAND",
            help="Measure this, too: rsyslog, with its memory queue and its disk queue; or a command that "
            "writes {input} to {output}.",
        ),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="Where the files go, in a folder that is removed at the end.")
    ] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="Only how fast: neither latency nor memory.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    try:
        for contender in vs or []:
            _check(contender)
        _bench(lines, vs or [], directory, brief=brief, as_json=as_json)
    except UnusableError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _bench(lines: int, vs: list[str], directory: Path | None, *, brief: bool, as_json: bool) -> None:
    with tempfile.TemporaryDirectory(
        prefix="shipper-bench-", dir=directory, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 5 * 200 * lines:
            raise UnusableError(
                f"{folder} has no room for {5 * 200 * lines / 1e9:.1f} GB: give another --directory"
            )
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            run = Run(folder, progress)
            source = run.make_input(lines)
            few = run.make_input(max(1000, lines // 20), "few")
            found = [run.shipper("batched", source)]
            server = run.server_itself(source.stat().st_size)  # next to it, since disks have moods
            found.append(run.shipper("line by line", few, {"SHIPPER_BATCH": "0"}))
            for each in vs:
                found += run.rsyslog(source) if each == "rsyslog" else [run.command(each, source)]
            latency: list[float] = []
            memory: dict[str, dict[str, int]] = {}
            if not brief:
                latency = run.latency()
                memory = {"a line of 100 MB": run.long_line(), f"{HOSTS:,} hosts": run.many_hosts()}
        if as_json:
            told = {"contenders": [asdict(each) for each in found], "server_MB_per_s": server / 1e6}
            print(json.dumps({**told, "latency_s": latency, "memory": memory}, indent=1))
        else:
            _tell(found, server, latency, memory)


def _check(contender: str) -> None:
    """Before anything is measured, see whether a contender can be."""
    if contender == "rsyslog":
        rsyslogs.find()
    elif "{input}" not in contender or "{output}" not in contender:
        raise UnusableError(f"--vs {contender!r}: the command must say {{input}} and {{output}}")
    elif not shutil.which(program := shlex.split(contender)[0]):
        raise UnusableError(f"--vs {contender!r}: there is no program {program}")


def _rest() -> None:
    """What others have written is on disk, and all processes are at rest."""
    if hasattr(os, "sync"):
        os.sync()
    time.sleep(1.0)


def _tell(
    found: list[Measured], server: float, latency: list[float], memory: dict[str, dict[str, int]]
) -> None:
    console, ours = Console(), found[0]
    table = Table(
        "", "lines/s", "MB/s", "batched is", "CPU, s", "peak memory, MB", title=f"{ours.lines:,} lines"
    )
    for each in found:
        used = ", ".join(f"{name} {seconds:.1f}" for name, seconds in each.cpu.items())
        most = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in each.memory.items())
        ratio = ours.lines_per_second / each.lines_per_second
        speed = f"{each.lines_per_second:,.0f}", f"{each.megabytes_per_second:,.0f}"
        table.add_row(each.name, *speed, f"{ratio:.1f} ×", used, most)
    console.print(table)
    console.print(
        f"The server itself stores {server / 1e6:,.0f} MB/s of 64 KiB messages from plain publishing; "
        f"batched and through to the file is {ours.megabytes_per_second * 1e6 / server:.2f} of that."
    )
    if latency:
        median, late = statistics.median(latency), statistics.quantiles(latency, n=100)[98]
        console.print(
            f"A lone line, file to file: median {1000 * median:.1f} ms, 99 % within {1000 * late:.1f} ms."
        )
    for what, sizes in memory.items():
        most = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes.items())
        console.print(f"Peak memory with {what}: {most}.")


class Run:
    """All measurements of one call, in one folder."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self._progress = folder, progress
        self._count = 0

    def make_input(self, lines: int, name: str = "input") -> Path:
        """A web server's log, about 190 bytes a line."""
        task = self._progress.add_task(f"{name}: {lines:,} lines", total=lines)
        path, draw = self.folder / name, random.Random(1)  # noqa: S311
        with path.open("w") as file:
            for first in range(0, lines, 10_000):
                for number in range(first, min(lines, first + 10_000)):
                    file.write(
                        f"2026-11-24T07:{number // 60_000 % 60:02}:{number % 60_000 / 1000:06.3f}Z "
                        f"{HOST} nginx[1234]: 10.0.{number % 256}.{draw.randrange(256)} "
                        f"GET /item/{draw.randrange(10**8):08} "
                        f"200 {draw.randrange(10**5):05} {number:08} "
                        '"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 like Gecko" in 0.004 s\n'
                    )
                self._progress.update(task, completed=first)
        self._progress.remove_task(task)
        return path

    # -- contenders -----------------------------------------------------------------------------

    def shipper(self, name: str, source: Path, more: dict[str, str] | None = None) -> Measured:
        """Our own way: producer → server → consumer."""
        with self._shipping(more) as (place, pids, _):
            return self._time(name, source, place / "app.log", place / "out" / HOST / FILE, pids)

    def server_itself(self, size: int) -> float:
        """Bytes a second that the server takes and stores from plain publishing."""
        with self._server(self._place()) as (url, _):
            return asyncio.run(self._publish(url, size))

    async def _publish(self, url: str, size: int) -> float:
        nc = await nats.connect(url)
        js = nc.jetstream()
        await js.add_stream(name="PLAIN", subjects=["plain"])
        payload, count = os.urandom(MESSAGE), size // MESSAGE
        _rest()
        task = self._progress.add_task("the server itself", total=count)
        begin = time.perf_counter()
        for number in range(count):
            await nc.publish("plain", payload)
            if number % 16 == 0:
                await nc.flush()
                self._progress.update(task, completed=number)
        while (await js.stream_info("PLAIN")).state.messages < count:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        seconds = time.perf_counter() - begin
        await nc.close()
        self._progress.remove_task(task)
        return count * MESSAGE / seconds

    def rsyslog(self, source: Path) -> list[Measured]:
        """imfile → omfwd → imtcp → omfile, a file per host; with a memory queue, and with a disk queue."""
        found = []
        for queue in rsyslogs.QUEUES:
            place = self._place()
            with rsyslogs.shipping(place, queue) as pids:
                name, out = f"rsyslog, {queue} queue", place / "out" / rsyslogs.HOST / "log"
                found.append(self._time(name, source, place / "app.log", out, pids))
        return found

    def command(self, template: str, source: Path) -> Measured:
        """Any program that copies {input} to {output}, timed until it ends."""
        place = self._place()
        words = [word.format(input=source, output=place / "output") for word in shlex.split(template)]
        task = self._progress.add_task(words[0], total=None)
        begin = time.perf_counter()
        try:
            subprocess.run(words, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise UnusableError(f"--vs {template!r}: {error}") from None
        seconds = time.perf_counter() - begin
        self._progress.remove_task(task)
        if not (place / "output").exists():
            raise UnusableError(f"--vs {template!r}: it wrote no {{output}}")
        return Measured(words[0], lines_of(source), source.stat().st_size, seconds, {}, {})

    # -- other things to know --------------------------------------------------------------------

    def latency(self) -> list[float]:
        """Seconds from a lone line's being written to its being in the file at the other end."""
        found = []
        with self._shipping() as (place, _, _):
            log, out = place / "app.log", place / "out" / HOST / FILE
            written = 0
            task = self._progress.add_task("lone lines", total=LONE)
            for number in range(LONE + 10):
                line = f"a lone line {number}\n".encode()
                written += len(line)
                begin = time.perf_counter()
                with log.open("ab") as file:
                    file.write(line)
                wait(lambda: size_of(out) >= written, "a line did not arrive", every=0.0002)  # noqa: B023
                if number >= 10:  # the first ones make files
                    found.append(time.perf_counter() - begin)
                    self._progress.advance(task)
                time.sleep(0.02 + random.random() / 100)  # noqa: S311
            self._progress.remove_task(task)
        return found

    def long_line(self) -> dict[str, int]:
        """Peak memory with one line of 100 MB."""
        source = self.folder / "long"
        source.write_bytes(b"x" * (LONG - 1) + b"\n")
        measured = self.shipper("a long line", source)
        return {name: measured.memory[name] for name in ("producer", "consumer")}

    def many_hosts(self) -> dict[str, int]:
        """The consumer's peak memory with thousands of hosts."""
        with self._shipping(producer=False) as (place, pids, url):
            asyncio.run(self._publish_for_hosts(url))
            task = self._progress.add_task(f"{HOSTS:,} hosts", total=HOSTS)
            out = place / "out"
            self._await(
                task,
                lambda: sum(1 for _ in out.glob(f"*/{FILE}")),
                HOSTS,
                "not all hosts were stored",
                every=0.1,
            )
            self._progress.remove_task(task)
            return {"consumer": peak(pids["consumer"])}

    def _await(
        self, task: TaskID, there: Callable[[], int], wanted: int, otherwise: str, every: float
    ) -> None:
        """Wait until `there()` is `wanted`, and show it."""

        def arrived() -> bool:
            arrived_so_far = there()
            self._progress.update(task, completed=arrived_so_far)
            return arrived_so_far >= wanted

        wait(arrived, otherwise, grows=there, every=every)

    async def _publish_for_hosts(self, url: str) -> None:
        nc = await nats.connect(url)
        data = b"a line of this host\n"
        for number in range(HOSTS):
            headers = Batch(f"1-{number:x}-1", 0, data, check_of(data)).headers("bench")
            await nc.publish(f"bench.p0.host{number}.example.net", data, headers=headers)
        await nc.flush()
        await nc.close()

    # -- what they stand on ------------------------------------------------------------------------

    def _time(self, name: str, source: Path, log: Path, out: Path, pids: dict[str, int]) -> Measured:
        """Put the file in its place, and wait for the last byte of it at the other end."""
        size = source.stat().st_size
        task = self._progress.add_task(name, total=size)
        _rest()
        before = {role: cpu(pid) for role, pid in pids.items()}
        begin = time.perf_counter()
        os.link(source, log)
        self._await(task, lambda: size_of(out), size, f"{name}: not all of it arrived", every=0.002)
        seconds = time.perf_counter() - begin
        used = {role: cpu(pid) - before[role] for role, pid in pids.items()}
        memory = {role: peak(pid) for role, pid in pids.items()}
        self._progress.remove_task(task)
        return Measured(name, lines_of(source), size, seconds, used, memory)

    @contextmanager
    def _shipping(
        self, more: dict[str, str] | None = None, *, producer: bool = True
    ) -> Iterator[tuple[Path, dict[str, int], str]]:
        """A server, a consumer and a producer at work, on <place>/app.log and <place>/out."""
        place = self._place()
        with ExitStack() as stack:
            url, server = stack.enter_context(self._server(place))
            settings = {
                "NATS_URL": url,
                "SHIPPER_SUBJECT": "bench",
                "SHIPPER_STREAM": "BENCH",
                "SHIPPER_FILE": str(place / "app.log"),
                "SHIPPER_DIRECTORY": str(place / "out"),
                "SHIPPER_OUTPUT": FILE.replace("%", "%%"),
                "HOSTNAME": HOST,
                **(more or {}),
            }
            own = {**os.environ, **settings, "SHIPPER_STATE": ""}
            command = [sys.executable, "-m", "support.shipper"]
            subprocess.run([*command, "setup"], env=own, check=True, stdout=subprocess.DEVNULL)
            pids = {"server": server}
            roles = ("consumer", "producer") if producer else ("consumer",)
            for role in roles:
                environment = own if role == "consumer" else {**own, "SHIPPER_STATE": str(place / "state")}
                pids[role] = stack.enter_context(
                    process([*command, role], place / f"{role}.log", environment)
                )
            yield place, pids, url

    @contextmanager
    def _server(self, place: Path) -> Iterator[tuple[str, int]]:
        command = [nats_server(), "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", str(place / "store")]
        with process([*command, "--ports_file_dir", str(place)], place / "server.log") as pid:
            found: dict[str, list[str]] = {}

            def reported() -> bool:
                for path in place.glob("*.ports"):
                    with suppress(json.JSONDecodeError):
                        found.update(json.loads(path.read_text()))
                return bool(found)

            wait(reported, "nats-server did not start")
            yield found["nats"][0], pid

    def _place(self) -> Path:
        self._count += 1
        place = self.folder / str(self._count)
        place.mkdir()
        return place
