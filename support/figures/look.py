"""The look of every picture in the series: set here and nowhere else.

Colours are the set of Okabe and Ito ("Color Universal Design", 2008), which colour-blind readers can
tell apart; each stands for one role from part 1 to part 9.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler
from IPython.display import display
from matplotlib.figure import Figure

ROLE = SimpleNamespace(
    producer="#0072B2",  # blue: producers, clients that ask, first deliveries
    server="#4A5060",  # grey: the server
    consumer="#009E73",  # green: consumers, services, success
    lost="#D55E00",  # vermilion: lost
    redelivered="#CC79A7",  # pink: delivered again
    refused="#E69F00",  # amber: refused
    ink="#1F2430",
    quiet="#8A909C",
    faint="#DDE1E7",
)
WIDTH = 8.0  # inches: the width of a notebook's output at 100 dpi
HEAD = 0.52  # inches for title and line below it

_SETTINGS: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",  # it comes with matplotlib: the same everywhere
    "font.size": 10,
    "axes.titlesize": 10,
    "text.color": ROLE.ink,
    "text.parse_math": False,  # a $ in a payload is a $
    "axes.edgecolor": ROLE.quiet,
    "axes.labelcolor": ROLE.ink,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(
        color=[ROLE.producer, ROLE.consumer, ROLE.lost, ROLE.redelivered, ROLE.refused, ROLE.server]
    ),
    "xtick.color": ROLE.quiet,
    "ytick.color": ROLE.quiet,
    "xtick.labelcolor": ROLE.ink,
    "ytick.labelcolor": ROLE.ink,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "axes.grid.axis": "y",
    "grid.color": ROLE.faint,
}


@contextmanager
def picture(
    title: str,
    *,
    drawn: str,
    text: str,
    height: float = 3.0,
    rows: int = 1,
    columns: int = 1,
    more: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """Draw a picture in the look of the series, and show it when the block ends.

        with picture("Ten starts, all under 100 ms", drawn="...", text="...") as axes:
            axes.plot(...)

    Arguments:
        title: the finding. drawn: what is drawn, in one line.
        text: what it shows, for readers who cannot see it. The tests compare it with a fresh run,
            and pixels they cannot compare: so it must hold for every run.
        height: of the axes, in inches; the width is that of the notebook.
        rows, columns: how many axes; the block gets what `plt.subplots` returns.
        more: what the notebook is to keep with the picture, in its metadata.
    """
    whole = height + HEAD
    with plt.rc_context(_SETTINGS), warnings.catch_warnings():
        figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, whole))
        # A character that the font lacks is drawn as a box, and that is enough said.
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
        try:
            yield axes
            figure.tight_layout(rect=(0, 0, 1, 1 - HEAD / whole))
            figure.text(0.015, 1 - 0.08 / whole, title, fontsize=12.5, weight="bold", va="top")
            figure.text(0.015, 1 - 0.34 / whole, drawn, fontsize=9, color=ROLE.quiet, va="top")
            _show(figure, text, more or {})
        finally:
            plt.close(figure)


def clip(name: str, most: int) -> str:
    """A name of at most `most` characters; a longer one ends with …"""
    return name if len(name) <= most else f"{name[: max(most - 1, 1)]}…"


def _show(figure: Figure, text: str, more: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    png = base64.b64encode(content.getvalue()).decode()
    metadata = {"image/png": {"alt": text}, **more}
    display({"image/png": png, "text/plain": text}, raw=True, metadata=metadata)
