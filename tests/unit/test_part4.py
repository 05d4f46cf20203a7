"""The exercises of part 4: a wrong answer fails for the right reason."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from support.checks import part4
from support.checks.check import Check


def client(**options: Any) -> Callable[[str], Awaitable[Client]]:
    async def ignore(_: Exception) -> None:
        """Nothing to tell."""

    async def connect(url: str) -> Client:
        return await nats.connect(url, error_cb=ignore, **options)

    return connect


async def no_client(url: str) -> str:
    return url


class Tail:
    """What an answer can be: each method one habit, right or wrong."""

    whole, renames, cuts, looks_back = True, True, True, True

    def __init__(self, path: Path) -> None:
        self.path, self.position, self.before = path, 0, b""
        self.file = path.open("rb")

    def new_lines(self) -> list[bytes]:
        if self.looks_back:
            self.file.seek(self.position - len(self.before))
            if self.file.read(len(self.before)) != self.before:
                self.position = 0
        lines = self._read()
        try:
            now = self.path.stat()
        except FileNotFoundError:
            now = os.fstat(self.file.fileno())
        renamed = self.renames and now.st_ino != os.fstat(self.file.fileno()).st_ino
        if renamed or (self.cuts and now.st_size < self.position):
            self.file.close()
            self.file, self.position = self.path.open("rb"), 0
            lines += self._read()
        self.file.seek(max(0, self.position - 100))
        self.before = self.file.read(min(self.position, 100))
        return lines

    def _read(self) -> list[bytes]:
        self.file.seek(self.position)
        lines = [line for line in self.file if line.endswith(b"\n") or not self.whole]
        self.position += sum(map(len, lines))
        return lines


class HalfLines(Tail):
    whole = False


class NoRenames(Tail):
    renames = cuts = False


class NoCuts(Tail):
    cuts = looks_back = False


class BelievesSizes(Tail):
    looks_back = False


class NoTwins(Tail):
    """Right but for lines that are equal."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seen: set[bytes] = set()

    def new_lines(self) -> list[bytes]:
        found = [line for line in dict.fromkeys(super().new_lines()) if line not in self.seen]
        self.seen.update(found)
        return found


class Decodes(Tail):
    def new_lines(self) -> list[bytes]:
        return [line.decode("utf-8", "replace").encode() for line in super().new_lines()]


class MustBeThere(Tail):
    def new_lines(self) -> list[bytes]:
        self.path.stat()
        return super().new_lines()


class LongerOnly(Tail):
    """Looks back only where the file has grown."""

    def new_lines(self) -> list[bytes]:
        self.looks_back = self.path.exists() and self.path.stat().st_size > self.position
        return super().new_lines()


class FromTheBeginning(Tail):
    def new_lines(self) -> list[bytes]:
        self.position = 0
        return self._read()


class Text(Tail):
    def new_lines(self) -> Any:
        return b"".join(super().new_lines())


def lines(header: str = "Line", *, data: bytes | None = None) -> Any:
    async def send(nc: Client, subject: str, n: int, line: bytes) -> None:
        await nc.publish(subject, line if data is None else data, headers={header: str(n)})

    return send


async def by_subject(nc: Client, subject: str, n: int, line: bytes) -> None:
    await nc.publish(f"{subject}.{n}", line)


def gaps(messages: list[Msg]) -> list[int]:
    there = {int((message.headers or {})["Line"]) for message in messages}
    return sorted(set(range(max(there) + 1)) - there)


def only_inner_gaps(messages: list[Msg]) -> list[int]:
    found = gaps(messages)
    return [number for number in found if number > 10]


@pytest.mark.parametrize(
    ("given", "answer", "said"),
    [
        (part4.comes_back, client(max_reconnect_attempts=-1, reconnect_time_wait=0.05), "✓ the server was"),
        (part4.comes_back, client(max_reconnect_attempts=0, reconnect_time_wait=0.05), "✓ the server was"),
        (part4.comes_back, client(max_reconnect_attempts=2, reconnect_time_wait=0.05), "gave up for good"),
        (part4.comes_back, client(max_reconnect_attempts=90, reconnect_time_wait=0.05), "after 90 attempts"),
        (part4.comes_back, client(max_reconnect_attempts=-1, reconnect_time_wait=30), "try more often"),
        (part4.comes_back, client(allow_reconnect=False), "gave up for good"),
        (part4.comes_back, no_client, "you returned a str"),
        (part4.follows_the_file, Tail, "✓ half lines"),
        (
            part4.follows_the_file,
            HalfLines,
            "a line and a half were written: you returned something that is no",
        ),
        (part4.follows_the_file, NoRenames, "the file was renamed and a new one begun: 1 of 2 new lines"),
        (part4.follows_the_file, NoCuts, "the other half was written: 1 of 1 new lines did not come"),
        (part4.follows_the_file, BelievesSizes, "the file was cut, and grew longer than it was"),
        (part4.follows_the_file, NoTwins, "the same line was written twice: 1 of 2 new lines did not come"),
        (part4.follows_the_file, Decodes, "a line with odd bytes was written"),
        (part4.follows_the_file, MustBeThere, "your code raised FileNotFoundError"),
        (part4.follows_the_file, LongerOnly, "grew just as long as it was: 1 of 1 new lines did not come"),
        (part4.follows_the_file, FromTheBeginning, "3 lines came that are not new"),
        (part4.follows_the_file, Text, "new_lines must return a list"),
        (part4.knows_what_is_missing, (lines(), gaps), "✓ some lines were lost"),
        (part4.knows_what_is_missing, (lines(), only_inner_gaps), "not all of them were named"),
        (part4.knows_what_is_missing, (lines(), lambda _: [3, 59]), "others were named"),
        (part4.knows_what_is_missing, (lines(), lambda found: gaps(found)[::-1]), "all are named; now sort"),
        (part4.knows_what_is_missing, (lines(), lambda found: list(map(str, gaps(found)))), "return numbers"),
        (part4.knows_what_is_missing, (by_subject, gaps), "nothing arrived"),
        (part4.knows_what_is_missing, (lines(), lambda _: []), "none of them was named"),
        (part4.knows_what_is_missing, (lines(), lambda _: None), "return a list of the numbers"),
        (part4.knows_what_is_missing, (lines(data=b"other"), gaps), "its bytes as they were"),
        (part4.knows_what_is_missing, (lines("Other"), gaps), "your code raised KeyError"),
    ],
)
def test_part_4_judges_what_an_answer_does(given: Check, answer: object, said: str) -> None:
    found = asyncio.run(given.evaluate(answer))
    assert said in str(found)
    assert found.ok == said.startswith("✓")
