"""environment.yml, pyproject.toml and requirements.lock say the same; the README tells the truth."""

import re
import tomllib
from pathlib import Path

import pytest

from support import notebooks

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
README = (ROOT / "README.md").read_text()


def direct() -> list[str]:
    return [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]


def normal(requirement: str) -> str:
    return re.split(r"[=<>~ ]", requirement)[0].lower().replace("_", "-")


def test_the_lock_pins_every_direct_dependency() -> None:
    pinned = set(map(normal, LOCK))
    assert {normal(each) for each in direct()} <= pinned


def test_the_lock_holds_exact_versions_and_nothing_else() -> None:
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        assert re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line), line


@pytest.mark.parametrize("name", ["requirements.lock", "environment.yml", "pyproject.toml", "Makefile"])
def test_no_file_names_an_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index-url" not in text


def test_conda_gets_the_same_packages_in_the_same_versions() -> None:
    environment = (ROOT / "environment.yml").read_text()
    pins = dict(re.findall(r"^ +- ([\w-]+)==(\S+)$", environment, re.MULTILINE))
    assert pins == {normal(each): LOCK[each] for each in PROJECT["dependencies"]}
    assert "- -c requirements.lock" in environment
    assert "- -e ." in environment
    assert PROJECT["requires-python"] == ">=3.11"
    assert "- python=3.12" in environment


def test_each_dependency_is_argued_in_the_readme() -> None:
    for each in direct():
        if not each.startswith("types-"):
            assert re.search(rf"^\| `{re.escape(each)}`", README, re.MULTILINE), each


def test_the_file_map_names_what_exists() -> None:
    block = README.partition("## File map")[2].split("```")[1]
    for line in block.splitlines():
        if path := line.split("  ")[0].strip():
            for each in path.split(" · "):
                assert (ROOT / each).exists(), each


def test_the_file_map_leaves_no_module_out() -> None:
    block = README.partition("## File map")[2].split("```")[1]
    for path in (ROOT / "support").iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert f"support/{path.name}" in block, path.name


def test_the_readme_lists_nine_parts_and_marks_those_to_come() -> None:
    rows = re.findall(r"^\| (\d) \| (.*)\|$", README, re.MULTILINE)
    assert [number for number, _ in rows] == [str(number) for number in range(1, 10)]
    for number, row in rows:
        exists = any((ROOT / "notebooks").glob(f"0{number}_*.ipynb"))
        assert exists != ("to come" in row), f"part {number}"
        for link in re.findall(r"\]\(([^)]+)\)", row):
            assert (ROOT / link).exists(), link


def test_the_picture_is_the_one_that_part_3_holds() -> None:
    assert "![" in README
    assert notebooks.README_PICTURE.read_bytes() == notebooks.readme_picture(), "run `make save`"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = (
        README,
        (ROOT / "Makefile").read_text(),
        *(p.read_text() for p in (ROOT / "support").rglob("*.py")),
    )
    named = {word for text in texts for word in re.findall(r"[`\"(]make ([a-z]+)", text)}
    assert named <= targets, named - targets
    assert {"setup", "lab", "run", "test", "save", "clean"} <= targets
