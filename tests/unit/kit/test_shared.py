"""What is asked for together shares a call, and each name gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from tests.unit.in_loop import in_loop

from changeover.kit.shared import Shared


class Calls:
    """Records what each call was for; `held`: calls wait for it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, list[str]]] = []
        self.held = asyncio.Event()
        self.held.set()
        self.shared = Shared[str, int, int](self._perform)

    async def _perform(self, key: str, items: Mapping[str, int]) -> Mapping[str, int | Exception]:
        self.made.append((key, list(items)))
        await self.held.wait()
        if key == "broken":
            raise ValueError("all of them")
        return {name: ValueError(name) if item < 0 else 2 * item for name, item in items.items()}


@in_loop
async def test_what_is_asked_for_at_once_is_one_call_for_each_key() -> None:
    calls = Calls()
    asked = [calls.shared.ask(key, f"{key}{n}", n) for key in "ab" for n in range(3)]
    assert await asyncio.gather(*asked) == [0, 2, 4, 0, 2, 4]
    assert calls.made == [("a", ["a0", "a1", "a2"]), ("b", ["b0", "b1", "b2"])]


@in_loop
async def test_what_is_asked_for_while_a_call_is_made_shares_the_next_one() -> None:
    calls = Calls()
    calls.held.clear()
    first = asyncio.create_task(calls.shared.ask("a", "1", 1))
    while not calls.made:
        await asyncio.sleep(0)
    later = [asyncio.create_task(calls.shared.ask("a", name, 1)) for name in ("2", "3", "2")]
    await asyncio.sleep(0)
    calls.held.set()
    assert await asyncio.gather(first, *later) == [2, 2, 2, 2]
    assert calls.made == [("a", ["1"]), ("a", ["2", "3"])]


@in_loop
async def test_a_failure_is_that_of_its_name_and_a_call_that_fails_is_that_of_all() -> None:
    calls = Calls()
    found = await asyncio.gather(
        calls.shared.ask("a", "good", 1), calls.shared.ask("a", "bad", -1), return_exceptions=True
    )
    assert found[0] == 2
    assert str(found[1]) == "bad"
    for name in ("1", "2"):
        with pytest.raises(ValueError, match="all of them"):
            await calls.shared.ask("broken", name, 1)


@in_loop
async def test_if_the_task_that_makes_the_call_is_cancelled_the_next_one_makes_it() -> None:
    calls = Calls()
    calls.held.clear()
    first, second = (asyncio.create_task(calls.shared.ask("a", name, 1)) for name in "12")
    while not calls.made:
        await asyncio.sleep(0)
    first.cancel()
    calls.held.set()
    assert await second == 2
    assert first.cancelled()
    assert calls.made[-1] == ("a", ["1", "2"])
