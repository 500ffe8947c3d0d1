"""How fast an upload may arrive."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.uploads.serving import Got, Instance, Sending, content, settled

from changeover.uploads import FileStore, Limits
from changeover.uploads.core.limits.rate_limit import BURST, RateLimit

APPEND = {"upload_offset": "0", "upload_complete": "?1", "content_type": "application/partial-upload"}
TWO = Limits(max_unfinished=2)


def test_a_pace_makes_wait_for_as_long_as_the_bytes_may_take() -> None:
    pace = RateLimit(1000)
    assert pace.wait(1000, now=50.0) == pytest.approx(1 - BURST)
    assert pace.wait(500, now=51.0 - BURST) == pytest.approx(0.5)
    assert pace.wait(50, now=60.0) == 0  # after a time without bytes a few may come at once
    assert pace.wait(2000, now=60.0) == pytest.approx(2 + 0.05 - BURST)


async def sent_too_fast(instance: Instance) -> tuple[str, asyncio.Task[Got], Sending]:
    """An append that brings ten thousand bytes, and then as many more."""
    id = (await instance.got("POST", "/", upload_complete="?0")).id
    sending = Sending()
    for _ in range(2):
        sending.send(b"x" * 10_000)
    return id, asyncio.create_task(instance.got("PATCH", f"/{id}", sending, **APPEND)), sending


async def test_what_comes_too_fast_is_left_unread_and_what_came_is_kept(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(rate=1.0))
    id, task, sending = await sent_too_fast(instance)
    await settled(lambda: sending.pieces.qsize() == 1)
    head = await instance.got("HEAD", f"/{id}")  # breaks it off in the midst of its wait
    assert (head.headers["upload-offset"], sending.pieces.qsize()) == ("10000", 1)
    assert (await task).status == 503


async def test_without_a_rate_the_same_is_read_at_once(instance: Instance) -> None:
    id, task, sending = await sent_too_fast(instance)
    await settled(sending.pieces.empty)
    sending.end()
    assert (await task).status == 200
    assert len(await content(instance, id)) == 20_000


async def test_an_upload_within_its_rate_arrives_whole(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(rate=1e9))
    _, task, sending = await sent_too_fast(instance)
    sending.end()
    assert (await task).headers["x-size"] == "20000"


async def test_parts_that_come_side_by_side_share_one_rate(store: FileStore) -> None:
    instance = Instance(store, limits=Limits(rate=100_000.0))
    id, other = [(await instance.got("POST", "/?parts")).headers["location"].split("/")[-1] for _ in range(2)]
    first = Sending()
    first.send(b"x" * 10_000_000)
    task = asyncio.create_task(instance.got("PUT", f"/{id}/parts/1", first))
    await settled(first.pieces.empty)
    second = Sending()
    for piece in (b"x", b"x"):
        second.send(piece)
    late = asyncio.create_task(instance.got("PUT", f"/{id}/parts/2", second))
    await settled(lambda: second.pieces.qsize() == 1)
    assert (await instance.got("PUT", f"/{other}/parts/1", b"x")).status == 200  # which has a rate of its own
    assert (second.pieces.qsize(), late.done()) == (1, False)
    for each in (task, late):
        each.cancel()
    await asyncio.wait([task, late])
