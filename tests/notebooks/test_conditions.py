"""The notebooks run where a classroom runs them: ports taken, an old server on PATH, four at once."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
from jupyter_client.manager import KernelManager

from support import notebooks

PART_3 = notebooks.FOLDER / "03_server_and_patterns.ipynb"
RUN = """
import sys
from pathlib import Path
from support.notebooks import execute
result = execute(Path(sys.argv[1]))
print(result)
sys.exit(bool(result.error))
"""


@pytest.fixture
def well_known_ports() -> Iterator[None]:
    """4222 and 8222 are in use, by us or by another program."""
    with ExitStack() as stack:
        for port in 4222, 8222:
            taken = stack.enter_context(socket.socket())
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                taken.bind(("127.0.0.1", port))
                taken.listen()
        yield


def test_four_at_once_with_ports_taken_an_old_server_on_path_and_spaces_in_the_path(
    tmp_path: Path, well_known_ports: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old" / "nats-server"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'nats-server: v2.9.10'\n")
    old.chmod(old.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{old.parent}{os.pathsep}{os.environ['PATH']}")
    runs = []
    for student in "one", "two", "three", "four":
        folder = tmp_path / f"student {student}"
        shutil.copytree(notebooks.FOLDER, folder)
        command = [sys.executable, "-c", RUN, str(folder / PART_3.name)]
        runs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    for run in runs:
        said, _ = run.communicate(timeout=150)
        assert run.returncode == 0, said


def test_a_killed_kernel_leaves_nothing_behind(
    own_temporary_folder: Path, eventually: Callable[..., None]
) -> None:
    """SIGKILL reaches the kernel alone, as a crash or the out-of-memory killer would."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(extra_arguments=["--log-level=ERROR", "--HistoryManager.enabled=False"])
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)
        said: list[str] = []
        client.execute_interactive(
            "import sys\n"
            "from support import Child, NatsServer\n"
            "servers = [NatsServer().start(), NatsServer(jetstream=True).start()]\n"
            "child = Child([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
            "stopped = NatsServer().start()\n"
            "stopped.stop()\n"
            "print(*(each.pid for each in servers), child.pid)",
            timeout=30,
            output_hook=lambda message: said.append(message["content"].get("text", "")),
        )
        pids = [int(word) for word in "".join(said).split()]
        assert len(pids) == 3
        assert all(map(psutil.pid_exists, pids))
        os.kill(manager.provisioner.pid, signal.SIGKILL)  # type: ignore[union-attr]
        eventually(lambda: not any(map(psutil.pid_exists, pids)))
        eventually(lambda: not list(own_temporary_folder.glob("nats-notebook-*")))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
