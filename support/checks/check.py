"""The machinery of an exercise check: a deadline, one sentence, and never an exception."""

from __future__ import annotations

import asyncio
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from .room import Room

DEADLINE = 10.0  # seconds for one check
GRACE = 2.0  # seconds to tidy up after the deadline


class NotYet(Exception):  # noqa: N818  it is no error
    """Raised by a check: one sentence that says what is missing."""


class Stuck(Exception):  # noqa: N818  raised in the learner's code only
    """The learner's code holds up everything: it neither ends nor awaits."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: `text` says what it saw, or what is missing."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"✓ {self.text}" if self.ok else f"not yet: {self.text}"


def check(*, deadline: float = DEADLINE) -> Callable[[Callable[[Room, Any], Awaitable[str]]], Check]:
    """Make a check of an async function: it gets a `Room` and the answer, and says what it saw.

    @check(deadline=5)
    async def answers(room, answer):
        "The service answers."
        ...
        if not answered:
            raise NotYet("nobody answered on WEATHER.SERVICE: subscribe to it")
        return "3 requests, 3 answers"
    """
    return lambda function: Check(function, deadline)


class Check:
    """Call it with an answer: it prints one line, and does not raise, whatever the answer does."""

    def __init__(self, function: Callable[[Room, Any], Awaitable[str]], deadline: float) -> None:
        self.function = function
        self.deadline = deadline
        self.__doc__ = function.__doc__

    async def __call__(self, answer: object) -> None:
        print(await self.evaluate(answer))

    async def evaluate(self, answer: object) -> Verdict:
        """The verdict on `answer`, within `deadline` seconds and some grace."""
        if answer is None or answer is ...:
            return Verdict(False, "there is nothing to check so far; write your answer above")
        others = asyncio.all_tasks()
        task = asyncio.create_task(self._try(answer))
        try:
            with _interrupt(self.deadline + GRACE / 2):
                await asyncio.wait({task}, timeout=self.deadline)
            if task.done():
                return task.result()
            return Verdict(
                False, f"no result within {self.deadline:.0f} s: does your code wait for something?"
            )
        finally:
            # Whatever the answer started ends here; it had its chance to do so itself.
            left = asyncio.all_tasks() - others
            for each in left:
                each.cancel()
            if left:
                await asyncio.wait(left, timeout=GRACE)

    async def _try(self, answer: object) -> Verdict:
        async with Room() as room:
            try:
                return Verdict(True, await self.function(room, answer))
            except NotYet as missing:
                raised = f"; your code raised {_name(room.errors[0], answer)}" if room.errors else ""
                return Verdict(False, f"{missing}{raised}")
            except Exception as error:
                return Verdict(False, f"your code raised {_name(error, answer)}")


def _name(error: Exception, answer: object) -> str:
    """The error, and the line of the learner's cell that it came from, where that is known."""
    if isinstance(error, Stuck):
        return "nothing and ended nowhere: it neither ends nor awaits, so that nothing else can run"
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    return f"{said} (line {lines[-1]} of its cell)" if lines else said


@contextmanager
def _interrupt(seconds: float) -> Iterator[None]:
    """Raise `Stuck` in code that blocks the event loop: no timeout of asyncio can reach it.

    Only in the main thread and where there is SIGALRM, thus not on Windows.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def alarm(_number: int, frame: FrameType | None) -> None:
        # In asyncio's own code the loop is alive, and must stay so.
        if (
            frame
            and "asyncio" not in frame.f_code.co_filename
            and "selectors" not in frame.f_code.co_filename
        ):
            raise Stuck

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
