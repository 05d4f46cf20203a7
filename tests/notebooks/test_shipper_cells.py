"""A cell that teaches a function of the shipper holds just that function."""

import ast
import inspect
import re

import nbformat
import pytest

from support import notebooks
from support.shipper import subjects

MODULES = (subjects,)


def taught() -> list[tuple[str, str, str]]:
    """Notebook, name of the function, source of the cell."""
    found = []
    for path in notebooks.find():
        for cell in nbformat.read(path, as_version=4).cells:
            for tag in cell.metadata.get("tags", []):
                if name := re.fullmatch(r"shipper:(\w+)", tag):
                    found.append((path.stem, name[1], cell.source))
    return found


def bare(tree: ast.Module, name: str) -> str:
    """The function called `name`, without what only readers and type checkers need."""
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    if ast.get_docstring(function):
        function.body = function.body[1:]
    for argument in function.args.args:
        argument.annotation = None
    function.returns = None
    return ast.dump(function)


@pytest.mark.parametrize(
    ("path", "name", "source"), taught(), ids=[f"{each[0]}:{each[1]}" for each in taught()]
)
def test_the_cell_and_the_shipper_have_the_same_function(path: str, name: str, source: str) -> None:
    (module,) = (each for each in MODULES if hasattr(each, name))
    theirs = ast.parse(inspect.getsource(module))
    assert bare(ast.parse(source), name) == bare(theirs, name)


def test_there_are_such_cells() -> None:
    assert {name for _, name, _ in taught()} >= {"fnv1a", "partition", "subject_of"}


def test_a_difference_is_found() -> None:
    one, other = "def f(a):\n    return a % 2", "def f(a: int) -> int:\n    'Doc.'\n    return a % 3"
    assert bare(ast.parse(one), "f") != bare(ast.parse(other), "f")
    assert bare(ast.parse(one), "f") == bare(ast.parse(other.replace("3", "2")), "f")
