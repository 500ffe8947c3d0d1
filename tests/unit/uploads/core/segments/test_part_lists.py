"""Uploads of very many parts: the record stays small, and every part is found, replaced and joined."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.unit.uploads.counting import Counting
from tests.unit.uploads.serving import Instance, content
from tests.unit.uploads.unnamed import check_nothing_unnamed

from changeover.uploads import FileStore
from changeover.uploads.core.record import decode
from changeover.uploads.core.segments import part_lists


@pytest.fixture(autouse=True)
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANGE", "MAX_INLINE"):
        monkeypatch.setattr(part_lists, name, 8)


async def begun(instance: Instance) -> str:
    found: str = json.loads((await instance.got("POST", "/?parts")).body)["id"]
    return found


async def put(instance: Instance, id: str, number: int, body: bytes) -> int:
    return (await instance.got("PUT", f"/{id}/parts/{number}", body)).status


async def test_a_part_costs_the_same_however_many_came_before(tmp_path: Path) -> None:
    instance = Instance(store := Counting(tmp_path))
    id = await begun(instance)
    windows = []
    for number in range(1, 241):
        assert await put(instance, id, number, b"%4d" % number) == 200
        if number % 40 == 0:
            windows.append(store.taken())
    assert await content_of_all(instance, id) == b"".join(b"%4d" % number for number in range(1, 241))
    assert windows[-1].written < windows[0].written * 3  # the record has a reference to each list of 8
    assert windows[-1].written - windows[-2].written < 40 * 400
    await check_nothing_unnamed(store)


async def content_of_all(instance: Instance, id: str) -> bytes:
    assert (await instance.got("POST", f"/{id}/complete")).status == 200
    return await content(instance, id)


@pytest.mark.parametrize("order", [range(1, 60), range(59, 0, -1), [n * 23 % 59 + 1 for n in range(59)]])
async def test_parts_in_any_order_are_listed_replaced_and_joined(store: FileStore, order: list[int]) -> None:
    instance = Instance(store)
    id = await begun(instance)
    for number in order:
        assert await put(instance, id, number, b"old %d" % number) == 200
        await check_nothing_unnamed(store)
    for number in (59, 1, 30, 30):
        assert await put(instance, id, number, b"new") == 200
        await check_nothing_unnamed(store)
    sizes = {n: 3 if n in (1, 30, 59) else len(b"old %d" % n) for n in range(1, 60)}
    listed = json.loads((await instance.got("GET", f"/{id}/parts")).body)["parts"]
    assert listed == [{"part": n, "size": size} for n, size in sizes.items()]
    assert decode((await store.read(id))[0]).parts_size == sum(sizes.values())
    assert (await instance.got("POST", f"/{id}/complete", b'{"parts": [1, 2, 30, 58]}')).status == 200
    assert await content(instance, id) == b"newold 2newold 58"
    await check_nothing_unnamed(store)


async def test_parts_of_two_instances_at_once_are_all_there(store: FileStore, tmp_path: Path) -> None:
    instances = [Instance(store), Instance(FileStore(tmp_path, durable=False))]
    id = await begun(instances[0])
    found = await asyncio.gather(*(put(instances[n % 2], id, n % 30 + 1, b"%2d" % (n % 30)) for n in range(60)))
    assert set(found) <= {200, 503}  # a part that is sent again ends its first attempt
    for number, status in enumerate(found):
        if status == 503:
            assert await put(instances[0], id, number % 30 + 1, b"%2d" % (number % 30)) == 200
    assert await content_of_all(instances[0], id) == b"".join(b"%2d" % n for n in range(30))
    for _ in range(3):
        await instances[0].engine.collector.collect()
    await check_nothing_unnamed(store)
