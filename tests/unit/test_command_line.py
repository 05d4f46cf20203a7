import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.provisioning import LocalProvisioner
from typer.testing import CliRunner

from support import notebooks
from support.__main__ import app
from support.child import PREFIX


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small series: part 1 works, part 2 fails."""
    write(tmp_path / "01_good.ipynb", "# Part 1 · Good", "print(1 + 1)", "2")
    write(tmp_path / "02_bad.ipynb", "# Part 2 · Bad", "1 / 0")
    monkeypatch.setattr(notebooks, "README_PICTURE", tmp_path / "picture.png")
    monkeypatch.setattr(notebooks, "find", lambda: sorted(tmp_path.glob("*.ipynb")))
    return tmp_path


def write(path: Path, title: str, *sources: str) -> None:
    v4 = nbformat.v4
    cells = [v4.new_markdown_cell(title), *(v4.new_code_cell(source) for source in sources)]
    nbformat.write(v4.new_notebook(cells=cells), path)


def outputs(path: Path) -> list[str]:
    found = (cell.outputs[0] for cell in nbformat.read(path, 4).cells if cell.get("outputs"))
    return [each.text if each.output_type == "stream" else each.data["text/plain"] for each in found]


def test_run_tells_part_title_cells_and_success(folder: Path) -> None:
    before = (folder / "01_good.ipynb").read_bytes()
    result = CliRunner().invoke(app, ["run", "1"])
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "Good" in line)
    assert row.split()[1::2][:3] == ["1", "Good", "2"]
    assert "✓" in row
    assert (folder / "01_good.ipynb").read_bytes() == before


def test_run_fails_if_one_part_fails_and_says_how(folder: Path) -> None:
    result = CliRunner().invoke(app, ["run"])
    assert result.exit_code == 1
    assert "ZeroDivisionError" in result.output


def test_save_stores_outputs_only_if_all_cells_ran(folder: Path) -> None:
    before = (folder / "02_bad.ipynb").read_bytes()
    assert CliRunner().invoke(app, ["save"]).exit_code == 1
    assert (folder / "02_bad.ipynb").read_bytes() == before
    saved = nbformat.read(folder / "01_good.ipynb", 4)
    assert outputs(folder / "01_good.ipynb") == ["2\n", "2"]
    assert saved.metadata.language_info == {"name": "python"}
    assert [cell.execution_count for cell in saved.cells if cell.cell_type == "code"] == [1, 2]


def test_a_second_save_changes_nothing(folder: Path) -> None:
    CliRunner().invoke(app, ["save", "1"])
    first = (folder / "01_good.ipynb").read_bytes()
    CliRunner().invoke(app, ["save", "1"])
    assert (folder / "01_good.ipynb").read_bytes() == first


def test_a_part_that_is_still_to_come_is_named(folder: Path) -> None:
    result = CliRunner().invoke(app, ["run", "9"])
    assert result.exit_code == 2
    assert "part 9 is still to come" in result.output


@pytest.mark.parametrize("command", ["lab", "run", "save", "doctor"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example" in result.output


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none if it has ended."""
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.cmdline()
    return []


def runs(process: psutil.Process) -> bool:
    """Whether it has not ended."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != "zombie"
    return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs Unix signals")
def test_ctrl_c_ends_a_run_with_all_that_it_started(
    own_temporary_folder: Path, eventually: Callable[..., None]
) -> None:
    """In the middle of part 3, with its servers running."""
    command = [sys.executable, "-m", "support", "run", "3"]
    run = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    started = psutil.Process(run.pid)
    eventually(
        lambda: any("--ports_file_dir" in command_line(each) for each in started.children(recursive=True)),
        timeout=30,
    )
    below = started.children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)
    said, _ = run.communicate(timeout=30)
    assert run.returncode == 130
    assert "Traceback" not in said
    eventually(lambda: not any(runs(each) for each in below))
    eventually(lambda: not list(own_temporary_folder.glob(f"{PREFIX}*")))  # of guards that came after that


@pytest.mark.skipif(sys.platform == "win32", reason="needs Unix signals")
def test_whoever_ends_lab_ends_jupyterlab(tmp_path: Path, eventually: Callable[..., None]) -> None:
    log = tmp_path / "log"
    folders = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    with log.open("wb") as output:
        lab = subprocess.Popen(
            [sys.executable, "-m", "support", "lab", "--no-browser"],
            env={**os.environ, **folders},
            stdout=output,
            stderr=output,
        )
    try:
        eventually(lambda: "http://127.0.0.1:" in log.read_text(), timeout=60)
        below = psutil.Process(lab.pid).children(recursive=True)
        lab.terminate()
        lab.wait(20)
    finally:
        lab.kill()
    port = re.findall(r"http://127\.0\.0\.1:(\d+)", log.read_text())[0]
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))), "somebody still serves it"
    eventually(lambda: not any(runs(each) for each in below))


@pytest.mark.parametrize("port", ["shell_port", "iopub_port"])
def test_a_kernel_whose_port_is_taken_is_started_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """Ports for a kernel are found free, and bound a moment later."""
    launch, taken = LocalProvisioner.launch_kernel, socket.socket()

    async def take_and_launch(provisioner: Any, command: list[str], **more: Any) -> Any:
        if taken.getsockname()[1] == 0:
            taken.bind(("127.0.0.1", getattr(provisioner.parent, port)))
            taken.listen()
        return await launch(provisioner, command, **more)

    monkeypatch.setattr(LocalProvisioner, "launch_kernel", take_and_launch)
    monkeypatch.setattr(notebooks, "STARTUP_TIMEOUT", 8)
    with taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        result = notebooks.execute(folder / "01_good.ipynb")
    assert (result.error, result.cells) == ("", 2)


def test_a_kernel_that_never_starts_is_an_error_of_its_part(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("no more processes")

    monkeypatch.setattr(LocalProvisioner, "launch_kernel", refuse)
    result = CliRunner().invoke(app, ["run", "1"])
    assert result.exit_code == 1
    assert "the kernel did not start" in result.output
