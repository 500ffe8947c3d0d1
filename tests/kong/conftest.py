"""Commands that a test has started and not ended are ended, and count against it."""

from tests.chain.conftest import no_command_left_running

__all__ = ["no_command_left_running"]
