"""Tests of the uploads library: coroutines are run to their end, and nothing may be left running.

The object storage that they share is one of each kind for a whole run.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.uploads.buckets import Service, amazon, google
from tests.unit.uploads.serving import Instance

from changeover.uploads import FileStore


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    wanted = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(_run(test(**wanted)))
    return True


async def _run(test: Any) -> None:
    async with asyncio.timeout(60):
        await test
    # A task that has done its work may still wait for the thread in which a store wrote it.
    if ending := asyncio.all_tasks() - {asyncio.current_task()}:
        _, left = await asyncio.wait(ending, timeout=1)
        assert not left, f"left running: {left}"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path, durable=False)


@pytest.fixture
def instance(store: FileStore) -> Instance:
    return Instance(store)


@pytest.fixture(scope="session")
def s3() -> Iterator[Service]:
    service = amazon()
    yield service
    service.close()


@pytest.fixture(scope="session")
def gcs() -> Iterator[Service]:
    service = google()
    yield service
    service.close()
