"""A sequence diagram of what crossed the wire."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from matplotlib.axes import Axes

from ..wire import Frame, Wire, is_inbox
from .look import ROLE, clip, picture

SERVER = "nats-server"
DRAWN_OPS = ("SUB", "UNSUB", "PUB", "MSG")
MOST = 30  # arrows in one picture
ROW = 0.44  # inches for one arrow
PAYLOAD = 24  # characters of a payload that are shown


def sequence(wire: Wire, title: str, *, text: str | None = None, most: int = MOST) -> None:
    """Draw who sent what to whom, from top to bottom; subscribers stand right of the server.

    Arguments:
        wire: what `trace` recorded.
        title: the finding.
        text: the picture in words, true for every run; None describes it arrow by arrow, and calls a
            member of a queue group just that, since chance chooses it.
        most: how many arrows to draw; the others are counted.
    """
    frames = [frame for frame in wire.only(*DRAWN_OPS) if not _is_inbox_subscription(frame)]
    lanes = _lanes(wire, frames[:most])
    drawn = "what crossed the wire, from the server's own trace; time in milliseconds, in the margin"
    if len(frames) > most:
        drawn += f"; {len(frames) - most} later messages not drawn"
    height = ROW * (min(len(frames), most) + 1.2)
    with picture(title, drawn=drawn, text=text or describe(wire, most=most), height=height) as axes:
        _draw(axes, lanes, frames[:most])


def describe(wire: Wire, *, most: int = MOST) -> str:
    """The diagram in words, one line for each arrow, the same for each run with the same messages."""
    frames = [frame for frame in wire.only(*DRAWN_OPS) if not _is_inbox_subscription(frame)]
    more = [f"and {len(frames) - most} later messages"] if len(frames) > most else []
    return "\n".join(("Sequence diagram:", *_sentences(wire, frames[:most]), *more))


def shorten(subject: str, *, tail: int = 3) -> str:
    """A subject as people want to read it: of an inbox only the last `tail` characters."""
    return f"_INBOX…{subject[-tail:] if tail else ''}" if is_inbox(subject) else subject


def _is_inbox_subscription(frame: Frame) -> bool:
    return frame.op in ("SUB", "UNSUB") and is_inbox(frame.subject)


def _sentences(wire: Wire, frames: list[Frame]) -> Iterator[str]:
    groups = {client: queue for (client, _), (_, queue) in wire.subscriptions.items() if queue}

    def sentence(frame: Frame) -> str:
        _, queue = wire.subscriptions.get((frame.client, frame.sid), ("", None))
        queue = queue or (groups.get(frame.client) if frame.op == "PUB" else None)
        chosen = queue and frame.op in ("PUB", "MSG")
        client = f"one member of {queue}" if chosen else frame.client
        path = f"{client} to server" if frame.to_server else f"server to {client}"
        return f"{path}: {_label(frame, tail=0)}"

    # The server hands one message to its subscribers in an order that is no promise.
    for _, run in groupby(frames, key=lambda frame: frame.op):
        yield from sorted(map(sentence, run))


def _label(frame: Frame, *, tail: int = 3) -> str:
    words = [frame.op, shorten(frame.subject, tail=tail)]
    if frame.op == "SUB" and frame.queue:
        words.append(f"queue {frame.queue}")
    if frame.op in ("PUB", "MSG"):
        content = frame.payload[: 4 * PAYLOAD].decode("utf-8", "backslashreplace")
        content = "".join(c if c.isprintable() else repr(c)[1:-1] for c in content)
        content = content if len(content) <= PAYLOAD else f"{content[:PAYLOAD]}…"
        words.append(f"“{content}”")
    return " ".join(words)


def _lanes(wire: Wire, frames: list[Frame]) -> list[str | None]:
    """The clients from left to right, and None for the server."""
    clients = {frame.client for frame in frames}
    chosen = {wire.subscriptions.get((frame.client, frame.sid)) for frame in frames if frame.op == "MSG"}
    # Of a queue group all members are drawn, so that one sees who was not chosen.
    clients |= {client for (client, _), each in wire.subscriptions.items() if each[1] and each in chosen}
    right = {client for (client, _), (subject, _) in wire.subscriptions.items() if not is_inbox(subject)}
    return [*sorted(clients - right), None, *sorted(clients & right)]


def _draw(axes: Axes, lanes: list[str | None], frames: list[Frame]) -> None:
    middle, margin = lanes.index(None), -0.24 * len(lanes)
    colours = [
        ROLE.producer if lane < middle else ROLE.server if lane == middle else ROLE.consumer
        for lane in range(len(lanes))
    ]
    for lane, name in enumerate(lanes):
        axes.axvline(lane, color=ROLE.faint, lw=1.5, zorder=0)
        axes.text(
            lane, 0, clip(name or SERVER, 100 // len(lanes)), color="white", weight="bold",
            ha="center", va="center", fontsize=9.5 if len(lanes) < 7 else 7,
            bbox={"boxstyle": "round,pad=0.45", "fc": colours[lane], "ec": "none"},
        )  # fmt: skip
    for row, frame in enumerate(frames, start=1):
        lane = lanes.index(frame.client)
        begin, end = (lane, middle) if frame.to_server else (middle, lane)
        colour = colours[lane] if frame.to_server else ROLE.server
        style = "--" if frame.op in ("SUB", "UNSUB") else "-"
        axes.annotate(
            "", (end, row), (begin, row),
            arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.6, "ls": style, "shrinkA": 0},
        )  # fmt: skip
        axes.text(
            (begin + end) / 2, row - 0.12, _label(frame), color=colour, fontsize=8.5,
            ha="center", va="bottom", bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85},
        )  # fmt: skip
        if frame.op == "PUB" and frame.reply:
            axes.text(
                (begin + end) / 2, row + 0.1, f"reply to {shorten(frame.reply)}", color=ROLE.quiet,
                fontsize=7.5, ha="center", va="top",
            )  # fmt: skip
        axes.text(margin, row, f"{frame.time * 1000:.1f}", color=ROLE.quiet, fontsize=8, va="center")
    axes.set_xlim(margin, len(lanes) - 0.4)
    axes.set_ylim(len(frames) + 0.6, -0.45)
    axes.axis("off")
