"""The machinery of an exercise check: a deadline, one sentence, and never an exception."""

from __future__ import annotations

import asyncio
import signal
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary

from .room import Room

DEADLINE = 10.0  # seconds for one check
GRACE = 1.0  # seconds after the deadline, until code that blocks is interrupted
AGAIN = 0.5  # seconds between two interrupts


class NotYet(Exception):  # noqa: N818  it is no error
    """Raised by a check: one sentence that says what is missing."""


class Stuck(BaseException):
    """Raised in a learner's code that holds up everything: it neither ends nor awaits."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: `text` says what it saw, or what is missing."""

    ok: bool
    text: str

    def __str__(self) -> str:
        return f"✓ {self.text}" if self.ok else f"not yet: {self.text}"


def check(
    *, deadline: float = DEADLINE, jetstream: bool = False
) -> Callable[[Callable[[Room, Any], Awaitable[str]]], Check]:
    """Make a check of an async function: it gets a `Room` and the answer, and says what it saw.

    Within `deadline` seconds; with `jetstream`, the room's server has JetStream.

    @check(deadline=5)
    async def answers(room, answer):
        "The service answers."
        ...
        if not answered:
            raise NotYet("nobody answered on WEATHER.SERVICE: subscribe to it")
        return "3 requests, 3 answers"
    """
    return lambda function: Check(function, deadline, jetstream=jetstream)


class Check:
    """Call it with an answer: it prints one line, and does not raise, whatever the answer does."""

    def __init__(
        self, function: Callable[[Room, Any], Awaitable[str]], deadline: float, *, jetstream: bool = False
    ) -> None:
        self.function = function
        self.deadline = deadline
        self.jetstream = jetstream
        self.__doc__ = function.__doc__

    async def __call__(self, answer: object) -> None:
        print(await self.evaluate(answer))

    async def evaluate(self, answer: object) -> Verdict:
        """The verdict on `answer`, within `deadline` seconds and some grace."""
        if answer is None or answer is ...:
            return Verdict(False, "there is nothing to check so far; write your answer above")
        async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):  # one check at a time
            return await self._evaluate(answer)

    async def _evaluate(self, answer: object) -> Verdict:
        room = Room(jetstream=self.jetstream)
        room.server.start()
        try:
            with _contained() as tasks, _interrupt(self.deadline + GRACE) as interrupted:
                task = asyncio.create_task(self._try(room, answer))
                try:
                    await asyncio.wait({task}, timeout=self.deadline)
                    if interrupted:
                        return Verdict(False, BLOCKS)
                    if task.done():
                        return task.result()
                    return Verdict(
                        False, f"no result within {self.deadline:.0f} s: does your code wait for something?"
                    )
                finally:
                    # What the answer started ends here; it had its chance to do so itself.
                    await _end(tasks)
        finally:
            await room.close()

    async def _try(self, room: Room, answer: object) -> Verdict:
        try:
            return Verdict(True, await self.function(room, answer))
        except NotYet as missing:
            raised = f"; your code raised {_name(room.errors[0], answer)}" if room.errors else ""
            return Verdict(False, f"{missing}{raised}")
        except BaseException as error:
            task = asyncio.current_task()
            if task and task.cancelling():  # by us, after the deadline
                raise
            return Verdict(False, f"your code raised {_name(error, answer)}")


BLOCKS = (
    "your code runs on and on without an await, so that nothing else can run: look for a loop that "
    "never ends, or for work that takes too long"
)


def _name(error: BaseException, answer: object) -> str:
    """The error, and the line of the learner's cell that it came from, where that is known."""
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    try:
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:  # the learner's own, with a broken __str__
        said = type(error).__name__
    said = said.partition("\n")[0]
    return f"{said} (line {lines[-1]} of its cell)" if lines else said


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


# -- keep what the answer does inside ---------------------------------------------------------


async def _inside(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a task of the answer: what would end the kernel becomes an ordinary error."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"your code raised {type(error).__name__}") from error


@contextmanager
def _contained() -> Iterator[set[asyncio.Task[Any]]]:
    """Collect the tasks that are started in the block, by the answer too, and run them `_inside`."""
    loop = asyncio.get_running_loop()
    owner, before = asyncio.current_task(), loop.get_task_factory()
    tasks: set[asyncio.Task[Any]] = set()

    def start(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> asyncio.Task[Any]:
        starter = asyncio.current_task()
        if starter is not owner and starter not in tasks:
            return asyncio.Task(coroutine, loop=loop, **more)  # somebody else's, in the same kernel
        task = asyncio.Task(_inside(coroutine), loop=loop, **more)
        task.add_done_callback(lambda _: coroutine.close())  # if it was cancelled before it began
        tasks.add(task)
        return task

    loop.set_task_factory(start)
    try:
        yield tasks
    finally:
        loop.set_task_factory(before)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    for _ in range(3):  # a task may swallow a cancellation, and may start others
        left = {task for task in tasks if not task.done()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=GRACE)


@contextmanager
def _interrupt(seconds: float) -> Iterator[list[bool]]:
    """After `seconds`, raise `Stuck` in code of the answer that blocks the event loop, again and again.

    No timeout of asyncio can reach such code. Only in the main thread and where there is SIGALRM,
    thus not on Windows. Yields a list that is no longer empty once it had to be done.
    """
    interrupted: list[bool] = []
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield interrupted
        return

    def alarm(_number: int, frame: FrameType | None) -> None:
        # Outside of the answer's tasks the loop itself is at work, and must go on.
        while frame:
            if frame.f_code is _inside.__code__:
                interrupted.append(True)
                raise Stuck
            frame = frame.f_back

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield interrupted
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
