"""A printed fact that is changed by hand makes the tests fail: each one, in each notebook."""

import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest

from support import notebooks


def lie(notebook: nbformat.NotebookNode) -> set[str]:
    """Change one character in each text of each output; return the cells, as nbval names them."""
    changed = set()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        for output in cell.outputs:
            if output.output_type == "stream":
                output.text = another(output.text)
            elif output.output_type == "error":
                output.evalue = another(output.evalue)
            elif "text/plain" in output.get("data", {}):
                output.data["text/plain"] = another(output.data["text/plain"])
            changed.add(f"Cell {number}")
    return changed


def another(text: str) -> str:
    """The text with its last digit or letter replaced: a "2" by a "3", "True" by "Trua"."""
    place = max(found.start() for found in re.finditer(r"\w", text))
    return text[:place] + ("3" if text[place] != "3" else "4") + text[place + 1 :]


@dataclass(frozen=True)
class Judged:
    """How nbval judged a notebook whose outputs were changed in the cells `changed`."""

    changed: set[str]
    failed: set[str]
    passed: set[str]
    output: str


def judge(path: Path, folder: Path) -> Judged:
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    copy = folder / path.name
    notebook = nbformat.read(copy, as_version=4)
    changed = lie(notebook)
    nbformat.write(notebook, copy)
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=60", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-rfp", "--tb=no", "--rootdir", str(folder), str(copy)],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    failed = set(re.findall(r"^FAILED .*::(Cell \d+)", run.stdout, re.MULTILINE))
    passed = set(re.findall(r"^PASSED .*::(Cell \d+)", run.stdout, re.MULTILINE))
    return Judged(changed, failed, passed, run.stdout)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Judged]:
    """All notebooks, two at a time."""
    paths = notebooks.find()
    folders = [tmp_path_factory.mktemp("lies") / "notebooks" for _ in paths]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(judge, paths, folders), strict=True))


@pytest.mark.parametrize("path", notebooks.find(), ids=lambda path: path.stem)
def test_every_changed_output_is_found(path: Path, judged: dict[Path, Judged]) -> None:
    found = judged[path]
    assert len(found.changed) > 10
    assert found.failed == found.changed, found.output[-2000:]
    assert found.passed, "the cells without a changed output still pass"
