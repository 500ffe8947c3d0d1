"""What every test here has: nothing of it left running."""

from __future__ import annotations

from tests.chain.conftest import no_command_left_running

__all__ = ["no_command_left_running"]
