"""Names of segments. Each begins with the epoch that it was written under.

So no two writers share a segment, and the collection knows which writers can no longer commit.
"""

from __future__ import annotations

import re
import secrets

_EPOCH = re.compile(r"\d+(?=[.-]|$)")


def segment_name(epoch: int, kind: str = "") -> str:
    """A new name for a segment that is written under that epoch."""
    return f"{epoch}.{kind}{secrets.token_hex(4)}"


def epoch_of(name: str) -> int | None:
    """The epoch that a segment was written under; None for parts of earlier releases."""
    return int(found[0]) if (found := _EPOCH.match(name)) else None
