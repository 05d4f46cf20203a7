"""What the shipper says on standard error: each trouble once when it begins, and once when it is over."""

from __future__ import annotations

import logging
import sys

_log = logging.getLogger("shipper")


def to_standard_error() -> None:
    """Show notices, with the time, one a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
    logging.getLogger("nats").addHandler(logging.NullHandler())  # what it reports is said here, in a line
    logging.getLogger("nats").propagate = False


class Notices:
    """Says what happens. A trouble has a `kind`; while it lasts, only what is new about it is said."""

    def __init__(self) -> None:
        self._lasting: dict[str, str] = {}

    def say(self, text: str) -> None:
        """Something to know."""
        _log.info(text)

    def warn(self, text: str) -> None:
        """Something that should not be, and passed."""
        _log.warning(text)

    def trouble(self, kind: str, text: str) -> None:
        """Something that keeps the shipper from its work, and is tried again."""
        if self._lasting.get(kind) != text:
            self._lasting[kind] = text
            _log.warning(text)

    def over(self, kind: str, text: str) -> None:
        """The trouble of that kind is over; nothing is said if there was none."""
        if self._lasting.pop(kind, None) is not None:
            _log.info(text)
