"""Pipes of the kernel as a place for bytes that never enter this process: splice(2) in, tee(2) and splice(2) out.

Pipes are limited for users who are not root (pipe(7): pipe-user-pages-soft, 64 MiB of pipes for all of a user's
processes). What is refused here is kept in memory instead, which costs about twice the CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os

SIZE = 1024 * 1024
"""Bytes of a pipe, as far as bytes count: it has that many pages, and a page takes one piece of any size below it."""
LEAST = 256 * 1024
"""A pipe that the kernel gives fewer bytes is not worth having (measured: 64 KiB doubles the CPU)."""
IDLE = 128
"""Idle pipes that are kept: enough for a few dozen uploads at full speed (measured with 64: making
them anew costs a fifth)."""

_SET_SIZE = 1031  # F_SETPIPE_SZ; in fcntl since 3.10, but not on every platform mypy knows
_FLAGS = 1 | 2  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK
_libc = ctypes.CDLL(None, use_errno=True)

POSSIBLE = hasattr(os, "splice") and hasattr(_libc, "tee")


class Pipe:
    """Both ends of a pipe."""

    __slots__ = ("narrow", "r", "size", "w")

    def __init__(self) -> None:
        self.r, self.w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.size = 0
        """Bytes in it."""
        self.narrow = False
        """So few of its pages are free that a splice into it moves little: another one is to be preferred."""

    def fill(self, descriptor: int, most: int) -> int:
        """Move bytes in from a socket; how many, 0 at its end. Raises BlockingIOError without bytes or room."""
        count = os.splice(descriptor, self.w, most, flags=_FLAGS)
        self.size += count
        return count

    def copy_to(self, other: Pipe) -> int:
        """Copy all bytes to another pipe; how many were copied: fewer if the other is too small."""
        count = int(_libc.tee(self.r, other.w, ctypes.c_size_t(self.size), 2))
        if count < 0:
            raise OSError(number := ctypes.get_errno(), os.strerror(number))
        other.size += count
        return count

    def pour(self, descriptor: int) -> int:
        """Move bytes out to a socket; how many. Raises BlockingIOError if it takes none, OSError if it is broken."""
        count = os.splice(self.r, descriptor, self.size, flags=_FLAGS)
        self.size -= count
        return count

    def read(self) -> bytes:
        """Move all bytes to memory."""
        pieces = []
        while self.size:
            pieces.append(os.read(self.r, self.size))
            self.size -= len(pieces[-1])
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self.r)
        os.close(self.w)


class Pipes:
    """The pipes of one relay. `refused` counts how often the kernel gave none."""

    def __init__(self) -> None:
        self.refused = 0
        self.open = 0
        self._idle: list[Pipe] = []
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def get(self) -> Pipe | None:
        """An empty pipe; None if the kernel gives none."""
        if not POSSIBLE:
            return None
        if self._idle:
            return self._idle.pop()
        pipe = None
        try:
            pipe = Pipe()
            if fcntl.fcntl(pipe.w, _SET_SIZE, SIZE) >= LEAST:
                self.open += 1
                return pipe
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBUSY):
                raise
        if pipe is not None:
            pipe.close()
        self.refused += 1
        return None

    def drop(self, pipe: Pipe, count: int) -> None:
        """Drop that many bytes at its head."""
        while count:
            gone = os.splice(pipe.r, self._nowhere, count)
            pipe.size -= gone
            count -= gone

    def put(self, pipe: Pipe) -> None:
        """Return a pipe; its bytes are dropped."""
        if len(self._idle) < IDLE:
            self.drop(pipe, pipe.size)
            pipe.narrow = False
            self._idle.append(pipe)
        else:
            pipe.close()
            self.open -= 1

    def close(self) -> None:
        for pipe in self._idle:
            pipe.close()
        self._idle.clear()
        with contextlib.suppress(OSError):
            os.close(self._nowhere)
