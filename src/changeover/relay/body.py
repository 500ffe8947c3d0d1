"""The body of a client's request as it comes off its connection, whatever frames it: a length, or chunks."""

from __future__ import annotations

from changeover.relay.kept import CRUMB, Kept
from changeover.relay.readiness import Channel
from changeover.wire.chunked import Chunks
from changeover.wire.heads import RequestHead

READ = 256 * 1024
"""Bytes of chunks read at once, where they are too small to go past memory: each read costs more than its chunks."""
LARGE = 32 * 1024
"""Bytes of a chunk whose content goes past memory: of these, nothing but the lines between them is read."""


class ClientGone(Exception):
    """The client hung up before the end of what it was sending."""


class Body:
    """Takes bytes off `channel` and puts them into a Kept. `inbox`: what came after the head, or after the body."""

    def __init__(self, channel: Channel, head: RequestHead, inbox: bytes) -> None:
        self.inbox = inbox
        self.received = 0
        self._channel = channel
        self._left = head.length or 0
        self._chunks = Chunks() if head.chunked else None

    @property
    def ended(self) -> bool:
        return not self._left if self._chunks is None else self._chunks.ended

    def take(self, kept: Kept) -> bool:
        """Whether anything came. Raises ClientGone, and BadChunk."""
        if self.ended or (room := kept.room()) <= 0:
            return False
        before = kept.size
        try:
            if self._chunks is None:
                moved = self._take_plain(kept, room)
            else:
                moved = self._take_chunks(self._chunks, kept, room)
        except ConnectionError:
            raise ClientGone from None
        self.received += kept.size - before
        return moved

    def _take_plain(self, kept: Kept, room: int) -> bool:
        if self.inbox:
            count: int | None = len(piece := self.inbox[: self._left])
            kept.add(piece)
            self.inbox = self.inbox[len(piece) :]
        else:
            count = kept.receive(self._channel, min(self._left, room))
        if count is None:
            return False
        if not count:
            raise ClientGone
        self._left -= count
        return True

    def _take_chunks(self, chunks: Chunks, kept: Kept, room: int) -> bool:
        if chunks.left and chunks.size >= LARGE and not self.inbox:
            return self._take_content(chunks, kept, room)
        data, self.inbox = self.inbox, b""
        if not data:
            read = self._channel.recv(READ if chunks.size < LARGE else chunks.framing)
            if not read:
                return self._nothing(None if read is None else 0)
            data = read
        pieces, used = chunks.feed(data)
        self.inbox = data[used:]
        if used > CRUMB * len(pieces):
            for piece in pieces:
                kept.add(piece)
        else:
            kept.add(b"".join(pieces))
        if chunks.left and not pieces:  # a line, and what it speaks of is next
            self._take_content(chunks, kept, room)
        return True

    def _take_content(self, chunks: Chunks, kept: Kept, room: int) -> bool:
        count = kept.receive(self._channel, min(chunks.left, room))
        if not count:
            return self._nothing(count)
        chunks.skip(count)
        return True

    def _nothing(self, count: int | None) -> bool:
        if count is None:
            return False
        raise ClientGone
