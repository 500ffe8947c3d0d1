"""The capability of one upload: its holder may continue this upload without the credentials of its creation.

A client is authorised once, when it creates the upload. A relay in front then sends the bytes for as long as a slow
client needs, which can be longer than a token is valid. The capability is unguessable, belongs to one upload, and ends
with it. The store has its hash alone: a reader of records can continue no upload.

Refuses to give access to anything but the upload itself: neither to its content nor to another upload.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

STEP = "continue"
"""The segment of the path between the id and the capability."""


def new_secret() -> str:
    """Unguessable, and fit for a path."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """What the record keeps of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_granted(secret: str, kept: str) -> bool:
    """Whether `kept` is the hash of it; compared in constant time. An upload without a capability has an empty one."""
    return kept != "" and hmac.compare_digest(hashed(secret), kept)


def path_of(id: str, secret: str) -> str:
    """Below the path of the uploads."""
    return f"{id}/{STEP}/{secret}"


def read(rest: str) -> tuple[str, str] | None:
    """The id and the capability in a path below that of the uploads; None if it has no capability."""
    match rest.split("/"):
        case ["", id, step, secret] if step == STEP and id and secret:
            return id, secret
    return None
