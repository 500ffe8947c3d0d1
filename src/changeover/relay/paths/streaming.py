"""A request that goes straight through, whose body is forgotten as it is sent.

When its connection inward breaks before there is an answer, it goes to another instance only where that cannot make
anything happen twice: with methods that are idempotent and requests with an Idempotency-Key; and, on routes that opted
in because their application does nothing before a body is whole, as long as the body had not been sent completely. For
these the body is kept, in memory and then in a file, up to a bound.
"""

from __future__ import annotations

import asyncio

from changeover.http1 import head as heads
from changeover.http1.head import BadHead
from changeover.relay.io.body_buffer import Block
from changeover.relay.outbound.upstream import Broken, Call
from changeover.relay.paths.request import Exchange, Refused

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
"""RFC 9110, section 9.2.2."""
TRIES = 3
"""Instances that a request is offered to."""
BATCH = 1024 * 1024
"""Bytes that are sent before more is taken into hand."""
PIECE = 1024 * 1024
"""Bytes read from the spool at once."""


class Spool:
    """What was sent of a body, to be sent again: in memory, then in a file without a name, at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self.size = 0
        self._most = most
        import tempfile  # with what it needs it takes 2 MB, and few relays have such routes

        self._file = tempfile.SpooledTemporaryFile(max_size=BATCH)  # noqa: SIM115

    @property
    def is_whole(self) -> bool:
        return self.size <= self._most

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.is_whole:
            self._file.write(data)

    def blocks(self) -> list[Block]:
        """All of it."""
        self._file.seek(0)
        return [Block(data=piece) for piece in iter(lambda: self._file.read(PIECE), b"")]

    def close(self) -> None:
        self._file.close()


async def stream(exchange: Exchange, whole: bytes | None = None) -> bool:
    """Send it through; whether the connection can carry another request. Raises Refused, ClientGone, BadChunk.

    `whole`: the body, if all of it came along with the head.
    """
    head, settings = exchange.head, exchange.relay.settings
    exchange.relay.counters.streamed += 1
    repeatable = head.method in IDEMPOTENT or b"idempotency-key" in head.fields
    opted = bool(settings.replayed) and any(route.matches(head.method, head.path) for route in settings.replayed)
    spool = Spool(settings.spool) if whole is None and head.has_body and (repeatable or opted) else None
    streaming = _Streaming(exchange, spool, whole)
    try:
        for left in reversed(range(TRIES)):
            try:
                call = await streaming.send(fresh=left < TRIES - 1)
            except Broken as broken:
                safe = repeatable or not streaming.begun or (opted and not streaming.complete)
                if not (left and safe and streaming.can_repeat):
                    unknown = "; what became of the request is not known" if streaming.begun else ""
                    raise Refused(504 if broken.timeout else 502, f"{broken}{unknown}") from None
                exchange.relay.counters.replayed += 1
                await asyncio.sleep(0.05 * (TRIES - 1 - left))
            else:
                return await exchange.pass_on(call)
        raise AssertionError("the last try returns or raises")
    finally:
        if spool is not None:
            spool.close()


class _Streaming:
    """The tries to send one request through."""

    def __init__(self, exchange: Exchange, spool: Spool | None, whole: bytes | None) -> None:
        self.begun = False
        """Somebody may have seen some of it."""
        self.complete = False
        """Somebody may have seen all of it."""
        self._exchange = exchange
        self._spool = spool
        self._whole = whole
        self._gone = 0
        """Bytes of the body that are not in `kept` any more."""
        head, fields = exchange.head, exchange.passed_on()
        self._in_chunks = head.chunked and not exchange.body.ended
        if self._in_chunks:
            fields.append((b"Transfer-Encoding", b"chunked"))
        elif head.has_body or b"content-length" in head.fields:
            size = exchange.kept.size if head.chunked else head.length or 0
            fields.append((b"Content-Length", b"%d" % size))
        self._head = heads.spell_request(head.method, head.target, fields)

    @property
    def can_repeat(self) -> bool:
        """Whether every byte that was taken off the client is still here."""
        return not self._gone or (self._spool is not None and self._spool.is_whole)

    async def send(self, *, fresh: bool) -> Call:
        """One try; the call has its answer. Raises Broken, ClientGone."""
        exchange = self._exchange
        link = await exchange.relay.upstream.link(exchange.waker, fresh=fresh)
        before = self._spool.blocks() if self._spool is not None and self._gone else []
        if self._whole:
            before = [Block(data=self._whole)]
        call = Call(link, exchange.head.method, self._head, self._framed(before), exchange.relay.pipes)
        self.begun = True
        try:
            if self._whole is None:
                await self._feed(call)
            await exchange.answer_to(call)
        except BadHead as error:
            link.close(reset=True)
            raise Broken(str(error)) from None
        except BaseException:
            link.close(reset=True)
            raise
        finally:
            self.complete = self.complete or call.is_over
            call.close()
        return call

    async def _feed(self, call: Call) -> None:
        """All of the body, as it comes; until an answer comes before its end."""
        exchange, kept, body = self._exchange, self._exchange.kept, self._exchange.body
        batch, call.more = 0, True
        while call.answer is None:
            if call.all_sent and batch:
                self._forget(batch)
                batch = 0
            if not batch and kept.size:
                blocks = kept.segment(BATCH)
                batch = sum(block.size for block in blocks)
                for block in self._framed(blocks):
                    call.add(block)
            if body.ended and batch == kept.size:
                break
            exchange.tell_to_continue()
            await exchange.step(call)
        if call.answer is None:
            if self._in_chunks:
                call.add(Block(data=b"0\r\n\r\n"))
            call.more = False
        while call.answer is None and not call.all_sent:
            await exchange.step(call)

    def _framed(self, blocks: list[Block]) -> list[Block]:
        if not self._in_chunks:
            return blocks
        return [each for b in blocks for each in (Block(data=b"%x\r\n" % b.size), b, Block(data=b"\r\n"))]

    def _forget(self, size: int) -> None:
        if self._spool is not None:
            for block in self._exchange.kept.segment(size):
                block.to_memory(self._exchange.relay.pipes)
                self._spool.add(b"".join(block.pieces))
        self._exchange.kept.drop(size)
        self._gone += size
