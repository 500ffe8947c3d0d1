"""Generated lives of uploads: clients continue, disconnect and cancel; instances pause, wake and crash.

Faults that are made on purpose must be caught.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)
from tests.unit.uploads.generated_lives import AtOnce, Machine

from changeover.uploads import FileStore
from changeover.uploads.core import engine as engines
from changeover.uploads.core.appending import Appender
from changeover.uploads.core.completion.completion import Completion
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.stores import files
from changeover.uploads.stores.store import RecordVersion


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_DISK", AtOnce())


def test_no_byte_is_lost_doubled_or_misplaced_whatever_happens() -> None:
    run_state_machine_as_test(Machine)


# -- that a break would be seen --------------------------------------------------------------------------------------


def caught(machine: type[Machine]) -> None:
    """That it is found to be broken. Which steps show it best is of no interest."""
    found = settings(max_examples=300, stateful_step_count=40, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=settings(found, derandomize=True, database=None))


@pytest.mark.fuzz
def test_a_store_that_swaps_whatever_the_version_is_caught() -> None:
    class Careless(FileStore):
        async def swap(self, id: str, record: bytes, version: RecordVersion) -> RecordVersion:
            _, version = await self.read(id)
            return await super().swap(id, record, version)

    class Broken(Machine):
        store = staticmethod(lambda root: Careless(root, durable=False))

    caught(Broken)


@pytest.mark.fuzz
def test_an_engine_that_acknowledges_before_it_commits_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    async def swap(self: Any, change: Callable[[Manifest], Manifest]) -> None:
        self._manifest = change(self._manifest.appended(await self._writer.commit()))

    monkeypatch.setattr(Appender, "_swap", swap)
    caught(Machine)


def test_an_engine_that_appends_wherever_the_upload_ends_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = engines.Engine.append

    async def append(self: engines.Engine, id: str, owner: str, offset: int, *args: Any, **more: Any) -> Manifest:
        return await original(self, id, owner, (await self.find(id, owner)).offset, *args, **more)

    monkeypatch.setattr(engines.Engine, "append", append)
    caught(Machine)


@pytest.mark.fuzz
def test_an_engine_that_asks_the_application_without_a_lease_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Manifest.leased
    monkeypatch.setattr(Manifest, "leased", lambda self, holder, until: original(self, holder, 0.0))

    class Slow(Machine):
        """Only a second request during a call to the handler shows it."""

        def __init__(self) -> None:
            super().__init__()
            self.slow = True

    caught(Slow)


@pytest.mark.fuzz
def test_an_engine_that_compares_a_lease_with_its_own_clock_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_held(self: Completion, manifest: Manifest, version: RecordVersion, read_at: float) -> bool:
        return manifest.holder not in ("", self._identity.name) and self._repository.now() < manifest.lease_until

    monkeypatch.setattr(Completion, "_is_held", is_held)

    class Skewed(Machine):
        """Only a second request during a call to the handler shows it."""

        def __init__(self) -> None:
            super().__init__()
            self.slow = True

    caught(Skewed)
