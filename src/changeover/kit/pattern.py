"""Reproducible bytes: the content of `/blob/{n}` and of the probe's uploads.

A stream repeats one block, which SHAKE-128 derives from the seed. The block's length is prime. So a piece that is
lost, doubled or swapped at any usual buffer size (powers of two, pages, decimal kilobytes) shifts the bytes after it
and changes the hash. A shift by a whole number of blocks keeps the bytes but changes the length.

Refuses state: a client and a server that share nothing compute the same bytes.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

BLOCK = 65_521
"""Bytes before a stream repeats: the largest prime below 64 KiB."""


def pattern(offset: int, length: int, seed: bytes = b"") -> bytes:
    """The bytes [offset, offset + length) of the stream that belongs to `seed`."""
    if offset < 0 or length < 0:
        raise ValueError(f"offset {offset} and length {length} must not be negative")
    start = offset % BLOCK
    block = _block(seed)
    if start + length <= BLOCK:
        return block[start : start + length]
    whole, rest = divmod(length - (BLOCK - start), BLOCK)
    return b"".join((block[start:], block * whole, block[:rest]))


@lru_cache(maxsize=64)  # 4 MiB: more streams than a probe has open at once, so that none is computed twice
def _block(seed: bytes) -> bytes:
    return hashlib.shake_128(seed).digest(BLOCK)
