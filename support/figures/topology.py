"""Who is connected to a server and subscribed to what, at this moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..monitor import Connection
from ..server import NatsServer
from ..wire import is_inbox
from .look import ROLE, clip, picture

ROW = 0.42  # inches for one client
MOST = 12  # clients on each side
NAME = 16  # characters of a name
SUBJECTS = 2  # of one client that are named
BOX = 0.8  # rows that a queue group's box takes beside its members
SENDER_X, SERVER_X, BEND_X, LABEL_X, SUBSCRIBER_X = 0.1, 0.36, 0.47, 0.6, 0.86  # fractions of the width


@dataclass(frozen=True, slots=True, order=True)
class Interest:
    """What one client subscribes to: one subject in a queue group, or all its plain subjects."""

    queue: str
    subject: str
    client: str


def topology(server: NatsServer, title: str, *, text: str | None = None) -> None:
    """Draw the clients of a running server: left those that only send, right those that subscribe.

    Arguments:
        server: must run; its live connections are drawn, members of a queue group in one box.
        title: the finding.
        text: the picture in words, true for every run; None lists who subscribes to what.
    """
    connections = server.monitor.connz().connections
    interests = sorted(each for connection in connections for each in _interests(connection))
    listening = {each.client for each in interests}
    senders = sorted(each.label for each in connections if each.label not in listening)
    rows = max(len(senders[:MOST]), len(interests[:MOST]) + _boxes(interests[:MOST]) * BOX, 2)
    drawn = "the server's live connections (/connz); dashed: a subscription"
    if (hidden := len(senders[MOST:]) + len(interests[MOST:])) > 0:
        drawn += f"; {hidden} more not drawn"
    with picture(
        title, drawn=drawn, text=text or describe(senders, interests), height=ROW * rows + 0.3
    ) as axes:
        _draw(axes, senders[:MOST], interests[:MOST], rows)


def describe(senders: list[str], interests: list[Interest]) -> str:
    """The picture in words."""
    lines = [f"{sender} only sends" for sender in senders]
    for each in interests:
        group = f", in queue group {each.queue}" if each.queue else ""
        lines.append(f"{each.client} subscribes to {each.subject}{group}")
    return "\n".join(("Connected to nats-server:", *(lines or ["nobody"])))


def _interests(connection: Connection) -> Iterator[Interest]:
    found = [each for each in connection.subscriptions if not is_inbox(each.subject)]
    for each in found:
        if each.queue:
            yield Interest(each.queue, each.subject, connection.label)
    if plain := sorted(each.subject for each in found if not each.queue):
        more = ", …" if len(plain) > SUBJECTS else ""
        yield Interest("", ", ".join(plain[:SUBJECTS]) + more, connection.label)


def _boxes(interests: list[Interest]) -> int:
    return len({(each.queue, each.subject) for each in interests if each.queue})


def _draw(axes: Axes, senders: list[str], interests: list[Interest], rows: float) -> None:
    middle = rows / 2
    _name(axes, SERVER_X, middle, "nats-server", ROLE.server)
    for index, sender in enumerate(senders):
        y = middle + index - (len(senders) - 1) / 2
        axes.plot((SENDER_X, SERVER_X), (y, middle), color=ROLE.producer, lw=1.4, zorder=1)
        _name(axes, SENDER_X, y, sender, ROLE.producer)
    y = middle - (len(interests) + BOX * _boxes(interests)) / 2 + 0.5
    for (queue, subject), group in groupby(interests, key=lambda each: (each.queue, each.subject)):
        members = [each.client for each in group]
        if queue:
            _frame(axes, y - 0.45, len(members) + BOX - 0.1, f"queue group {queue}")
            y += BOX - 0.2
        for client in members:
            _interest(axes, middle, y, subject)
            _name(axes, SUBSCRIBER_X, y, client, ROLE.consumer)
            y += 1
        y += 0.2 if queue else 0
    axes.set_xlim(0, 1)
    axes.set_ylim(rows, 0)
    axes.axis("off")


def _name(axes: Axes, x: float, y: float, name: str, colour: str) -> None:
    axes.text(
        x, y, clip(name, NAME), color="white", weight="bold", ha="center", va="center", fontsize=9.5,
        zorder=3, bbox={"boxstyle": "round,pad=0.4", "fc": colour, "ec": "none"},
    )  # fmt: skip


def _interest(axes: Axes, middle: float, y: float, subject: str) -> None:
    path = (SERVER_X, BEND_X, SUBSCRIBER_X), (middle, y, y)
    axes.plot(*path, color=ROLE.consumer, lw=1.4, ls="--", zorder=1)
    axes.text(
        LABEL_X, y, clip(subject, 2 * NAME), fontsize=8.5, color=ROLE.consumer, ha="center", va="center",
        zorder=2, bbox={"fc": "white", "ec": "none", "pad": 1},
    )  # fmt: skip


def _frame(axes: Axes, y: float, height: float, title: str) -> None:
    """A box around the members of a queue group; `y` is its upper edge."""
    axes.add_patch(
        Rectangle((SUBSCRIBER_X - 0.125, y), 0.25, height, fc="#F3F8F6", ec=ROLE.consumer, lw=1, zorder=0.5)
    )
    axes.text(SUBSCRIBER_X, y + 0.28, title, fontsize=8.5, color=ROLE.consumer, ha="center", va="center")
