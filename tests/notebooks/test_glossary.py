"""The glossary: each term stands in the part that brings it, and in no earlier one."""

import re
from pathlib import Path

import nbformat
import pytest

from support import notebooks

ROWS = re.findall(
    r"^\| \*\*(.+?)\*\* \| (\d) \| (.+?) \|$", (notebooks.FOLDER / "GLOSSARY.md").read_text(), re.MULTILINE
)
TERMS = {term: int(part) for term, part, _ in ROWS}
PATHS = {notebooks.part(path): path for path in notebooks.find()}


def sentences(path: Path) -> list[str]:
    """The prose of a notebook, sentence by sentence, without code."""
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    prose = re.sub(r"```.*?```|`[^`]*`|<[^>]*>|\*", " ", prose, flags=re.DOTALL)
    return [" ".join(each.split()) for each in re.split(r"(?<=[.:?!])\s|\n\s*\n|\n- |\n#+ ", prose)]


def uses(sentence: str, term: str) -> bool:
    return bool(re.search(rf"(?<![\w-]){re.escape(term)}(s|es)?(?![\w-])", sentence, re.IGNORECASE))


def test_each_term_has_one_sentence_and_they_are_in_order() -> None:
    assert len(TERMS) == len(ROWS) > 20
    assert list(TERMS) == sorted(TERMS, key=str.lower)
    for term, _, sentence in ROWS:
        assert re.fullmatch(r"[A-Z0-9`*].*\.", sentence), term
        assert not re.search(r"[.?!] [A-Z]", sentence), f"{term}: one sentence, please"


@pytest.mark.parametrize("term", TERMS)
def test_a_term_stands_in_the_part_that_brings_it(term: str) -> None:
    assert TERMS[term] in PATHS, f"part {TERMS[term]} is still to come"
    assert any(uses(each, term) for each in sentences(PATHS[TERMS[term]]))


@pytest.mark.parametrize("part", PATHS)
def test_no_part_uses_a_term_of_a_later_one_unless_it_says_so(part: int) -> None:
    for sentence in sentences(PATHS[part]):
        later = [term for term, brought in TERMS.items() if brought > part and uses(sentence, term)]
        assert not later or re.search(r"parts? \d", sentence), f"{later} in: {sentence}"
