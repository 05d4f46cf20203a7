"""The shell blocks in the notebooks do what their comments say, where the nats CLI is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nbformat
import pytest

from support import notebooks
from support.server import NatsServer


def blocks() -> list[tuple[str, str]]:
    found = []
    for path in notebooks.find():
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                for block in re.findall(r"```bash\n(.*?)```", cell.source, re.DOTALL):
                    found.append((f"{path.stem}:{cell.id}", block))
    return found


def test_there_are_blocks_and_each_says_what_it_prints() -> None:
    assert len(blocks()) >= 4
    for name, block in blocks():
        assert "# prints: " in block, name


@pytest.mark.skipif(not shutil.which("nats"), reason="the nats CLI is not installed")
@pytest.mark.parametrize(("name", "block"), blocks(), ids=[name for name, _ in blocks()])
def test_a_block_prints_what_it_says(name: str, block: str, tmp_path: Path) -> None:
    with NatsServer(jetstream=True) as server:
        environment = {**os.environ, "NATS_URL": server.url, "HOME": str(tmp_path)}
        run = subprocess.run(
            ["bash", "-eu", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    said = run.stdout + run.stderr
    assert run.returncode == 0, said
    for expected in re.findall(r"# prints: (.*)", block):
        assert expected in said
