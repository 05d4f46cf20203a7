"""python -m support lab | run | save | doctor"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import doctor as doctors
from . import notebooks

app = typer.Typer(
    help="Learn NATS in Python: nine notebooks on a real nats-server.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
Parts = Annotated[
    list[int] | None, typer.Argument(min=1, max=9, help="Numbers of parts; all if none is given.")
]


@app.command(epilog="Example: `python -m support lab 3` opens part 3.")
def lab(
    number: Annotated[int, typer.Argument(min=1, max=9, metavar="PART", help="The part to open.")] = 1,
    browser: Annotated[bool, typer.Option(help="Open a browser, too.")] = True,
) -> None:
    """Open JupyterLab on a notebook. Ctrl-C ends it, and all servers that its notebooks started."""
    found = notebooks.find()
    chosen = [path for path in found if notebooks.part(path) >= number] or found
    options = [f"--ServerApp.root_dir={notebooks.ROOT}"]
    if not browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # in a container, mostly
        options.append("--allow-root")
    for path in chosen[:1]:
        options.append(f"--LabApp.default_url=/lab/tree/{path.relative_to(notebooks.ROOT).as_posix()}")
    # The settings in there ask nothing of the outside: no news, no look for updates.
    settings = [str(Path(__file__).parent / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    environment = {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, settings))}
    command = [sys.executable, "-m", "jupyterlab", *options]
    if sys.platform != "win32":
        os.execve(sys.executable, command, environment)  # noqa: S606  whoever ends this process, ends JupyterLab
    sys.exit(subprocess.call(command, env=environment))


@app.command(
    epilog="Examples: `python -m support run` runs all parts, `python -m support run 3 5` runs two of them."
)
def run(parts: Parts = None) -> None:
    """Execute notebooks headless; exit 1 if one fails. The files stay as they are."""
    _execute(parts, store=False)


@app.command(epilog="Example: `python -m support save 3` runs part 3 and stores its outputs in the file.")
def save(parts: Parts = None) -> None:
    """Execute notebooks and store their outputs in the files, if all of their cells ran."""
    _execute(parts, store=True)
    notebooks.README_PICTURE.write_bytes(notebooks.readme_picture())


@app.command(epilog="Example: `python -m support doctor` before a class, on each machine.")
def doctor() -> None:
    """Say what is there and what is missing, one line each; exit 1 if something would stop a learner."""
    stops = False
    for finding in doctors.examine(notebooks.ROOT / "requirements.lock"):
        typer.echo(finding)
        stops |= finding.stops
    raise typer.Exit(1 if stops else 0)


def _execute(parts: list[int] | None, *, store: bool) -> None:
    chosen = [path for path in notebooks.find() if not parts or notebooks.part(path) in parts]
    if missing := set(parts or ()) - set(map(notebooks.part, chosen)):
        raise typer.BadParameter(f"part {min(missing)} is still to come")
    console = Console()
    results = [_with_progress(path, console, store=store) for path in chosen]
    table = Table("part", "title", "cells", "seconds", "ok")
    for result in results:
        ok = "✓" if not result.error else f"✗ {result.error}"
        number, title = str(notebooks.part(result.path)), notebooks.title(result.path)
        table.add_row(number, title, str(result.cells), f"{result.seconds:.1f}", ok)
    console.print(table)
    if any(result.error for result in results):
        raise typer.Exit(1)


def _with_progress(path: Path, console: Console, *, store: bool) -> notebooks.Result:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(path.stem, total=notebooks.code_cells(path))
        return notebooks.execute(path, store=store, done=lambda: progress.advance(bar))


def main() -> None:
    try:
        # As `nats-notebooks`, which is the same, it can be completed by the shell.
        app(prog_name="python -m support" if sys.argv[0].endswith("__main__.py") else None)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
