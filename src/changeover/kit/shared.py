"""Calls for many things: those that are asked for at the same time, or while a call is made, share the next one.

Refuses to wait for more: what is asked for in the same turn of the event loop is together, and no timer collects it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")
Value = TypeVar("Value")


class Shared(Generic[Key, Item, Value]):
    """`perform` takes what is asked for under one key, name -> item, and gives each name its value or its failure.

    It is never called twice at once for one key. What it raises is the failure of all.
    """

    def __init__(
        self, perform: Callable[[Key, Mapping[str, Item]], Awaitable[Mapping[str, Value | Exception]]]
    ) -> None:
        self._perform = perform
        self._waiting: dict[Key, dict[str, tuple[Item, asyncio.Future[Value | Exception]]]] = defaultdict(dict)
        self._locks: dict[Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, key: Key, name: str, item: Item) -> Value:
        """Raises the failure of that name."""
        waiting = self._waiting[key]
        future = waiting[name][1] if name in waiting else asyncio.get_running_loop().create_future()
        waiting[name] = item, future
        await asyncio.sleep(0)  # the others that this look asks for have asked by then
        async with self._locks[key]:
            if not future.done():
                await self._answer(key)
        if isinstance(found := future.result(), Exception):
            raise found
        return found

    async def _answer(self, key: Key) -> None:
        asked = self._waiting.pop(key)
        found: Mapping[str, Value | Exception]
        try:
            found = await self._perform(key, {name: item for name, (item, _) in asked.items()})
        except Exception as error:
            found = dict.fromkeys(asked, error)
        except asyncio.CancelledError:  # of this task alone: the next one that waits makes the call
            self._waiting[key] = {**asked, **self._waiting[key]}
            raise
        for name, (_, future) in asked.items():
            future.set_result(found[name])
