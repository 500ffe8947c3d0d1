"""Bytes that anyone can compute again: what `/blob/{n}` answers, and what a probe uploads.

A stream is one block, drawn from the seed by SHAKE-128 and repeated without end. The block's length is prime,
so a piece lost, doubled or swapped at any buffer size in use (powers of two, pages, decimal kilobytes) moves
what follows and shows in the hash. The one shift that does not show, a whole number of blocks, changes the
length.

Refuses state: a pure function, so that a client and a server that share nothing agree on every byte.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

BLOCK = 65_521
"""Bytes before a stream repeats: the largest prime below 64 KiB."""


def pattern(offset: int, length: int, seed: bytes = b"") -> bytes:
    """The bytes [offset, offset + length) of the stream that belongs to `seed`."""
    if offset < 0 or length < 0:
        raise ValueError(f"a stream has no bytes at offset {offset} with length {length}")
    start = offset % BLOCK
    block = _block(seed)
    if start + length <= BLOCK:
        return block[start : start + length]
    whole, rest = divmod(length - (BLOCK - start), BLOCK)
    return b"".join((block[start:], block * whole, block[:rest]))


@lru_cache(maxsize=64)  # 4 MiB: more streams at once than a probe keeps open, so none is drawn twice
def _block(seed: bytes) -> bytes:
    return hashlib.shake_128(seed).digest(BLOCK)
