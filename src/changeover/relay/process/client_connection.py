"""One connection of a client: a head, its body, the response, and the next head.

Reads requests by `http1/`, as strictly as the receiver of uploads reads them. Refuses a request with a problem
document, and then closes: what follows a refused request belongs to no request.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from changeover.http1 import head as heads
from changeover.http1 import proxy_header
from changeover.http1.chunked import BadChunk
from changeover.http1.head import BadHead, RequestHead
from changeover.http1.head_buffer import HeadBuffer
from changeover.relay.config import is_among
from changeover.relay.inbound.incoming_body import ClientGone, IncomingBody
from changeover.relay.inbound.response import problem, write
from changeover.relay.io.body_buffer import BodyBuffer
from changeover.relay.io.epoll import Channel, Waker
from changeover.relay.outbound.upstream import UpstreamFailed
from changeover.relay.paths.request import ClientRequest, RelayContext, RequestRefused, is_segmented, refuse_here
from changeover.relay.paths.segments import send_in_segments
from changeover.relay.paths.small import Exchange, Received, SmallRequests
from changeover.relay.paths.streaming import stream

READ = 64 * 1024


class ClientConnection:
    """Serves its requests, one at a time."""

    def __init__(self, relay: RelayContext, channel: Channel, waker: Waker, peer: bytes) -> None:
        self.request: ClientRequest | None = None
        """The one that this task handles."""
        self.waker = waker
        self._relay = relay
        self._channel = channel
        self._peer = peer
        self._heads = HeadBuffer()

        self._small = SmallRequests(relay, channel, waker, self._closes)

    @property
    def under_way(self) -> ClientRequest | Exchange | None:
        """The request that would break if the relay stopped now."""
        return self.request or self._small.exchange

    async def run(self) -> None:
        """Serve until the connection closes."""
        try:
            if self._relay.config.proxy_protocol:
                if self._peer and not is_among(self._peer, self._relay.config.proxies):
                    self._relay.refuse_proxy(self._peer)
                    return
                await self._read_proxy_header()
            while await self._request():
                self.request = None
        except (OSError, ClientGone, BadHead):
            pass  # no client is left to answer
        finally:
            self.request = None
            self._channel.close()

    async def _read_proxy_header(self) -> None:
        """Raises BadHead, ClientGone: a connection that does not begin with a PROXY header gets no answer."""
        until = time.monotonic() + self._relay.config.timing.head
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
        """Answer one request; whether another one may follow."""
        try:
            received = await self._head()
            if received is None:
                return False
            if isinstance(received, Exchange):
                return await self._answer(received.head, received.body, received)
            return await self._answer(*received)
        except BadHead as error:
            return await self._refuse(error.status, str(error))

    async def _head(self) -> Received | Exchange | None:
        """The next request, also one that was sent; None if the client closes, or idles for too long.

        Raises BadHead, OSError.
        """
        config, since, begun = self._relay.config, time.monotonic(), False
        while True:
            self.waker.clear()
            if (text := self._heads.head()) is not None:
                return Received(heads.read_request(text), self._heads.take_rest())
            if self._heads.begun and not begun:  # the time of a head begins with its first byte
                begun, since = True, time.monotonic()
            data = self._channel.recv(READ)
            if data == b"":
                if begun:
                    raise BadHead(400, "the connection ended in the middle of a head")
                return None
            if data is None and time.monotonic() - since > (config.timing.head if begun else config.timing.idle):
                if begun:
                    raise BadHead(408, "the head of the request did not arrive in time")
                return None
            if begun:
                if data is None:
                    await self.waker.wait()
                else:
                    self._heads.add(data)
                continue
            self._small.start(self._peer)
            if data is None or self._small.send(data):
                await self.waker.wait()
            request, received, rest = self._small.stop()
            since = max(since, self._small.idle_since)
            if rest:
                await write(self._channel, self.waker, rest, time.monotonic() + config.timing.body)
            if request is not None:
                return request
            self._heads.add(received)

    async def _answer(self, head: RequestHead, inbox: bytes, exchange: Exchange | None = None) -> bool:
        relay = self._relay
        relay.counters.requests += exchange is None
        body = IncomingBody(self._channel, head, inbox)
        buffer = BodyBuffer(relay.pipes, relay.budget)
        now = time.monotonic()
        since = now if exchange is None else exchange.started
        request = ClientRequest(
            relay, self._channel, self.waker, head, body, buffer, self._peer, since, now, self._closes
        )
        self.request = request
        try:
            keep = await self._handle(request, exchange)
        except RequestRefused as refused:
            return await self._refuse(refused.status, str(refused), rest=not body.ended, **refused.more)
        except BadChunk as error:
            return await self._refuse(400, f"malformed body: {error}")
        except UpstreamFailed:  # in a response: one that ends with the connection must not look whole
            self._channel.close(reset=True)
            return False
        except ClientGone:
            relay.counters.clients_disconnected += 1
            raise
        finally:
            relay.counters.received_bytes += body.received
            buffer.close()
            if exchange is not None:
                exchange.close(relay)
        self._heads.add(body.inbox)
        if not keep:
            await self._linger(rest=not body.ended or self._channel.has_unread())
        return keep

    async def _handle(self, request: ClientRequest, exchange: Exchange | None) -> bool:
        refuse_here(self._relay.config, request.head)
        limit, length = self._relay.config.segment_from, request.head.length
        body, buffer = request.body, request.buffer
        is_small = exchange is not None or (length is not None and length < limit)
        if is_small and (whole := body.take_whole()) is not None:
            return await stream(request, whole, exchange)
        if not is_segmented(self._relay.config, request.head):
            return await stream(request)
        # Without room, the bytes that are here are sent: if all bodies waited for their rest, room would never come.
        while (length is None or length < limit) and not body.ended and buffer.size < limit and buffer.room() > 0:
            request.send_continue()
            self.waker.clear()
            if not request.take():
                await self.waker.wait()
        if body.ended and buffer.size < limit:
            return await stream(request)
        return await send_in_segments(request)

    def _closes(self) -> bool:
        lame = self._relay.config.lame_duck_file
        return self._relay.leaving or (lame is not None and lame.exists())

    async def _refuse(self, status: int, detail: str, *, rest: bool = True, **more: object) -> bool:
        """Answer with a problem document, and close."""
        _, fields, content = problem(status, detail, **more)
        fields += [(b"Content-Length", b"%d" % len(content)), (b"Connection", b"close")]
        method = b"" if self.request is None else self.request.head.method
        text = heads.format_response(status, b"", fields) + (b"" if method == b"HEAD" else content)
        await write(self._channel, self.waker, text, time.monotonic() + self._relay.config.timing.linger)
        await self._linger(rest=rest)
        return False

    async def _linger(self, *, rest: bool) -> None:
        """Closing at once would reset the connection under a client that is sending, and discard the response."""
        if not rest:
            return
        until = time.monotonic() + self._relay.config.timing.linger
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
                    await asyncio.sleep(0)  # a client that sends without a pause must not stop the others
