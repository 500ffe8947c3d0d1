from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.standing import StandingChain, standing_chain


@pytest.fixture
def chain(tmp_path: Path) -> StandingChain:
    return standing_chain(tmp_path)
