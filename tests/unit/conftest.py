"""What the tests of pictures work with."""

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from support.figures import look

mpl.use("Agg")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The pictures that a notebook would have got."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(look, "display", lambda content, **more: found.append({**content, **more}))
    yield found
    assert not plt.get_fignums(), "a figure stayed open"
