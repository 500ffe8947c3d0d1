"""Small requests: head and body are here at once, a pooled connection is idle, and the response comes in one read.

Nearly every request of an API is such a one, and a task that waits twice costs more than the request itself. So they
are handled where epoll reports their bytes. Refuses everything else: the task of the connection gets the head and what
follows it, or the request that was sent, and continues from there. A head that is refused it reads again, with the same
reader, so every refusal is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from changeover.http1 import head as heads
from changeover.http1.chunked import BadChunk, Chunks
from changeover.http1.head import MAX_HEAD, BadHead, RequestHead, ResponseHead
from changeover.relay.io.epoll import Channel, Waker
from changeover.relay.outbound.upstream import UpstreamConnection, UpstreamFailed, UpstreamRequest
from changeover.relay.paths.request import (
    Progress,
    RelayContext,
    RequestRefused,
    head_for_upstream,
    is_segmented,
    refuse_here,
)

WHOLE = 256 * 1024
"""Bytes of a body that is sent at once if all of it is here: it fits the buffers of the kernel."""

_END = b"\r\n\r\n"


class Received(NamedTuple):
    """A request that the task handles."""

    head: RequestHead
    rest: bytes
    """What came with its head: of its body, or all of it."""


@dataclass(slots=True)
class Exchange:
    """A request that was sent, and the state of its response."""

    head: RequestHead
    body: bytes
    connection: UpstreamConnection
    started: float
    sent: int
    """Bytes of head and body that were sent."""
    response: bytes | None = None
    """What the upstream has sent; b"": it closed the connection."""
    failure: str = ""
    """Why the connection broke."""

    def continue_as(self, outgoing: UpstreamRequest) -> None:
        """Bring the same request to the state of this one. Raises UpstreamFailed, BadHead."""
        outgoing.count(self.sent)
        if self.failure:
            raise UpstreamFailed(self.failure)
        if self.response is not None:
            outgoing.received(self.response)

    def close(self, relay: RelayContext) -> None:
        """Its body is not needed any more."""
        relay.budget.held -= len(self.body)

    @property
    def progress(self) -> Progress:
        return Progress(len(self.body), None, 0)


class SmallRequests:
    """Of one connection, while its task waits for a head. `wake`: the client's or the upstream's bytes are here."""

    def __init__(self, relay: RelayContext, client: Channel, waker: Waker, closes: Callable[[], bool]) -> None:
        self.exchange: Exchange | None = None
        """The request that is under way."""
        self.idle_since = 0.0
        self._relay = relay
        self._client = client
        self._peer = b""
        self._closes = closes
        self._waker = waker
        """Of the task."""
        self._running = False
        self._received: Received | None = None
        self._data = self._rest = b""
        self._error: Exception | None = None

    def start(self, peer: bytes) -> None:
        self._peer = peer
        self._running = True
        self._client.waker = self

    def stop(self) -> tuple[Exchange | Received | None, bytes, bytes]:
        """Leave all to the task: a request, bytes from the client, and bytes for it. Raises OSError.

        `Exchange.close` is to be called in the end.
        """
        self._running = False
        self._client.waker = self._waker
        exchange, self.exchange = self.exchange, None
        if self._error is not None:
            if exchange is not None:
                exchange.close(self._relay)
                exchange.connection.close(reset=True)
            raise self._error
        received, data, rest = self._received, self._data, self._rest
        self._received, self._data, self._rest = None, b"", b""
        return exchange or received, data, rest

    def wake(self) -> None:
        if not self._running:
            return
        try:
            if self.exchange is None:
                self._receive()
            elif self._respond(self.exchange) and self._client.may_read:
                self._receive()  # the next request arrived before the response
        except Exception as error:  # the task raises it: here it would stop the other connections
            self._error = error
            self._hand_over()

    def _hand_over(self) -> None:
        self._running = False
        self._waker.wake()

    def _receive(self) -> None:
        data = self._client.recv(MAX_HEAD)
        if data is not None and not self.send(data):
            self._hand_over()

    def send(self, data: bytes) -> bool:
        """Send the request on; False if the task has to. Nothing was sent then."""
        relay = self._relay
        self._data = data
        end = data.find(_END) + len(_END)
        if end < len(_END):
            return False
        try:
            head = heads.read_request(data[:end])
        except BadHead:
            return False
        body = self._rest_of(head, data[end:])
        self._received, self._data = Received(head, body), b""
        if head.length != len(body) or (len(body) >= relay.config.segment_from and is_segmented(relay.config, head)):
            return False
        try:
            refuse_here(relay.config, head)
            text = head_for_upstream(relay, self._peer, head, head.length)
        except (BadHead, RequestRefused):
            return False
        if (connection := relay.upstream.pooled(self)) is None:
            return False
        try:
            sent = connection.channel.sock.sendmsg((text, body))
        except OSError:
            connection.close()
            return False
        self._received = None
        relay.counters.requests += 1
        relay.budget.held += len(body)
        self.exchange = Exchange(head, body, connection, time.monotonic(), sent)
        if sent < len(text) + len(body):
            self._hand_over()
        return True

    def _rest_of(self, head: RequestHead, body: bytes) -> bytes:
        """These bytes of the body, and those behind them that are here, if there is room for all of it."""
        budget = self._relay.budget
        if head.length is None or not len(body) < head.length <= min(WHOLE, budget.total - budget.held):
            return body
        try:
            more = self._client.recv(head.length - len(body))
        except OSError:
            return body  # the next read finds the end
        return body + more if more else body

    def _respond(self, exchange: Exchange) -> bool:
        """Whether the response has been sent."""
        try:
            data = exchange.connection.channel.recv(MAX_HEAD)
        except OSError as error:
            exchange.failure = error.strerror or "the connection to the upstream broke"
            self._hand_over()
            return False
        if data is None:
            if self._client.ended:
                self._hand_over()
            return False
        out, reusable = self._response(exchange, data)
        if out is None:
            exchange.response = data
            self._hand_over()
            return False
        sent = self._client.send(out)
        relay, self.exchange = self._relay, None
        exchange.close(relay)
        if reusable:
            relay.upstream.release(exchange.connection)
        else:
            exchange.connection.close()
        relay.counters.streamed += 1
        relay.counters.received_bytes += len(exchange.body)
        self.idle_since = time.monotonic()
        if sent < len(out):
            self._rest = out[sent:]
            self._hand_over()
            return False
        return True

    def _response(self, exchange: Exchange, data: bytes) -> tuple[bytes | None, bool]:
        """The response for the client, None if the task has to find it; whether the connection can be used again."""
        end = data.find(_END) + len(_END)
        head = exchange.head
        if end < len(_END) or not (head.keep_alive and head.understands_chunks) or self._closes():
            return None, False
        try:
            response = heads.read_response(data[:end], head.method)
            if response.status < 200 or not _is_whole(response, data, end):
                return None, False
            fields = response.passed_on()
            if response.chunked:
                fields.append((b"Transfer-Encoding", b"chunked"))
            return heads.format_response(response.status, response.reason, fields) + data[end:], response.keep_alive
        except (BadHead, BadChunk):
            return None, False


def _is_whole(response: ResponseHead, data: bytes, end: int) -> bool:
    """Whether its body is all that follows its head. Raises BadChunk."""
    if not response.chunked:
        return response.length == len(data) - end
    chunks = Chunks()
    _, used = chunks.feed(data[end:])
    return chunks.ended and used == len(data) - end
