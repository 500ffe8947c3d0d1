"""What the tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.engine.fake_chain import FakePlatform

from changeover.engine.journal.journal import Journal


@pytest.fixture
def platform() -> FakePlatform:
    return FakePlatform()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Journal]:
    """A journal whose lease is held."""
    with closing(Journal(tmp_path / "state" / "journal.db")) as journal:
        journal.take_lease("test", 100.0)
        yield journal
