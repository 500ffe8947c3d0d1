"""What every test here has: nothing of it left running, and a double that may be asked without a pause."""

from __future__ import annotations

import pytest
from tests.chain.conftest import no_command_left_running

from changeover.hops.kong import router

__all__ = ["no_command_left_running"]


@pytest.fixture(autouse=True)
def asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "LOOK", 0.0)
