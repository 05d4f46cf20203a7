"""Run the notebooks headless, and store what they print and draw."""

from __future__ import annotations

import atexit
import base64
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
CELL_TIMEOUT = 60  # seconds
STARTUP_TIMEOUT = 30  # seconds
ATTEMPTS = 2  # to start a kernel
README_PICTURE = ROOT / "picture.png"  # drawn by the cell "ha-picture" of part 3


@dataclass(frozen=True, slots=True)
class Result:
    """One notebook's run: `cells` code cells in `seconds`; `error` is "" if all went well."""

    path: Path
    cells: int
    seconds: float
    error: str = ""


def find(folder: Path = FOLDER) -> list[Path]:
    """The notebooks of the series that exist, in order: 01_….ipynb to 09_….ipynb."""
    return sorted(folder.glob("0[1-9]_*.ipynb"))


def part(path: Path) -> int:
    """The number of the part that a notebook is: 3 for 03_server_and_patterns.ipynb."""
    return int(path.name[:2])


def code_cells(path: Path) -> int:
    """How many code cells the notebook has."""
    return sum(cell.cell_type == "code" for cell in nbformat.read(path, as_version=4).cells)


def execute(path: Path, *, store: bool = False, done: Callable[[], None] = lambda: None) -> Result:
    """Run all cells of a notebook in a kernel of its own.

    Arguments:
        store: write the outputs into the file, if all cells ran.
        done: called after each code cell.
    """
    begin = time.perf_counter()
    for _ in range(ATTEMPTS):
        notebook = nbformat.read(path, as_version=4)
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            startup_timeout=STARTUP_TIMEOUT,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR", "--HistoryManager.enabled=False"],
            resources={"metadata": {"path": str(path.parent)}},
            record_timing=False,
            coalesce_streams=True,
            on_cell_executed=lambda **_: done(),
        )
        error = _run(client)
        if not error or client.code_cells_executed:
            break  # else the kernel has not come up: somebody took a port that was meant for it
    if store and not error:
        tidy(notebook)
        nbformat.write(notebook, path)
    return Result(path, code_cells(path), time.perf_counter() - begin, error)


def _run(client: NotebookClient) -> str:
    """Run all cells; "" or what went wrong."""
    error = ""
    try:
        # What the kernel has to say comes as outputs; on stderr it only complains when it is ended early.
        client.execute(stderr=subprocess.DEVNULL)
    except CellExecutionError as failed:
        error = f"{failed.ename}: {failed.evalue}".strip()
    except (CellTimeoutError, DeadKernelError) as failed:
        error = str(failed).partition("\n")[0]
    except RuntimeError as failed:
        error = f"the kernel did not start: {failed}"
    except Exception:
        if not _interrupted(client):
            raise
    finally:
        atexit.unregister(client._cleanup_kernel)  # it is done, and would stumble over that
    if _interrupted(client):
        raise KeyboardInterrupt
    return error


def _interrupted(client: NotebookClient) -> bool:
    """Whether Ctrl-C came: nbclient takes it, ends the kernel, and then stumbles over its absence, or not."""
    return hasattr(client, "_async_cleanup_kernel_future")


def readme_picture(folder: Path = FOLDER) -> bytes:
    """The picture that stands in the README, as part 3 holds it."""
    notebook = nbformat.read(folder / "03_server_and_patterns.ipynb", as_version=4)
    (cell,) = (cell for cell in notebook.cells if cell.id == "ha-picture")
    return base64.b64decode(cell.outputs[0].data["image/png"])


def tidy(notebook: Any) -> None:
    """Remove what differs between machines: interpreter version, times, absolute paths in tracebacks."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                output.traceback = [f"{output.ename}: {output.evalue}"]


def title(path: Path) -> str:
    """The title of a notebook without its part: "A server of your own"."""
    first = nbformat.read(path, as_version=4).cells[0].source
    return re.sub(r"^# (Part \d+ · )?", "", first.partition("\n")[0])
