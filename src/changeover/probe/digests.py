"""Whether a digest in a response is the one of the bytes that were sent. Refuses to compute one."""

from __future__ import annotations

import base64

_FIELD_NAMES = {"sha256": ("sha-256",), "sha512": ("sha-512",), "sha1": ("sha", "sha-1"), "md5": ("md5",)}
"""Algorithm -> its names in `Repr-Digest` (RFC 9530) and `Digest` (RFC 3230)."""


def matches(claimed: str, digest: bytes, algorithm: str) -> bool:
    """Whether `claimed` is that digest: in hex or base64, in quotes as an ETag, or as a list of `sha-256=:...:`."""
    encoded = base64.b64encode(digest).decode()
    right = {digest.hex(), encoded, encoded.rstrip("=")}
    names = _FIELD_NAMES[algorithm]
    listed = [part.strip().partition("=") for part in claimed.split(",")]
    values = [value.strip().strip(":") for name, _, value in listed if name.strip().lower() in names]
    return any(value in right or value.lower() == digest.hex() for value in values or [claimed.strip().strip('"')])
