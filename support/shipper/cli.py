"""python -m support.shipper producer | consumer | setup | report | bench"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any

import typer
from nats.aio.client import Client
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from . import bench as benches
from . import consumer as consumers
from . import producer as producers
from . import streams
from .connection import PASSING, on_connections, reason
from .notices import Notices, to_standard_error
from .positions import RefusedError
from .settings import AnySettings, ConsumerSettings, ProducerSettings, SettingError, SetupSettings, load

app = typer.Typer(
    help="Ship log files over NATS to a central store: no line lost, doubled or out of order.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Settings come from the environment: each command's `--help` names its variables.",
)
_LINK = """
\n\n* `NATS_URL` servers, comma-separated; required
\n* `NATS_CREDS` credentials file · `NATS_CERTIFICATE`, `NATS_KEY` client certificate, key · `NATS_CA` CAs
\n* `SHIPPER_SUBJECT` prefix of all subjects, as `logs`; required"""


@app.command(
    help="Follow a file for ever and publish its lines. Ctrl-C and SIGTERM end it in good order."
    + _LINK
    + """
\n* `SHIPPER_FILE` the file to follow; required
\n* `SHIPPER_STREAM` the stream, or the prefix of one stream per partition; unset: core NATS, at most once
\n* `SHIPPER_PARTITIONS` number of partitions; 0 or unset: none (partition 0)
\n* `HOSTNAME` the host's name in the subject; else the system's
\n* `SHIPPER_BATCH` bytes in a message, at most (524288); 0: a line, a message
\n* `SHIPPER_STATE` directory for positions; else the user's state directory
\n\nPublish `pause` or `resume` to `<prefix>.control` to stop and start all producers: the Big Red Button.
A producer that starts later does not know of an earlier pause.""",
    epilog="Example: `NATS_URL=nats://127.0.0.1:4222 SHIPPER_SUBJECT=logs SHIPPER_STREAM=LOGS "
    "SHIPPER_FILE=/var/log/messages python -m support.shipper producer`",
)
def producer(
    once: Annotated[
        bool, typer.Option("--once", help="Ship what is there, and end when it is acknowledged.")
    ] = False,
) -> None:
    settings, progress = _load(ProducerSettings), producers.Progress()

    def state() -> str:
        return f"{progress.behind / 1e6:,.1f} MB behind"

    _work(
        lambda stop, notices: producers.produce(
            settings, once=once, stop=stop, notices=notices, progress=progress
        ),
        progress,
        "shipped",
        state,
    )


@app.command(
    help="Write the lines of each host to its own file. Ctrl-C and SIGTERM end it in good order."
    + _LINK
    + """
\n* `SHIPPER_DIRECTORY`, `SHIPPER_OUTPUT` a host's file is `<directory>/<host>/<output>`; the directory is
required. Output is a strftime pattern (`log`); a plain name gets `-%Y%m%d%H%M`. Files rotate daily, by the
stream's time, UTC
\n* `SHIPPER_KEEP` days for which files are kept (7)
\n* `SHIPPER_READ_PARTITIONS` as `0,1,2` or `0-4`; unset: 0
\n* `SHIPPER_STREAM` the stream, or the prefix of one stream per partition; unset: core NATS, at most once
\n* `SHIPPER_STREAM_TARGET` read from push consumers, which deliver to `<target>.p<N>`
\n* `SHIPPER_STATE` directory for the checkpoint (`<directory>/.shipper`)""",
    epilog="Example: `NATS_URL=nats://127.0.0.1:4222 SHIPPER_SUBJECT=logs SHIPPER_STREAM=LOGS "
    "SHIPPER_READ_PARTITIONS=0-4 SHIPPER_DIRECTORY=/var/log/hosts python -m support.shipper consumer`",
)
def consumer(
    until_idle: Annotated[
        float | None,
        typer.Option("--until-idle", metavar="S", min=0.0, help="End when nothing is pending for S seconds."),
    ] = None,
) -> None:
    settings, progress = _load(ConsumerSettings), consumers.Progress()

    def state() -> str:
        refused = f", {progress.refused:,} messages refused" if progress.refused else ""
        return f"{progress.pending:,} messages pending{refused}"

    _work(
        lambda stop, notices: consumers.consume(
            settings, until_idle=until_idle, stop=stop, notices=notices, progress=progress
        ),
        progress,
        "stored",
        state,
    )


@app.command(
    help="Make the stream and the consumers as they should be; change nothing if they are."
    + _LINK
    + """
\n* `SHIPPER_STREAM` the stream's name, or the prefix of the streams' names; required
\n* `SHIPPER_PARTITIONS` number of partitions; 0 or unset: one
\n* `SHIPPER_STREAM_TARGET` make push consumers, which deliver to `<target>.p<N>`
\n\nA server writes to disk at once, but makes sure of it only every two minutes: after a power cut a single
server may have forgotten messages. Producers then ship them again, as long as their files hold them. Three
replicas, or `jetstream { sync_interval: always }` in the server's configuration, leave nothing to that.""",
    epilog="Examples: `python -m support.shipper setup --dry-run` · "
    "`python -m support.shipper setup --replicas 3`",
)
def setup(
    per_partition: Annotated[bool, typer.Option("--per-partition", help="One stream per partition.")] = False,
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Servers that hold each message.")] = 1,
    max_age: Annotated[
        float,
        typer.Option(
            min=0.0, max=876_000.0, metavar="HOURS", help="How long messages are kept; 0: for ever."
        ),
    ] = 24.0,
    max_bytes: Annotated[int, typer.Option(min=-1, help="Size of each stream, at most; -1: no limit.")] = -1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and change nothing.")] = False,
) -> None:
    settings = _load(SetupSettings)
    layout = streams.Layout(per_partition, replicas, max_age * 3600, max_bytes)

    async def apply(nc: Client) -> None:
        js = nc.jetstream(timeout=5)
        steps = await streams.plan(js, settings, layout)
        for step in steps:
            typer.echo(step.text)
            if not dry_run:
                await step.apply(js)
        typer.echo("nothing to change" if not steps else "nothing was changed" if dry_run else "done")

    _ask(settings, apply)


