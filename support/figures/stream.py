"""What a stream holds, what it has let go, and how far each of its consumers is."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from nats.js.api import ConsumerInfo, StreamInfo

from .look import ROLE, clip, picture

MOST_BOXES = 40  # messages that get a box each; more are drawn as one bar
MOST_GONE = 3  # boxes for messages that were let go at the beginning
BAR_GONE = 0.06  # fraction of the bar that they take at least, so that they are seen
LABELS = 0.14  # fraction of the width for the names on the left
CHARACTER = 0.0095  # fraction of the width that one of the consumers' numbers takes
ROW = 0.36  # inches for one consumer
NAME = 14  # characters of a name, at most
HELD = "#CFD9E4"  # the messages themselves
PALE = 0.3  # of what is delivered and not yet acknowledged


def stream(
    info: StreamInfo, consumers: Sequence[ConsumerInfo], title: str, *, text: str | None = None
) -> None:
    """Draw a stream and the position of each consumer, as the server tells them.

        stream(await js.stream_info("LOGS"), await js.consumers_info("LOGS"), "Two consumers, two views")

    Arguments:
        info: the stream. consumers: its consumers, all or some; drawn in the order of their names.
        title: the finding.
        text: the picture in words, true for every run; None lists sequences and counts.

    Up to 40 messages are boxes with their sequence; more are one bar with the first and the last one.
    """
    found = sorted(consumers, key=lambda each: each.name)
    with picture(
        title,
        drawn="messages by sequence, dotted: let go; below, consumers: acknowledged solid, delivered pale",
        text=describe(info, found) if text is None else text,
        height=0.85 + ROW * len(found),
    ) as axes:
        _draw(axes, info, found)


def describe(info: StreamInfo, consumers: Sequence[ConsumerInfo]) -> str:
    """The picture in words."""
    state = info.state
    held = f"holds {state.messages:,} message{'s' * (state.messages > 1)}" if state.messages else "is empty"
    span = f", {state.first_seq:,} to {state.last_seq:,}" if state.messages else ""
    if state.messages and state.first_seq == state.last_seq:
        span = f", {state.first_seq:,}"
    lines = [f"Stream {info.config.name} {held}{span}; {_let_go(info):,} were let go."]
    return "\n".join((*lines, *(f"{each.name}: {_numbers(each)}" for each in consumers)))


def _let_go(info: StreamInfo) -> int:
    """How many of all messages that were ever stored are no longer there."""
    return info.state.last_seq - info.state.messages


def _numbers(info: ConsumerInfo) -> str:
    floor, delivered = _position(info)
    said = f"ack floor {floor:,} · delivered {delivered:,} · pending {info.num_pending or 0:,}"
    return f"{said} · redelivered {info.num_redelivered:,}" if info.num_redelivered else said


def _position(info: ConsumerInfo) -> tuple[int, int]:
    """Stream sequences: all up to the first are acknowledged, the last one that was delivered."""
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    return floor, info.delivered.stream_seq if info.delivered else 0


class _Scale:
    """Where a message stands: the left edge of sequence `n` is `at(n)`, from 0 to 1."""

    def __init__(self, info: StreamInfo) -> None:
        state = info.state
        self.last = state.last_seq
        self.first = state.first_seq if state.messages else state.last_seq + 1
        gone = self.first - 1
        # A stream that holds few messages of very many is drawn as these few.
        self.boxes = self.last - self.first + 1 + min(gone, MOST_GONE) <= MOST_BOXES
        if self.boxes:
            self.begin = max(1, self.first - MOST_GONE)
            self.share = (self.first - self.begin) / max(1, self.last - self.begin + 1)
        else:
            self.begin = 1
            self.share = min(max(gone / self.last, BAR_GONE), 0.3) if gone else 0.0

    def at(self, sequence: int) -> float:
        sequence = min(max(sequence, self.begin), self.last + 1)
        if sequence < self.first:
            return self.share * (sequence - self.begin) / (self.first - self.begin)
        held = self.last + 1 - self.first
        return self.share + (1 - self.share) * ((sequence - self.first) / held if held else 0)


def _draw(axes: Axes, info: StreamInfo, consumers: Sequence[ConsumerInfo]) -> None:
    scale = _Scale(info)
    _name(axes, str(info.config.name), 0.5, ROLE.ink, 11)
    if scale.boxes:
        _boxes(axes, info, scale)
    else:
        _bar(axes, info, scale)
    if gone := scale.first - 1:
        before = f"{gone:,} let go" if scale.last >= scale.first else f"all {gone:,} let go"
        axes.text(0, -0.12, before, fontsize=8.5, color=ROLE.quiet, va="bottom")
    elif not scale.last:
        axes.text(0, 0.5, "nothing stored yet", fontsize=9.5, color=ROLE.quiet, va="center")
    for row, each in enumerate(consumers):
        _consumer(axes, each, scale, 1.35 + 0.62 * row)
    axes.set_xlim(-LABELS, 1.005)
    axes.set_ylim(1.3 + 0.62 * len(consumers), -0.5)
    axes.axis("off")


def _boxes(axes: Axes, info: StreamInfo, scale: _Scale) -> None:
    holes = set(info.state.deleted or ())
    size = 9 if scale.last - scale.begin < 26 else 7
    for sequence in range(scale.begin, scale.last + 1):
        left, right = scale.at(sequence), scale.at(sequence + 1)
        there = sequence >= scale.first and sequence not in holes
        _box(axes, left, right, there=there, gap=0.12 * (right - left))
        axes.text(
            (left + right) / 2, 0.5, str(sequence), ha="center", va="center", fontsize=size,
            color=ROLE.ink if there else ROLE.quiet,
        )  # fmt: skip


def _bar(axes: Axes, info: StreamInfo, scale: _Scale) -> None:
    if scale.share:
        _box(axes, 0, scale.share, there=False, gap=0.004)
    _box(axes, scale.share, 1, there=True, gap=0)
    middle = (scale.share + 1) / 2
    for x, said, side in (
        (scale.share + 0.008, f"{scale.first:,}", "left"),
        (middle, f"{info.state.messages:,} messages", "center"),
        (0.992, f"{scale.last:,}", "right"),
    ):
        axes.text(x, 0.5, said, ha=side, va="center", fontsize=9.5)


def _box(axes: Axes, left: float, right: float, *, there: bool, gap: float) -> None:
    box = Rectangle((left, 0), right - left - gap, 1)
    if there:
        box.set(facecolor=HELD, edgecolor="none")
    else:
        box.set(facecolor="none", edgecolor=ROLE.quiet, linestyle=":", linewidth=1)
    axes.add_patch(box)


def _consumer(axes: Axes, info: ConsumerInfo, scale: _Scale, y: float) -> None:
    floor, delivered = _position(info)
    begin, solid = scale.at(scale.first), scale.at(floor + 1)
    pale = scale.at(max(floor, delivered) + 1)
    _name(axes, info.name, y, ROLE.consumer, 10)
    for left, right, alpha in (begin, solid, 1.0), (max(begin, solid), pale, PALE):
        if right > left:
            bar = Rectangle((left, y - 0.17), right - left, 0.34)
            bar.set(facecolor=ROLE.consumer, edgecolor="none", alpha=alpha)
            axes.add_patch(bar)
    said = _numbers(info)
    end, wide = max(begin, solid, pale), CHARACTER * (len(said) + 2)
    x, side, colour, behind = end + 0.012, "left", ROLE.consumer, "none"
    if end + wide > 1:  # no room on the right of the bar
        if solid - begin > wide:
            x, colour = begin + 0.012, "white"
        else:
            x, side = end - 0.012, "right"
            colour, behind = (ROLE.ink, "none") if end - max(begin, solid) > wide else (colour, "white")
    axes.text(
        x, y, said, va="center", fontsize=8.5, ha=side, color=colour,
        bbox={"fc": behind, "ec": "none", "pad": 1},
    )  # fmt: skip


def _name(axes: Axes, name: str, y: float, colour: str, size: float) -> None:
    axes.text(
        -0.012, y, clip(name, NAME), ha="right", va="center", weight="bold", color=colour, fontsize=size
    )
