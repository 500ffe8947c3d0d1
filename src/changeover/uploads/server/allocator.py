"""Keep glibc from returning the memory of each received piece to the kernel, and faulting it in again for the next.

uvicorn hands over pieces of 256 KiB and copies each twice on its way. glibc maps blocks of that size, or cuts them off
the end of the heap once they are free, so that every received page costs a page fault: 255,000 for a gigabyte, a third
of its CPU. Freeing a larger block raises both thresholds of glibc (mallopt(3), M_MMAP_THRESHOLD). Other allocators take
no notice. Refuses to set the thresholds: where the application has set them, freeing a block changes nothing.
"""

from __future__ import annotations

import functools

LARGEST = 8 * 1024 * 1024
"""Bytes of the block. A process keeps at most twice as much free memory at the end of its heap. Pieces of eight uploads
at once need a quarter of that; with those of 64 most page faults remain where it has less."""


@functools.cache
def keep_memory_of_pieces() -> None:
    """Raise the thresholds of this process. The block is mapped and freed, and no page of it is touched."""
    bytes(LARGEST)