@app.command(
    help="Show how far each partition's consumer is behind its stream."
    + _LINK
    + """
\n* `SHIPPER_STREAM` the stream's name, or the prefix of the streams' names; required
\n* `SHIPPER_PARTITIONS` number of partitions; 0 or unset: one
\n* `SHIPPER_STREAM_TARGET` show push consumers""",
    epilog="Examples: `python -m support.shipper report` · `python -m support.shipper report --json`",
)
def report(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    settings = _load(SetupSettings)

    async def ask(nc: Client) -> None:
        lags = await streams.report(nc.jetstream(timeout=5), settings)
        if as_json:
            typer.echo(json.dumps([asdict(lag) for lag in lags], indent=1))
            return
        table = Table("stream", "messages", "MB", "consumer", "pending", "not stored", "oldest of these, s")
        for lag in lags:
            numbers = f"{lag.messages:,}", f"{lag.bytes / 1e6:,.1f}"
            behind = f"{lag.pending:,}", f"{lag.unacked:,}", f"{lag.seconds:,.1f}"
            table.add_row(lag.stream, *numbers, lag.consumer, *behind)
        Console().print(table)

    _ask(settings, ask)


app.command(
    name="bench",
    help="How fast is it on this machine? A real server with files, producer and consumer as processes.",
    epilog="Examples: `python -m support.shipper bench` · `python -m support.shipper bench --vs rsyslog` · "
    "`python -m support.shipper bench --vs 'my-shipper {input} {output}'`",
)(benches.bench)


# -- how commands run -----------------------------------------------------------------------------


def _load(kind: type[AnySettings]) -> AnySettings:
    try:
        return load(kind)
    except SettingError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None


def _keep_buffers() -> None:
    """Have the C library keep freed memory for the next batch, rather than give it back and ask again.

    Half of the system time of a producer goes there (mallopt(3): M_TRIM_THRESHOLD, M_MMAP_THRESHOLD).
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # not glibc
        library = ctypes.CDLL(None)
        for parameter in (-1, -3):
            library.mallopt(parameter, 32 << 20)


def _work(
    run: Callable[[asyncio.Event, Notices], Awaitable[None]],
    progress: Any,
    verb: str,
    state: Callable[[], str],
) -> None:
    """Run until it ends, or until SIGTERM or Ctrl-C, which let it finish what it has in hand."""
    to_standard_error()
    _keep_buffers()
    begin = time.monotonic()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def asked(number: int) -> None:
            stop.set()
            loop.remove_signal_handler(number)  # the second one ends it at once

        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                loop.add_signal_handler(number, asked, number)
            except NotImplementedError:  # on Windows
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
        showing = asyncio.ensure_future(_show(progress, verb, state)) if sys.stderr.isatty() else None
        try:
            await run(stop, Notices())
        finally:
            if showing:
                showing.cancel()

    try:
        asyncio.run(main())
    except RefusedError as refused:
        typer.echo(refused, err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    seconds = time.monotonic() - begin
    said = f"{verb} {progress.lines:,} lines, {progress.bytes:,} bytes in {progress.messages:,} messages"
    typer.echo(f"{said}; {seconds:.1f} s, {state()}", err=True)


async def _show(progress: Any, verb: str, state: Callable[[], str]) -> None:
    """One line on the terminal, twice a second: how fast, and how far behind."""
    lines, size, then = 0, 0, time.monotonic()
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        while True:
            await asyncio.sleep(0.5)
            now = time.monotonic()
            per_second = (progress.lines - lines) / (now - then), (progress.bytes - size) / (now - then) / 1e6
            lines, size, then = progress.lines, progress.bytes, now
            rate = f"{per_second[0]:,.0f} lines/s, {per_second[1]:,.1f} MB/s"
            live.update(Text(f"{verb} {lines:,} lines · {rate} · {state()}"), refresh=True)


def _ask(settings: SetupSettings, question: Callable[[Client], Awaitable[None]]) -> None:
    """Run a question to the server, once."""
    to_standard_error()

    async def asked(nc: Client) -> str:
        try:
            await question(nc)
        except PASSING as error:
            return reason(error)
        return ""

    async def main() -> str:
        return await on_connections(settings, "shipper setup", asked, Notices(), asyncio.Event()) or ""

    try:
        if wrong := asyncio.run(main()):
            typer.echo(wrong, err=True)
            raise typer.Exit(1)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def main() -> None:
    """The program."""
    app(prog_name="python -m support.shipper" if sys.argv[0].endswith("__main__.py") else None)
