"""Streams a request to the upstream; bytes of its body are dropped as they are sent.

If the upstream fails before it responds, the relay sends the request again only where that cannot repeat an effect: if
no byte was sent, if the method is idempotent, if the request has an Idempotency-Key, or, on routes that opted in
because their application does nothing before a body is whole, if the body was not sent completely. For these
requests the body is kept, up to a bound (`io/spool.py`).
"""

from __future__ import annotations

import asyncio
import time

from changeover.http1.head import BadHead
from changeover.relay.io.body_buffer import Block
from changeover.relay.io.spool import Spool
from changeover.relay.outbound.upstream import UpstreamFailed, UpstreamRequest
from changeover.relay.paths.request import ClientRequest, RequestRefused, head_for_upstream
from changeover.relay.paths.small import Exchange

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})
"""RFC 9110, section 9.2.2. The relay refuses TRACE."""
ATTEMPTS = 3
"""Attempts to send a request."""
BATCH = 1024 * 1024
"""Bytes that are sent before more are taken."""


async def stream(request: ClientRequest, whole: bytes | None = None, exchange: Exchange | None = None) -> bool:
    """Stream the request; whether the connection can carry another one. Raises RequestRefused, ClientGone, BadChunk.

    `whole`: the body, if all of it came along with the head. `exchange`: it was sent already.
    """
    head, config = request.head, request.relay.config
    request.relay.counters.streamed += 1
    repeatable = head.method in IDEMPOTENT or b"idempotency-key" in head.fields
    opted = bool(config.replayed) and any(route.matches(head.method, head.path) for route in config.replayed)
    spool = Spool(request.relay.spools) if whole is None and head.has_body and (repeatable or opted) else None
    streaming = StreamedRequest(request, spool, whole)
    try:
        for left in reversed(range(ATTEMPTS)):
            try:
                outgoing = await streaming.send(fresh=left < ATTEMPTS - 1, exchange=exchange)
            except UpstreamFailed as broken:
                safe = repeatable or not streaming.begun or (opted and not streaming.complete)
                if not (left and safe and streaming.can_repeat):
                    unknown = "; it is not known whether the request was carried out" if streaming.begun else ""
                    raise RequestRefused(504 if broken.timeout else 502, f"{broken}{unknown}") from None
                request.relay.counters.replayed += 1
                exchange = None
                await asyncio.sleep(0.05 * (ATTEMPTS - 1 - left))
            else:
                return await request.pass_on(outgoing)
        raise AssertionError("the last attempt returns or raises")
    finally:
        if spool is not None:
            spool.close()


class StreamedRequest:
    """The attempts to send one request."""

    def __init__(self, request: ClientRequest, spool: Spool | None, whole: bytes | None) -> None:
        self.begun = False
        """The upstream may have seen a part of it."""
        self.complete = False
        """The upstream may have seen all of it."""
        self._request = request
        self._spool = spool
        self._whole = whole
        self._gone = 0
        """Bytes of the body that have left the buffer."""
        head = request.head
        self._in_chunks = head.chunked and not request.body.ended
        size = None if self._in_chunks else request.buffer.size if head.chunked else head.length
        self._head = head_for_upstream(request.relay, request.peer, head, size)

    @property
    def can_repeat(self) -> bool:
        """Whether every byte that the client sent is still here."""
        return not self._gone or (self._spool is not None and self._spool.is_whole)

    async def send(self, *, fresh: bool, exchange: Exchange | None = None) -> UpstreamRequest:
        """One attempt, until the upstream has responded. Raises UpstreamFailed, ClientGone.

        `exchange`: the attempt that was begun.
        """
        request = self._request
        if exchange is None:
            connection = await request.relay.upstream.connect(request.waker, fresh=fresh)
        else:
            connection = exchange.connection
            connection.channel.waker = request.waker
        whole = [Block(data=self._whole)] if self._whole else []
        outgoing = UpstreamRequest(connection, request.head.method, self._head, whole, request.relay.pipes)
        self.begun = True
        request.progressed_at = time.monotonic()
        try:
            if exchange is not None:
                exchange.continue_as(outgoing)
            if self._whole is None:
                outgoing.more = True
                await self._feed_again(outgoing)
                await self._feed(outgoing)
            await request.response_to(outgoing)
        except BadHead as error:
            connection.close(reset=True)
            raise UpstreamFailed(str(error)) from None
        except BaseException:
            connection.close(reset=True)
            raise
        finally:
            self.complete = self.complete or outgoing.is_sent_whole
            outgoing.close()
        return outgoing

    async def _feed_again(self, outgoing: UpstreamRequest) -> None:
        """Send the bytes that left the buffer at an earlier attempt."""
        if self._spool is None or not self._gone:
            return
        for piece in self._spool.pieces():
            for block in self._framed([Block(data=piece)]):
                outgoing.add(block)
            while not outgoing.all_sent and outgoing.response is None:
                await self._request.step(outgoing)
            if outgoing.response is not None:
                return

    async def _feed(self, outgoing: UpstreamRequest) -> None:
        """Send the body as it arrives, until its end or an early response."""
        request, buffer, body = self._request, self._request.buffer, self._request.body
        batch = 0
        while outgoing.response is None:
            if outgoing.all_sent and batch:
                self._drop(batch)
                batch = 0
            if not batch and buffer.size:
                blocks = buffer.segment(BATCH)
                batch = sum(block.size for block in blocks)
                for block in self._framed(blocks):
                    outgoing.add(block)
            if body.ended and batch == buffer.size:
                break
            request.send_continue()
            await request.step(outgoing)
        if outgoing.response is None:
            if self._in_chunks:
                outgoing.add(Block(data=b"0\r\n\r\n"))
            outgoing.more = False
        while outgoing.response is None and not outgoing.all_sent:
            await request.step(outgoing)

    def _framed(self, blocks: list[Block]) -> list[Block]:
        if not self._in_chunks:
            return blocks
        return [each for b in blocks for each in (Block(data=b"%x\r\n" % b.size), b, Block(data=b"\r\n"))]

    def _drop(self, size: int) -> None:
        if self._spool is not None and self._spool.is_whole:
            for block in self._request.buffer.segment(size):
                block.to_memory(self._request.relay.pipes)
                self._spool.add(b"".join(block.pieces))
        self._request.buffer.drop(size)
        self._gone += size
