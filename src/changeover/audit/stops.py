"""What rules about stops share."""

from __future__ import annotations

from typing import Final

GIVES_UP: Final = 1.0
"""Seconds. A hard signal so soon after the graceful one leaves no time for any request."""
