"""The relay's defaults: one home for the command `changeover relay` and for templates of kind relay.

Plain data, since the relay's process imports it: that process holds nothing that it does not need.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RelayDefaults:
    """Sizes in bytes, times in seconds."""

    budget: int = 512 * 1024 * 1024
    """Held and not acknowledged, for all bodies together: 16 MiB for each of 32 uploads at full speed."""
    patience: float = 60.0
    """Without progress inward, until the client gets an error. Longer than a tier is ever without a ready instance."""
    connection_life: float = 1.0
    """Of a connection inward. A drain behind the relay waits for it, and a new connection costs one round trip."""
    connection_idle: float = 1.0
    """Of a pooled connection inward. Below the keep-alive of every server behind; at most its life."""


RELAY = RelayDefaults()
