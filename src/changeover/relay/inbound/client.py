"""One connection of a client: a head, its body, the answer, and the next head."""

from __future__ import annotations

import asyncio
import contextlib
import time

from changeover.http1 import head as heads
from changeover.http1 import proxy_header
from changeover.http1.chunked import BadChunk
from changeover.http1.head import BadHead, RequestHead
from changeover.http1.head_buffer import HeadBuffer
from changeover.relay.inbound.body import Body, ClientGone
from changeover.relay.inbound.response import problem, write
from changeover.relay.io.body_buffer import Kept
from changeover.relay.io.epoll import Channel, Waker
from changeover.relay.outbound.upstream import Broken
from changeover.relay.paths.request import Exchange, Refused, Relay
from changeover.relay.paths.segments import hand_over
from changeover.relay.paths.streaming import stream

LINGER = 2.0
"""Seconds that a client which is still sending has to see that it was refused (RFC 9112, section 9.6)."""
READ = 64 * 1024
RESUMING = frozenset(
    {
        b"tus-resumable",
        b"content-range",
        b"upload-complete",
        b"upload-incomplete",
        b"upload-offset",
        b"upload-draft-interop-version",
    }
)
"""Fields of protocols by which a client goes on with an upload."""


class Client:
    """`exchange` is the request that is under way, if one is."""

    def __init__(self, relay: Relay, channel: Channel, waker: Waker, peer: bytes) -> None:
        self.exchange: Exchange | None = None
        self.waker = waker
        self._relay = relay
        self._channel = channel
        self._peer = peer
        self._heads = HeadBuffer()

    async def run(self) -> None:
        """Until it is closed."""
        try:
            if self._relay.settings.proxy_protocol:
                await self._read_proxy_header()
            while await self._request():
                self.exchange = None
        except (OSError, ClientGone, BadHead):
            pass  # to nobody
        finally:
            self.exchange = None
            self._channel.close()

    async def _read_proxy_header(self) -> None:
        """Raises BadHead, ClientGone: a connection that does not begin with a PROXY header gets no answer."""
        until = time.monotonic() + self._relay.settings.head_time
        received = b""
        while (header := proxy_header.read(received)) is None:
            self.waker.clear()
            data = self._channel.recv(READ)
            if data == b"" or time.monotonic() > until:
                raise ClientGone
            if data is None:
                await self.waker.wait()
            else:
                received += data
        self._peer, size = header
        self._heads.add(received[size:])

    async def _request(self) -> bool:
        """One request; whether another one may follow."""
        try:
            head = await self._head()
            if head is None:
                return False
            return await self._answer(head)
        except BadHead as error:
            return await self._refuse(error.status, str(error))

    async def _head(self) -> RequestHead | None:
        """The next head; None when none comes. Raises BadHead."""
        settings, since, begun = self._relay.settings, time.monotonic(), False
        while True:
            self.waker.clear()
            if (text := self._heads.head()) is not None:
                return heads.read_request(text)
            if self._heads.begun and not begun:  # the time of a head begins with its first byte
                begun, since = True, time.monotonic()
            data = self._channel.recv(READ)
            if data == b"":
                if begun:
                    raise BadHead(400, "the connection ended in the middle of a head")
                return None
            if data is not None:
                self._heads.add(data)
                continue
            if time.monotonic() - since > (settings.head_time if begun else settings.idle_time):
                if begun:
                    raise BadHead(408, "the head of the request did not arrive in time")
                return None
            await self.waker.wait()

    async def _answer(self, head: RequestHead) -> bool:
        relay = self._relay
        relay.counters.requests += 1
        body = Body(self._channel, head, self._heads.take_rest())
        kept = Kept(relay.pipes, relay.budget)
        now = time.monotonic()
        exchange = Exchange(relay, self._channel, self.waker, head, body, kept, self._peer, now, now, self._closes)
        self.exchange = exchange
        try:
            keep = await self._handle(exchange)
        except Refused as refused:
            return await self._refuse(refused.status, str(refused), rest=not body.ended, **refused.more)
        except BadChunk as error:
            return await self._refuse(400, f"the body: {error}")
        except Broken:  # in the midst of an answer: one that ends where the connection does must not look whole
            self._channel.close(reset=True)
            return False
        except ClientGone:
            relay.counters.clients_gone += 1
            raise
        finally:
            relay.counters.received += body.received
            kept.close()
        self._heads.add(body.inbox)
        if not keep:
            await self._linger(rest=not body.ended)
        return keep

    async def _handle(self, exchange: Exchange) -> bool:
        limit, length = self._relay.settings.segment_from, exchange.head.length
        body, kept = exchange.body, exchange.kept
        if length is not None and length < limit and (whole := body.take_whole()) is not None:
            return await stream(exchange, whole)
        if not self._is_segmented(exchange):
            return await stream(exchange)
        # Where there is no room, what is here has to go on: if all waited for their rest, there would never be any.
        while (length is None or length < limit) and not body.ended and kept.size < limit and kept.room() > 0:
            exchange.tell_to_continue()
            self.waker.clear()
            if not exchange.take():
                await self.waker.wait()
        if body.ended and kept.size < limit:
            return await stream(exchange)
        return await hand_over(exchange)

    def _is_segmented(self, exchange: Exchange) -> bool:
        """Not what speaks of resuming by itself: that is between its client and the application."""
        head = exchange.head
        if not head.has_body or not any(r.matches(head.method, head.path) for r in self._relay.settings.segmented):
            return False
        return head.fields.keys().isdisjoint(RESUMING)

    def _closes(self) -> bool:
        lame = self._relay.settings.lame_duck_file
        return self._relay.leaving or (lame is not None and lame.exists())

    async def _refuse(self, status: int, detail: str, *, rest: bool = True, **more: object) -> bool:
        """Answer by itself, and close: what is left of the request on the wire is nobody's."""
        told, fields, content = problem(status, detail, **more)
        fields += [(b"Content-Length", b"%d" % len(content)), (b"Connection", b"close")]
        method = b"" if self.exchange is None else self.exchange.head.method
        text = heads.spell_response(told, b"", fields) + (b"" if method == b"HEAD" else content)
        await write(self._channel, self.waker, text, time.monotonic() + LINGER)
        await self._linger(rest=rest)
        return False

    async def _linger(self, *, rest: bool) -> None:
        """Closing under a client that is sending resets the connection, and takes the answer away from it."""
        if not rest:
            return
        until = time.monotonic() + LINGER
        with contextlib.suppress(OSError):
            self._channel.shut()
            while time.monotonic() < until:
                self.waker.clear()
                data = self._channel.recv(READ)
                if data == b"":
                    return
                if data is None:
                    await self.waker.wait()
                else:
                    await asyncio.sleep(0)  # who sends without a pause leaves no other
