"""What nbval does not look at: the anatomy of a notebook, and what its outputs may not hold."""

import ast
import getpass
import re
import socket
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest

import support
from support import notebooks

PATHS = notebooks.find()
MOST_CELLS, MOST_LINES, MOST_WORDS, MOST_PICTURE = 33, 25, 2400, 100_000
SECTIONS = ["## You can now", "## Exercises", "## Questions", "## Clean up"]
ALLOWED = {"nats", "matplotlib", "support", "tornado", "httpx", "IPython"}

pytestmark = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def cells(path: Path, kind: str | None = None) -> list[Any]:
    found = nbformat.read(path, as_version=4).cells
    return [cell for cell in found if kind in (None, cell.cell_type)]


def tags(cell: Any) -> list[str]:
    found: list[str] = cell.metadata.get("tags", [])
    return found


def outputs(path: Path) -> list[Any]:
    return [output for cell in cells(path, "code") for output in cell.outputs]


def texts(output: Any) -> list[str]:
    data = output.get("data", {})
    parts = [output.get("text"), output.get("evalue"), *output.get("traceback", [])]
    parts += [value for kind, value in data.items() if kind.startswith(("text/", "image/svg"))]
    return [part for part in parts if part]


def tree(source: str) -> ast.Module:
    found = compile(source, "", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(found, ast.Module)
    return found


def imports(source: str) -> list[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(tree(source)) if isinstance(node, ast.Import | ast.ImportFrom)]


def lines(source: str) -> int:
    """How many lines a cell has; an import of many names counts as one."""
    folded = sum((node.end_lineno or 0) - node.lineno for node in imports(source))
    return source.count("\n") + 1 - folded


def pictures(cell: Any) -> list[Any]:
    return [each for each in cell.get("outputs", ()) if "image/png" in each.get("data", {})]


def test_it_is_valid_and_its_ids_are_unique(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    assert notebook.metadata.language_info == {"name": "python"}


def test_it_was_run_from_top_to_bottom(path: Path) -> None:
    counts = [cell.execution_count for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1)), "nbval does not compare a cell without its count"


def test_its_beginning_says_what_for_and_for_whom(path: Path) -> None:
    first = cells(path)[0].source
    assert re.match(rf"# Part {notebooks.part(path)} · .+\n\n\S.*", first)
    marks = ["**You will be able to**", "**You need**", "**Time**"]
    assert sorted(marks, key=first.find) == marks
    assert all(mark in first for mark in marks)
    abilities = re.findall(r"^- ", first.partition("**You need**")[0], re.MULTILINE)
    assert 3 <= len(abilities) <= 5


def test_its_sections_are_in_order(path: Path) -> None:
    headings = re.findall(r"^## .*", "\n".join(cell.source for cell in cells(path, "markdown")), re.MULTILINE)
    assert [each for each in headings if each in SECTIONS] == SECTIONS == headings[-len(SECTIONS) :]
    assert cells(path)[-1].cell_type == "markdown", "a sentence that leads on comes last"
    assert cells(path)[-2].cell_type == "code", "before it, the clean-up cell"


def test_it_can_be_worked_through_in_an_hour(path: Path) -> None:
    assert len(cells(path, "code")) <= MOST_CELLS
    for cell in cells(path, "code"):
        assert lines(cell.source) <= MOST_LINES, cell.id
    prose = "\n".join(cell.source for cell in cells(path, "markdown"))
    words = re.sub(r"```.*?```|<[^>]*>", " ", prose, flags=re.DOTALL).split()
    assert len(words) <= MOST_WORDS


def test_an_error_is_shown_only_where_it_is_meant(path: Path) -> None:
    for cell in cells(path, "code"):
        errors = [output for output in cell.outputs if output.output_type == "error"]
        assert bool(errors) == ("raises-exception" in tags(cell)), cell.id
        assert not any(output.get("name") == "stderr" for output in cell.outputs), cell.id
        for error in errors:
            assert error.traceback == [f"{error.ename}: {error.evalue}"]


def test_no_output_depends_on_the_machine(path: Path) -> None:
    machine = {socket.gethostname(), getpass.getuser()} - {"root", "localhost"}
    for text in (text for output in outputs(path) for text in texts(output)):
        assert not re.search(r"(?<![\w.])(/[\w.-]+){2,}|[A-Z]:\\", text), f"an absolute path in {text!r}"
        assert not re.search(r"127\.0\.0\.1:\d|0x[0-9a-f]{6,}|\bpid \d", text), text
        assert not any(re.search(rf"\b{re.escape(word)}\b", text) for word in machine), text


def test_no_cell_is_skipped_or_left_out_of_the_comparison(path: Path) -> None:
    known = {"exercise", "solution", "hide-input", "raises-exception"}
    for cell in cells(path):
        assert set(tags(cell)) <= known or all(tag.startswith("shipper:") for tag in set(tags(cell)) - known)
        assert "NBVAL" not in cell.source


def test_every_picture_has_its_words_and_its_sentence(path: Path) -> None:
    everything = cells(path)
    for cell, after in pairwise(everything):
        for picture in pictures(cell):
            assert picture.metadata["image/png"]["alt"] == picture.data["text/plain"]
            assert len(picture.data["image/png"]) * 3 / 4 < MOST_PICTURE, cell.id
            assert after.cell_type == "markdown", cell.id
            assert after.source.startswith("**In the picture:**"), cell.id


def test_what_draws_shows_a_picture(path: Path) -> None:
    """nbval passes where the stored picture is missing altogether."""
    for cell in cells(path, "code"):
        draws = re.search(
            r"^(with picture|components|deliveries|partitions|scoreboard|sequence|stream|topology)\(",
            cell.source,
            re.MULTILINE,
        )
        assert bool(draws) == bool(pictures(cell)), cell.id


def test_exercises_come_with_folded_solutions_that_pass(path: Path) -> None:
    code = cells(path, "code")
    exercises = [cell for cell in code if "exercise" in tags(cell)]
    assert 3 <= len(exercises) <= 5
    for exercise in exercises:
        solution = code[code.index(exercise) + 1]
        assert "solution" in tags(solution)
        assert solution.metadata.jupyter.source_hidden
        assert solution.source.startswith("# Solution ")
        assert exercise.outputs[-1].text.startswith("not yet: ")
        assert solution.outputs[-1].text.startswith("✓ ")
        assert names(exercise.source).isdisjoint(names(solution.source)), "Run All would replace the answer"


def names(source: str) -> set[str]:
    """What a cell defines at its top level."""
    body = tree(source).body
    kinds = ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef
    found = {node.name for node in body if isinstance(node, kinds)}
    assigned = (target for node in body if isinstance(node, ast.Assign) for target in node.targets)
    return found | {target.id for target in assigned if isinstance(target, ast.Name)}


def test_it_has_five_questions_with_folded_answers(path: Path) -> None:
    (questions,) = (cell.source for cell in cells(path) if cell.source.startswith("## Questions"))
    assert questions.count("<details><summary>") == questions.count("</details>") == 5


def test_it_imports_only_public_names(path: Path) -> None:
    for cell in cells(path, "code"):
        for node in imports(cell.source):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            for module in modules:
                top = module.split(".")[0]
                assert top in ALLOWED or top in sys.stdlib_module_names, module
            assert not any(part.startswith("_") for name in modules + names for part in name.split("."))
            if modules == ["support"]:
                assert set(names) <= set(support.__all__), names


def test_it_waits_for_conditions_and_never_for_a_time(path: Path) -> None:
    for cell in cells(path, "code"):
        working = re.sub(
            r"^ +await asyncio\.sleep\([\w.]+\)  # (the work|before the next try)$",
            "",
            cell.source,
            flags=re.MULTILINE,
        )
        assert not re.search(r"\b(sleep|run_until_complete|asyncio\.run)\(", working), cell.id
        assert not re.search(r"^(%pip|!|import sys; sys\.path)", cell.source, re.MULTILINE), cell.id
