"""What happened to each message: deliveries, answers, the ack-wait clock, deliveries again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from .look import ROLE, clip, picture

ROW = 0.5  # inches for one row
FOOT = 1.15  # inches for the axis and the legend
BAR = 0.3  # height of the clock's bar, in rows
ABOVE, BELOW = -0.09, 0.27  # where deliveries and answers stand in a row: neither can hide the other
NAME = 24  # characters of a row's name
MARGIN = 0.03  # of the time shown, left and right


@dataclass(frozen=True, slots=True)
class Look:
    """How one kind of event is drawn; `clock` says whether the ack wait runs after it."""

    said: str
    marker: str
    colour: str
    size: float
    delivery: bool = False
    clock: bool = False

    @property
    def style(self) -> dict[str, Any]:
        """For matplotlib; a mark that is a line has no edge of its own."""
        edge = {"mec": self.colour, "mew": 3} if self.marker == "|" else {"mec": "white", "mew": 0.8}
        return {"marker": self.marker, "color": self.colour, **edge}


LOOKS = {
    "delivered": Look("delivered", "o", ROLE.producer, 11, delivery=True, clock=True),
    "again": Look("delivered again", "o", ROLE.redelivered, 11, delivery=True, clock=True),
    "ack": Look("ack", "^", ROLE.consumer, 9),
    "nak": Look("nak", "v", ROLE.refused, 9),
    "in progress": Look("in progress", "|", ROLE.consumer, 12, clock=True),
    "term": Look("term", "s", ROLE.ink, 8),
    "next": Look("ack and next", ">", ROLE.consumer, 9),
    "given up": Look("given up: advisory", "X", ROLE.lost, 10),
}
CLOCK = "#D3DEE8", "#A9BCCD"  # of one wait and the next, so that one sees where the clock began anew

Events = Sequence[tuple[float, str]]


def deliveries(rows: Mapping[str, Events], title: str, *, text: str | None = None) -> None:
    """Draw what happened to messages, one row each, and the time in which the server waited for an answer.

        deliveries({"nak": [(0.0, "delivered"), (0.1, "nak"), (0.1, "again"), (0.2, "ack")]}, "Once more")

    Arguments:
        rows: name → (seconds, event) in the order of time, with the first delivery at any time. Events are
            "delivered", "again" (the same message), "ack", "nak", "in progress", "term", "next" (ack and
            pull in one), and "given up" (the server's advisory).
        title: the finding.
        text: the picture in words, true for every run; None lists the events of each row without times.

    Raises ValueError for an event that it does not know.
    """
    if unknown := {event for events in rows.values() for _, event in events} - set(LOOKS):
        raise ValueError(f"no event is called {min(unknown)!r}: there are {', '.join(LOOKS)}")
    with picture(
        title,
        drawn="one row for each message, from the run; the bar is the time in which the server waits",
        text=text or describe(rows),
        height=ROW * max(len(rows), 3) + FOOT,
    ) as axes:
        _draw(axes, rows)


def describe(rows: Mapping[str, Events]) -> str:
    """The picture in words: what happened to each message in turn."""
    lines = [f"{name}: {', '.join(LOOKS[event].said for _, event in rows[name])}" for name in rows]
    return "\n".join(("Deliveries and answers:", *lines))


def clocks(events: Events, end: float) -> Iterator[tuple[float, float]]:
    """When the ack wait ran: (from, to) of each run of the clock; one that goes on ends at `end`."""
    for (begin, event), (until, _) in pairwise([*events, (end, "")]):
        if LOOKS[event].clock:
            yield begin, until


def _draw(axes: Axes, rows: Mapping[str, Events]) -> None:
    shifted = {
        name: [(when - events[0][0], event) for when, event in events] for name, events in rows.items()
    }
    end = max((events[-1][0] for events in shifted.values() if events), default=1.0) or 1.0
    seen: set[str] = set()
    for y, events in enumerate(shifted.values()):
        for turn, (begin, until) in enumerate(clocks(events, end * (1 + MARGIN))):
            bar = Rectangle((begin, y - BAR / 2 + ABOVE), until - begin, BAR, lw=0, zorder=1)
            bar.set_facecolor(CLOCK[turn % 2])
            axes.add_patch(bar)
        number = 0
        for when, event in events:
            look = LOOKS[event]
            seen.add(event)
            place = y + (ABOVE if look.delivery else BELOW)
            axes.plot(when, place, ms=look.size, ls="", zorder=3, clip_on=False, **look.style)
            number = number + 1 if event == "again" else 1 if event == "delivered" else number
            if event == "again":
                axes.text(
                    when, place + 0.01, f"{number}", color="white", weight="bold", fontsize=7,
                    ha="center", va="center", zorder=4,
                )  # fmt: skip
    axes.set(xlim=(-MARGIN * end, (1 + MARGIN) * end), ylim=(max(len(rows), 3) - 0.4, -0.5))
    axes.set(yticks=range(len(rows)), yticklabels=[clip(name, NAME) for name in rows])
    axes.set_xlabel("seconds after the first delivery of the message")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _explain(axes, [event for event in LOOKS if event in seen])


def _explain(axes: Axes, events: Sequence[str]) -> None:
    """A legend of what there is, below the axis."""
    looks = [LOOKS[event] for event in events]
    handles: list[Line2D | Patch] = [
        Line2D([], [], ls="", ms=8, label=look.said, **look.style) for look in looks
    ]
    handles.append(Patch(color=CLOCK[0], label="ack wait runs"))
    bottom = -0.62 / (ROW * (axes.get_ylim()[0] + 0.5))
    axes.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.4, bottom), ncols=5, fontsize=9,
        handletextpad=0.3, columnspacing=1.4, borderpad=0,
    )  # fmt: skip
