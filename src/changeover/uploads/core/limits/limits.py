"""What is allowed of uploads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is allowed. Sizes in bytes, times in seconds."""

    max_size: int | None = None
    max_age: float = 86_400.0
    """How long an upload may take from its creation to its last byte; afterwards it is collected."""
    keep_done: float | None = None
    """How long an upload is kept after the application has answered; None: for ever."""
    max_append: int | None = None
    """Bytes of one request."""
    rate: float | None = None
    """Bytes per second of one upload, over whatever requests of this process bring it; faster ones have to wait."""
    max_unfinished: int | None = None
    """Uploads of one owner of which bytes are missing, in all instances together."""
    segment: int | None = None
    """Bytes after which what has arrived is committed, if time has not had it committed before; None: as the store has
    it."""
