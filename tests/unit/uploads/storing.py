"""What tests of stores have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from typing import ParamSpec

from changeover.uploads.stores.store import Segment, Store

P = ParamSpec("P")

ID = "an-upload-of-these-tests"


def asynchronous(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """A test that is a coroutine."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def whole() -> None:
            await test(*args, **kwargs)

        asyncio.run(whole())

    return run


async def written(store: Store, name: str, *commits: bytes) -> list[Segment]:
    """What a writer says of these bytes, committed one after the other; a segment that grew is there once."""
    writer = store.writer(ID, name)
    segments: dict[str, Segment] = {}
    for content in commits:
        writer.write(content)
        segments.update({segment.name: segment for segment in await writer.commit()})
    writer.close()
    return list(segments.values())


async def content(store: Store, segments: Sequence[Segment], start: int = 0) -> bytes:
    return b"".join([piece async for piece in store.pieces(ID, segments, start)])


async def ids(store: Store) -> list[str]:
    return sorted([id async for id in store.ids()])
