"""The body of a client's request as it comes off its connection, framed by a length or by chunks."""

from __future__ import annotations

from changeover.http1.chunked import MAX_LINE, Chunks
from changeover.http1.head import RequestHead
from changeover.http1.uniform_chunks import uniform_chunks
from changeover.relay.io.body_buffer import BodyBuffer
from changeover.relay.io.epoll import Channel

READ = 1024 * 1024
"""Bytes of chunks read at once, if they are too small for a splice: a read costs more than its chunks."""
LARGE = 128 * 1024
"""Bytes of a chunk whose content is spliced: only the lines between such chunks are read."""
SMALL = 4 * 1024
"""Bytes of a chunk up to which joining costs less than an object for each (measured)."""
SPLICED = 16 * 1024
"""Bytes of uniform chunks whose contents are spliced, while they arrive fast."""
FAST = 128 * 1024
"""Bytes of one read after which chunks arrive fast."""
SLOW = 64 * 1024
"""Bytes of spliced contents up to which they do not."""
UNIFORM = 4
"""Chunks of one size in a row after which more of them are expected."""
TAKES = 8
"""Pieces that are taken in a row before other connections get their turn."""


class ClientGone(Exception):
    """The client hung up before the end of what it was sending."""


class IncomingBody:
    """Moves bytes from `channel` into a BodyBuffer. `inbox`: what came after the head, or after the body."""

    def __init__(self, channel: Channel, head: RequestHead, inbox: bytes) -> None:
        self.inbox = inbox
        self.received = 0
        self.ended = not head.has_body
        self._channel = channel
        self._left = head.length or 0
        self._chunks = Chunks() if head.chunked else None
        self._fast = False
        """Many chunks are here at once."""

    def take_whole(self) -> bytes | None:
        """The whole body, if it came along with the head: then it needs no buffer."""
        if self._chunks is not None or self._left > len(self.inbox):
            return None
        whole, self.inbox = self.inbox[: self._left], self.inbox[self._left :]
        self.received, self._left, self.ended = self._left, 0, True
        return whole

    def take(self, buffer: BodyBuffer) -> bool:
        """Whether anything came. Raises ClientGone, and BadChunk."""
        before = buffer.size
        moved = False
        try:
            for _ in range(TAKES):
                if self.ended or not (self._channel.may_read or self.inbox):
                    break
                if (room := buffer.room()) <= 0 or not self._take(buffer, room):
                    break
                moved = True
        except ConnectionError:
            raise ClientGone from None
        finally:
            self.received += buffer.size - before
        return moved

    def _take(self, buffer: BodyBuffer, room: int) -> bool:
        if self._chunks is not None:
            moved = self._take_chunks(self._chunks, buffer, room)
            self.ended = self._chunks.ended
            return moved
        if self.inbox:
            count: int | None = len(piece := self.inbox[: self._left])
            buffer.add(piece)
            self.inbox = self.inbox[len(piece) :]
        else:
            count = buffer.receive(self._channel, min(self._left, room))
        if not count:
            return self._nothing(count)
        self._left -= count
        self.ended = not self._left
        return True

    def _take_chunks(self, chunks: Chunks, buffer: BodyBuffer, room: int) -> bool:
        data, self.inbox = self.inbox, b""
        if not data and chunks.left:
            if chunks.size >= LARGE:
                return self._take_content(chunks, buffer, room)
            if chunks.uniform >= UNIFORM and chunks.size <= SMALL:
                data, moved = self._take_uniform(chunks, buffer, room)
                if not data:
                    return moved
            elif self._fast and chunks.uniform >= UNIFORM and chunks.size >= SPLICED:
                count, data = self._splice_uniform(chunks, buffer, room)
                if not data and count != -1:
                    return bool(count) or self._nothing(count)
        if not data:
            read = self._channel.recv(min(READ, room + MAX_LINE) if chunks.size < LARGE else len(chunks.between))
            if not read:
                return self._nothing(None if read is None else 0)
            data = read
            self._fast = len(data) >= FAST
        pieces, used = chunks.feed(data)
        self.inbox = data[used:]
        buffer.add_all(pieces)
        if chunks.left and not pieces:  # the line of a chunk, whose content is next
            self._take_content(chunks, buffer, room)
        return True

    def _take_uniform(self, chunks: Chunks, buffer: BodyBuffer, room: int) -> tuple[bytes, bool]:
        """The bytes that are for the decoder, if any; whether anything came."""
        left, places = chunks.left, uniform_chunks(chunks.size, chunks.between)
        count = self._channel.recv_into(places.room(left)[: room + MAX_LINE])
        if not count:
            return b"", self._nothing(count)
        if (content := places.take(chunks, count)) is None:
            return places.undecoded(left, count), True
        buffer.add(content)
        return b"", True

    def _splice_uniform(self, chunks: Chunks, buffer: BodyBuffer, room: int) -> tuple[int | None, bytes]:
        """As BodyBuffer.receive_chunks; the bytes are for the decoder."""
        count, left, rest = buffer.receive_chunks(self._channel, chunks.left, chunks.size, chunks.between, room)
        self._fast = count is not None and count > SLOW
        if count and count > 0:
            chunks.skip_uniform(left)
        return count, rest

    def _take_content(self, chunks: Chunks, buffer: BodyBuffer, room: int) -> bool:
        count = buffer.receive(self._channel, min(chunks.left, room))
        if not count:
            return self._nothing(count)
        chunks.skip(count)
        return True

    def _nothing(self, count: int | None) -> bool:
        if count is None:
            return False
        raise ClientGone
