"""Which host's lines went through which partition to which worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from .look import ROLE, clip, picture

ROW = 0.36  # inches for one host
HOST_X, PARTITION_X, WORKER_X = 0.3, 0.56, 0.84  # right edge of a host's name; the middle of the others
NAME = 24  # characters of a name, at most
SHADES = "#009E73", "#004D38", "#6CC9A9", "#00785A", "#A3DCC7"  # of workers: those of a consumer's green


def partitions(
    hosts: Mapping[str, int], workers: Mapping[str, Sequence[int]], title: str, *, text: str | None = None
) -> None:
    """Draw the way of each host's lines.

        partitions({"web1": 0, "web2": 1}, {"worker-1": [0], "worker-2": [1]}, "One worker for each host")

    Arguments:
        hosts: host → the partition in which its lines travelled.
        workers: worker → the partitions that it reads.
        title: the finding.
        text: the picture in words, true for every run; None lists the ways.
    """
    numbers = sorted({number for read in workers.values() for number in read} | set(hosts.values()))
    rows = max(len(hosts), len(workers), len(numbers))
    with picture(
        title,
        drawn="from left to right: hosts, the partition in their subjects, the worker that reads it",
        text=text or describe(hosts, workers),
        height=ROW * (rows + 1),
    ) as axes:
        _draw(axes, hosts, workers, numbers, rows)


def describe(hosts: Mapping[str, int], workers: Mapping[str, Sequence[int]]) -> str:
    """The picture in words."""
    lines = []
    for host, number in hosts.items():
        readers = [name for name, read in workers.items() if number in read]
        lines.append(f"{host} → p{number} → {', '.join(readers) or 'nobody'}")
    return "\n".join(("Host → partition → worker:", *lines))


def _draw(
    axes: Axes,
    hosts: Mapping[str, int],
    workers: Mapping[str, Sequence[int]],
    numbers: Sequence[int],
    rows: int,
) -> None:
    place = {number: _y(index, len(numbers), rows) for index, number in enumerate(numbers)}
    colours = {name: SHADES[i % len(SHADES)] for i, name in enumerate(workers)}
    reader = {number: name for name, read in workers.items() for number in read}
    for index, (host, number) in enumerate(hosts.items()):
        y, colour = _y(index, len(hosts), rows), colours.get(reader.get(number, ""), ROLE.lost)
        axes.plot((HOST_X + 0.01, PARTITION_X), (y, place[number]), color=colour, lw=1.4, zorder=1)
        axes.text(HOST_X, y, clip(host, NAME), ha="right", va="center", fontsize=9.5)
    for index, (name, read) in enumerate(workers.items()):
        y = _y(index, len(workers), rows)
        for number in read:
            axes.plot((PARTITION_X, WORKER_X), (place[number], y), color=colours[name], lw=1.4, zorder=1)
        _name(axes, WORKER_X, y, name, colours[name])
    for number, y in place.items():
        _name(axes, PARTITION_X, y, f"p{number}", ROLE.server)
    for x, label in (HOST_X - 0.1, "host"), (PARTITION_X, "partition"), (WORKER_X, "worker"):
        axes.text(x, -0.45, label, ha="center", va="center", fontsize=9, color=ROLE.quiet)
    axes.set_xlim(0, 1)
    axes.set_ylim(rows, -0.8)
    axes.axis("off")


def _y(index: int, count: int, rows: int) -> float:
    return (index + 0.5) * rows / count


def _name(axes: Axes, x: float, y: float, name: str, colour: str) -> None:
    axes.text(
        x, y, clip(name, NAME), color="white", weight="bold", ha="center", va="center", fontsize=9.5,
        zorder=3, bbox={"boxstyle": "round,pad=0.35", "fc": colour, "ec": "none"},
    )  # fmt: skip
