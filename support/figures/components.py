"""Which programs run, and who holds a connection to whom, as the operating system sees it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from ..limits import Running
from .look import ROLE, WIDTH, picture

ROW = 0.62  # inches for one component
BEND = 0.09  # of a line that has another one in the opposite direction
MARGIN = 0.1  # fraction of the width, left and right of the components' middles


Columns = Sequence[Mapping[str, Running | int]]


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """`connections` TCP connections that `opener` has opened to `listener` and that are open now."""

    opener: str
    listener: str
    connections: int


def components(columns: Columns, title: str, *, text: str | None = None) -> None:
    """Draw processes and the TCP connections between them that are open at this moment.

        components([{"you": os.getpid()}, {"nats-server": server}, {"audit": child}], "Three processes")

    Arguments:
        columns: the components, from left to right: name → what runs (it has a `pid`), or a process id.
            One that does not run is drawn in the colour of what is lost.
        title: the finding.
        text: the picture in words, true for every run; None lists who has connections to whom.
    """
    found = links(columns)
    rows = max(len(column) for column in columns)
    drawn = (
        "processes, and the TCP connections between them that are open now; the arrow starts at the opener"
    )
    with picture(
        title, drawn=drawn, text=text or describe(columns, found), height=ROW * (rows + 0.3)
    ) as axes:
        _draw(axes, columns, found)


def links(columns: Columns) -> list[Link]:
    """The open TCP connections between the components, counted for each pair, sorted."""
    listens: dict[tuple[str, int], str] = {}  # address → component
    holds: dict[tuple[str, int, str, int], str] = {}  # both ends as the component sees them → component
    for name, pid in _pids(columns).items():
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(pid).net_connections(kind="tcp") if pid else ():
                if each.status == psutil.CONN_LISTEN:
                    listens[each.laddr.ip, each.laddr.port] = name
                elif each.status == psutil.CONN_ESTABLISHED:
                    holds[each.laddr.ip, each.laddr.port, each.raddr.ip, each.raddr.port] = name
    counts: Counter[tuple[str, str]] = Counter()
    for (ip, port, other_ip, other_port), opener in holds.items():
        listener = listens.get((other_ip, other_port))
        # Both ends must be there: a dead component leaves its end open for a moment.
        if listener and holds.get((other_ip, other_port, ip, port)) == listener != opener:
            counts[opener, listener] += 1
    return sorted(Link(*pair, connections) for pair, connections in counts.items())


def describe(columns: Columns, found: list[Link]) -> str:
    """The picture in words, without the counts, which are chance."""
    lines = [f"from {each.opener} to {each.listener}" for each in found]
    lines += [f"{name} does not run" for name, pid in sorted(_pids(columns).items()) if pid is None]
    names = ", ".join(name for column in columns for name in column)
    return "\n".join((f"Components: {names}. Connections are open", *lines))


def _pids(columns: Columns) -> dict[str, int | None]:
    return {
        name: what if isinstance(what, int) else what.pid
        for column in columns
        for name, what in column.items()
    }


def _draw(axes: Axes, columns: Columns, found: list[Link]) -> None:
    rows = max(len(column) for column in columns)
    pids = _pids(columns)
    places: dict[str, tuple[float, float]] = {}
    colours: dict[str, str] = {}
    for index, column in enumerate(columns):
        x = MARGIN + (1 - 2 * MARGIN) * (index / (len(columns) - 1) if len(columns) > 1 else 0.5)
        for row, name in enumerate(column):
            places[name] = x, (row + 0.5) * rows / len(column)
            colours[name] = _colour(index, len(columns)) if pids[name] else ROLE.lost
            axes.text(
                *places[name], name, color="white", weight="bold", ha="center", va="center", fontsize=9.5,
                zorder=3, bbox={"boxstyle": "round,pad=0.45", "fc": colours[name], "ec": "none"},
            )  # fmt: skip
    pairs = {(each.opener, each.listener) for each in found}
    for each in found:
        bend = BEND if (each.listener, each.opener) in pairs else 0.0
        _line(axes, places, each, colours[each.opener], bend)
    axes.set_xlim(0, 1)
    axes.set_ylim(rows + 0.1, -0.1)
    axes.axis("off")


def _colour(index: int, columns: int) -> str:
    """Who asks stands left, who serves stands right, and what is between them in the middle."""
    if index == 0:
        return str(ROLE.producer)
    return str(ROLE.consumer if index == columns - 1 else ROLE.server)


def _line(
    axes: Axes, places: Mapping[str, tuple[float, float]], link: Link, colour: str, bend: float
) -> None:
    (x, y), (to_x, to_y) = places[link.opener], places[link.listener]
    slope = math.atan2((to_y - y) * ROW, (to_x - x) * WIDTH)
    axes.annotate(
        "", (to_x, to_y), (x, y), zorder=1,
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "lw": 1.3, "connectionstyle": f"arc3,rad={bend}",
            "shrinkA": 0, "shrinkB": _edge(link.listener, slope),
        },
    )  # fmt: skip
    if link.connections > 1:
        axes.text(
            (x + to_x) / 2, (y + to_y) / 2, f"{link.connections}", fontsize=8.5, color=colour,
            ha="center", va="center", zorder=2, bbox={"fc": "white", "ec": "none", "pad": 0.8},
        )  # fmt: skip


def _edge(name: str, slope: float) -> float:
    """How far the edge of the box with `name` is from its middle, in points, in the direction `slope`."""
    font = FontProperties(family="DejaVu Sans", weight="bold")
    half_width = TextPath((0, 0), name, size=9.5, prop=font).get_extents().width / 2 + 7
    half_height = 11.0
    across, down = abs(math.cos(slope)), abs(math.sin(slope))
    return min(half_width / max(across, 1e-6), half_height / max(down, 1e-6))
