"""Which demands on the log shipper are met so far, each with the number that was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from .look import ROLE, picture

DEMANDS = {
    "producers": "many producers, any rate",
    "scale": "consumers scale out and up",
    "lost": "no line lost",
    "order": "order within a host",
    "writer": "one writer for each file",
    "secured": "across networks, secured",
    "full": "a full disk is answered",
}
PARTS = range(4, 10)
KEY = "scoreboard"  # under which a notebook keeps its results, in the metadata of the picture
LABELS = 1.8  # widths of a cell that the names of the demands take
ROW = 0.34  # inches
MOST = 10  # characters in a cell

Results = Mapping[str, tuple[bool, str]]  # demand → whether it is met, and the number


def scoreboard(part: int, **measured: tuple[bool, str]) -> None:
    """Draw the scoreboard as it stands after `part`.

        scoreboard(4, order=(inversions == 0, f"{inversions:,} inv."), secured=(refused, "mutual TLS"))

    Arguments:
        part: the part whose notebook this is; the columns of the earlier parts hold what their notebooks,
            in this folder, have measured when they were run last.
        measured: demand (a key of `DEMANDS`) → whether it is met, and the number that shows it, in 10
            characters at most. What is left out stands as it did before.
    """
    if unknown := set(measured) - set(DEMANDS):
        raise TypeError(f"no demand is called {min(unknown)}: there are {', '.join(DEMANDS)}")
    if long := [shown for _, shown in measured.values() if len(shown) > MOST]:
        raise ValueError(f"{long[0]!r} does not fit into a cell: say it in {MOST} characters")
    columns = {each: recorded(Path(), each) for each in PARTS if each < part} | {part: measured}
    met = sum(good for good, _ in standing(columns, part).values())
    with picture(
        f"After part {part}, {met} of {len(DEMANDS)} demands are met",
        drawn="each demand by part, with the number measured there; pale: as before; empty: not yet tried",
        text=describe(part, measured),
        height=ROW * (len(DEMANDS) + 1.2),
        more={KEY: {name: [bool(good), shown] for name, (good, shown) in measured.items()}},
    ) as axes:
        _draw(axes, columns, part)


def describe(part: int, measured: Results) -> str:
    """The column of this part in words, without the numbers, which are chance."""
    said = {name: "met" if good else "not met" for name, (good, _) in measured.items()}
    lines = [f"{label}: {said[name]}" for name, label in DEMANDS.items() if name in said]
    return "\n".join((f"Scoreboard, measured in part {part}:", *lines))


def recorded(folder: Path, part: int) -> Results:
    """What the notebook of a part has measured; nothing if it is not there, or was not run."""
    for path in sorted(folder.glob(f"{part:02}_*.ipynb")):
        try:
            cells = json.loads(path.read_text("utf-8"))["cells"]
        except (ValueError, KeyError):  # just being saved
            cells = []
        for cell in cells if "-Copy" not in path.name else ():
            for output in cell.get("outputs", ()):
                if found := output.get("metadata", {}).get(KEY):
                    return {name: (good, shown) for name, (good, shown) in found.items() if name in DEMANDS}
    return {}


def standing(columns: Mapping[int, Results], part: int) -> dict[str, tuple[bool, str]]:
    """What holds after `part`: for each demand the newest result."""
    found: dict[str, tuple[bool, str]] = {}
    for each in sorted(columns):
        if each <= part:
            found.update(columns[each])
    return found


def _draw(axes: Axes, columns: Mapping[int, Results], part: int) -> None:
    for x, number in enumerate(PARTS):
        known = number <= part
        colour = ROLE.ink if known else ROLE.quiet
        axes.text(x + 0.5, -0.35, f"part {number}", ha="center", va="center", fontsize=9.5, color=colour)
        before = standing(columns, number - 1)
        for y, name in enumerate(DEMANDS):
            if known and name in columns[number]:
                _cell(axes, x, y, *columns[number][name])
            elif known and name in before:
                _cell(axes, x, y, before[name][0], "", pale=True)
            else:
                _box(axes, x, y, ROLE.faint, 0.5)
    for y, label in enumerate(DEMANDS.values()):
        axes.text(-0.12, y + 0.5, label, ha="right", va="center", fontsize=10)
    axes.set_xlim(-LABELS, len(PARTS))
    axes.set_ylim(len(DEMANDS), -0.7)
    axes.axis("off")


def _cell(axes: Axes, x: int, y: int, good: bool, shown: str, *, pale: bool = False) -> None:
    colour = ROLE.consumer if good else ROLE.lost
    _box(axes, x, y, colour, 0.18 if pale else 1.0)
    text = shown or ("✓" if good else "✗")
    axes.text(
        x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, weight="bold",
        color=colour if pale else "white",
    )  # fmt: skip


def _box(axes: Axes, x: int, y: int, colour: str, alpha: float) -> None:
    style = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch((x + 0.07, y + 0.14), 0.86, 0.72, boxstyle=style, mutation_aspect=0.4)
    box.set(facecolor=colour, edgecolor="none", alpha=alpha)
    axes.add_patch(box)
