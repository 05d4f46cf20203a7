"""Who may import whom; ARCHITECTURE in one table."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import support

ROOT = Path(support.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))

# From the ground up: a module imports only what stands on a lower floor, or in its own room.
FLOORS = [
    {"_guard", "binary", "certificates", "config", "credentials", "limits", "log", "logs", "monitor"}
    | {"shipper", "waiting"},
    {"child"},
    {"private", "processes", "server"},
    {"cluster", "wire"},
    {"figures"},
    {"checks"},
    {"notebooks", "doctor"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room(module: str) -> str:
    return module.split(".")[0]


def imports(path: Path) -> set[str]:
    """The modules of `support` that the file imports, as paths below it: "checks.room"."""
    package = ["support", *path.relative_to(ROOT).parent.parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            whole = [*above, *node.module.split(".")] if node.module else above
            names = [whole] if node.module else [[*whole, alias.name] for alias in node.names]
            found.update(".".join(each[1:]) for each in names if each[0] == "support" and len(each) > 1)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_imports_only_what_stands_below_it(path: Path) -> None:
    here = room(name(path))
    if here == "__init__":
        return
    assert here in FLOOR, f"{name(path)} stands on no floor: give it one"
    for other in imports(path):
        assert room(other) == here or FLOOR[room(other)] < FLOOR[here], f"{name(path)} imports {other}"


def test_the_table_of_floors_names_only_what_exists() -> None:
    assert set(FLOOR) == {room(name(path)) for path in MODULES} - {"__init__"}


def test_what_is_exported_is_there_sorted_and_complete() -> None:
    assert support.__all__ == sorted(support.__all__)
    assert dir(support) == support.__all__
    for each in support.__all__:
        assert getattr(support, each) is not None
    shown_to_type_checkers = {
        alias.asname
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert shown_to_type_checkers == set(support.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = support.nonsense


def test_to_start_a_server_needs_no_drawing() -> None:
    code = "import sys; from support import NatsServer; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
