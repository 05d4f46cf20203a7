import asyncio

import pytest

from support.waiting import until


def test_until_lets_others_run_and_returns_when_the_condition_holds() -> None:
    async def run() -> list[int]:
        found: list[int] = []
        asyncio.get_running_loop().call_later(0.02, found.append, 1)
        await until(lambda: found)
        return found

    assert asyncio.run(run()) == [1]


def test_until_has_a_deadline() -> None:
    with pytest.raises(TimeoutError):
        asyncio.run(until(lambda: False, timeout=0.02))
