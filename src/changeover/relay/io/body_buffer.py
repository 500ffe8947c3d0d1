"""The bytes of one body that are received and not acknowledged: in pipes if many arrive at once, else in memory.

Refuses to drop a byte that is not acknowledged. Its caller asks for `room` first, and so keeps the budget.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from changeover.relay.io.epoll import Channel
from changeover.relay.io.pipes import Pipe, Pipes

Piece = bytes | bytearray | memoryview

PIECE = 64 * 1024
"""Bytes read into memory at once. A socket that has as many is worth a splice; fewer cost less through memory."""
FEW = 16 * 1024
"""A splice that moved no more than that was not worth it."""
NARROW = 512 * 1024
"""A splice that moved less, and left something behind, was held up by the pipe."""
CRUMB = 4 * 1024
"""Bytes of a piece that is worth an object of its own."""
BLOCK = 1024 * 1024
"""Bytes of a block in memory; a pipe holds about as many."""
IN_MEMORY = 2 * BLOCK
"""Bytes that one body may hold in memory: the segment that is being sent, and the next one."""


class Block:
    """A run of bytes, in a pipe or in memory. In memory, its pieces are sent as they are."""

    __slots__ = ("_size", "pieces", "pipe")

    def __init__(self, pipe: Pipe | None = None, data: bytes = b"") -> None:
        self.pipe = pipe
        self.pieces: list[Piece] = [data] if data else []
        self._size = len(data)

    @property
    def size(self) -> int:
        return self._size if self.pipe is None else self.pipe.size

    def add(self, data: Piece) -> None:
        """To memory. Small pieces are joined."""
        self._size += len(data)
        if len(data) >= CRUMB:
            self.pieces.append(data)
        elif self.pieces and isinstance(last := self.pieces[-1], bytearray) and len(last) < PIECE:
            last += data
        else:
            self.pieces.append(bytearray(data))

    def extend(self, pieces: Sequence[Piece], size: int) -> None:
        """`size`: of all pieces, none of which is small."""
        self._size += size
        self.pieces += pieces

    def drop(self, count: int) -> None:
        """Drop that many bytes at the head, fewer than there are."""
        self._size -= count
        gone = 0
        while count >= len(self.pieces[gone]):
            count -= len(self.pieces[gone])
            gone += 1
        del self.pieces[:gone]
        self.pieces[0] = memoryview(self.pieces[0])[count:]

    def to_memory(self, pipes: Pipes) -> None:
        """Move it out of its pipe, for there is no second pipe to send it from."""
        if self.pipe is not None:
            data = self.pipe.read()
            pipes.put(self.pipe)
            self.pipe, self.pieces, self._size = None, [data], len(data)


class BufferBudget:
    """What all bodies of one relay may hold together: an even share for each, between bounds."""

    def __init__(self, total: int, least: int, most: int) -> None:
        self.total = total
        self.held = 0
        """Bytes."""
        self.bodies = 0
        self.share = most
        """Bytes that one body may hold now: the segment that is being sent, and the next one."""
        self._least, self._most = least, most

    def count(self, more: int) -> None:
        """The number of bodies changes by `more`."""
        self.bodies += more
        full = self.bodies * self._most <= self.total
        self.share = self._most if full else max(self._least, self.total // self.bodies)


class BodyBuffer:
    """The buffer of one body."""

    def __init__(self, pipes: Pipes, budget: BufferBudget) -> None:
        self.size = 0
        self._pipes = pipes
        self._budget = budget
        self._blocks: deque[Block] = deque()
        self._sealed = 0
        """Blocks at the head that are being sent: no byte is added to them."""
        self._many = False
        budget.count(1)

    def room(self) -> int:
        """Bytes that may be added."""
        most = self._budget.share
        if not self._many and most > IN_MEMORY:
            most = IN_MEMORY
        own, all_ = most - self.size, self._budget.total - self._budget.held
        return own if own < all_ else all_

    def receive(self, channel: Channel, most: int) -> int | None:
        """Take up to `most` bytes off a socket; how many, 0 at its end, None if none is here. Raises OSError."""
        count = self._splice(channel, most) if self._many else -1
        if count is not None and count < 0:
            data = channel.recv(min(most, PIECE))
            if data is None:
                return None
            if most >= PIECE or not self._many:  # the end of a chunk says nothing of what is behind it
                self._many = len(data) == PIECE
            if data:
                self.add(data)
            return len(data)
        return count

    def _splice(self, channel: Channel, most: int) -> int | None:
        """As `receive`; -1 if no pipe is available."""
        if not channel.may_read:
            return None
        tail = self._tail()
        old = None if tail is None else tail.pipe
        if old is not None and not old.narrow:
            try:
                return self._came(channel, old, old.fill(channel.fd, most), most)
            except BlockingIOError:
                pass  # no more fits in, or no more is there: with an empty one it shows which
        if (pipe := self._pipes.get()) is None:
            if old is None or not old.narrow:
                return -1
            old.narrow = False
            return self._splice(channel, most)
        came: int | None = None
        try:
            came = pipe.fill(channel.fd, most)
        except BlockingIOError:
            channel.may_read = False
        finally:
            if not came:
                self._pipes.put(pipe)
        if came:
            self._blocks.append(Block(pipe))
            self._came(channel, pipe, came, most)
        return came

    def receive_chunks(
        self, channel: Channel, left: int, size: int, between: bytes, most: int
    ) -> tuple[int | None, int, bytes]:
        """Take contents of `size` bytes with the bytes `between` them; the first of them has `left` more bytes.

        How many of their bytes came, as `receive` returns it, but -1 if no pipe is available; how many are left of the
        last content; and bytes that were read and are not those between two contents.
        """
        tail = self._tail()
        old = None if tail is None else tail.pipe
        if (pipe := old if old is not None and not old.narrow else self._pipes.get()) is None:
            return -1, left, b""
        count, rest, ended = 0, b"", False
        recv, fill, fd, width = channel.sock.recv, pipe.fill, channel.fd, len(between)
        try:
            while count < most:
                moved = fill(fd, left)
                count += moved
                left -= moved
                if left:
                    ended = not moved
                    break
                if (rest := recv(width)) != between:
                    break
                left, rest = size, b""
        except BlockingIOError:
            pass  # no more is here, or no more fits in
        except ConnectionError:
            ended = True
        if pipe is not old:
            if not count:
                self._pipes.put(pipe)
                channel.may_read = ended
                return 0 if ended else None, left, b""
            self._blocks.append(Block(pipe))
        self._many = True
        self._count(count)
        if not ended and not rest and count < most:
            channel.look()
            pipe.narrow = channel.may_read
            if not count:
                return self.receive_chunks(channel, left, size, between, most) if pipe.narrow else (None, left, b"")
        return count, left, rest

    def _came(self, channel: Channel, pipe: Pipe, count: int, most: int) -> int:
        """Count bytes that a pipe took."""
        self._many = count > FEW or count == most
        self._count(count)
        if count < most:
            channel.look()
            # The kernel moves at most as many pages as are free in the pipe, though one can take eight of them.
            pipe.narrow = channel.may_read and count < NARROW
        return count

    def _tail(self) -> Block | None:
        return self._blocks[-1] if len(self._blocks) > self._sealed else None

    def add(self, data: Piece) -> None:
        """Add bytes that are in memory."""
        self._in_memory().add(data)
        self._count(len(data))

    def add_all(self, pieces: list[memoryview]) -> None:
        """Add several pieces."""
        size = sum(map(len, pieces))
        if pieces:
            self._many = False
        if size > CRUMB * len(pieces):
            self._in_memory().extend(pieces, size)
            self._count(size)
        elif pieces:
            self.add(b"".join(pieces))

    def _in_memory(self) -> Block:
        """The block that takes more bytes."""
        tail = self._tail()
        if tail is None or tail.pipe is not None or tail.size >= BLOCK:
            tail = Block()
            self._blocks.append(tail)
        return tail

    def segment(self, most: int) -> list[Block]:
        """Whole blocks at the head, of `most` bytes together at the most, but one in any case."""
        size = number = 0
        for block in self._blocks:
            if number and size + block.size > most:
                break
            size, number = size + block.size, number + 1
        self._sealed = number
        return [*self._blocks][:number]

    def drop(self, count: int) -> None:
        """So many bytes at the head are acknowledged."""
        self._count(-count)
        while count:
            block = self._blocks[0]
            gone = min(block.size, count)
            count -= gone
            if gone < block.size:
                if block.pipe is not None:
                    self._pipes.drop(block.pipe, gone)
                else:
                    block.drop(gone)
                continue
            self._blocks.popleft()
            self._sealed = max(0, self._sealed - 1)
            if block.pipe is not None:
                self._pipes.put(block.pipe)

    def close(self) -> None:
        """Drop everything."""
        if self.size:
            self.drop(self.size)
        self._budget.count(-1)

    def _count(self, more: int) -> None:
        self.size += more
        self._budget.held += more
