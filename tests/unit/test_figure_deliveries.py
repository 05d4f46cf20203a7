"""The picture of deliveries: what it says, when the clock runs, and that marks can be told apart."""

import base64
from typing import Any

import matplotlib as mpl
import pytest

from support.figures import deliveries
from support.figures.deliveries import LOOKS, clocks

mpl.use("Agg")

ROWS = {
    "ack": [(5.0, "delivered"), (5.1, "ack")],
    "nak": [(0.0, "delivered"), (0.1, "nak"), (0.1, "again"), (0.2, "ack")],
    "in progress": [(0.0, "delivered"), (0.4, "in progress"), (0.8, "ack")],
    "term": [(0.0, "delivered"), (0.1, "term")],
    "next": [(0.0, "delivered"), (0.1, "next"), (0.1, "delivered"), (0.2, "ack")],
    "no answer": [(0.0, "delivered"), (0.5, "again"), (1.0, "given up")],
}


def test_each_row_is_told_in_words_without_times(shown: list[dict[str, Any]]) -> None:
    deliveries(ROWS, "Six ways")
    later = {name: [(3 * when + 1, event) for when, event in events] for name, events in ROWS.items()}
    deliveries(later, "Six ways, on a slower machine")
    assert shown[0]["text/plain"] == shown[1]["text/plain"]
    assert shown[0]["text/plain"].splitlines() == [
        "Deliveries and answers:",
        "ack: delivered, ack",
        "nak: delivered, nak, delivered again, ack",
        "in progress: delivered, in progress, ack",
        "term: delivered, term",
        "next: delivered, ack and next, delivered, ack",
        "no answer: delivered, delivered again, given up: advisory",
    ]
    assert len(base64.b64decode(shown[0]["image/png"])) < 100_000


def test_the_author_may_say_it_otherwise(shown: list[dict[str, Any]]) -> None:
    deliveries(ROWS, "Title", text="said by the author")
    assert shown[0]["text/plain"] == "said by the author"


def test_nothing_can_be_drawn_too(shown: list[dict[str, Any]]) -> None:
    deliveries({}, "No rows")
    deliveries({"never delivered": []}, "A row without events")
    deliveries({"at once": [(1.0, "delivered")]}, "One event")
    assert shown[1]["text/plain"].endswith("never delivered: ")


@pytest.mark.parametrize(
    ("row", "runs"),
    [
        ("ack", [(5.0, 5.1)]),
        ("nak", [(0.0, 0.1), (0.1, 0.2)]),
        ("in progress", [(0.0, 0.4), (0.4, 0.8)]),
        ("term", [(0.0, 0.1)]),
        ("next", [(0.0, 0.1), (0.1, 0.2)]),
        ("no answer", [(0.0, 0.5), (0.5, 1.0)]),
    ],
)
def test_the_clock_runs_from_a_delivery_to_its_answer(row: str, runs: list[tuple[float, float]]) -> None:
    assert list(clocks(ROWS[row], 9.0)) == runs


def test_a_clock_without_an_answer_runs_to_the_end() -> None:
    assert list(clocks([(0.0, "delivered")], 9.0)) == [(0.0, 9.0)]
    assert list(clocks([(0.0, "delivered"), (0.1, "nak")], 9.0)) == [(0.0, 0.1)], "nak with a delay"
    assert list(clocks([], 9.0)) == []


def test_kinds_can_be_told_apart_without_colour() -> None:
    answers = [each for each in LOOKS.values() if not each.delivery]
    assert len({each.marker for each in answers}) == len(answers)
    assert len({(each.marker, each.colour) for each in LOOKS.values()}) == len(LOOKS)


def test_an_event_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no event is called 'ackk': there are delivered, again"):
        deliveries({"row": [(0.0, "ackk")]}, "Title")
