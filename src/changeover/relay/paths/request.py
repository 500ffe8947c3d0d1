"""A request of a client, and what both ways of handling it share: streaming it through, and sending it in segments."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

from changeover.http1 import head as heads
from changeover.http1.head import Field, RequestHead, ResponseHead
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.relay.config import RelayConfig, is_among
from changeover.relay.inbound import response as responses
from changeover.relay.inbound.incoming_body import ClientGone, IncomingBody
from changeover.relay.io.body_buffer import BodyBuffer, BufferBudget
from changeover.relay.io.epoll import STEPS, Channel, Waker
from changeover.relay.io.pipes import Pipes
from changeover.relay.io.spool import SpoolBudget
from changeover.relay.outbound.handover import Handover
from changeover.relay.outbound.upstream import Upstream, UpstreamFailed, UpstreamRequest

MOST_REPORTS = 100
"""Addresses: a network that scans this port must not fill the log."""
PEERS = 4096
"""Peers of which it is remembered whether they may name the client."""
LOOP = 8
"""A request that has passed so many relays goes round in a loop."""


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

RESUMING = (b"tus-resumable", b"content-range", b"upload-")
"""Fields of protocols by which a client itself resumes an upload, and how the names of others begin."""
FRAMING = frozenset({b"content-length", b"expect", b"upload-capability"})
"""Fields of a request that the relay sets anew for the next hop."""
FORWARDED = frozenset(name.lower().encode() for name in FORWARDED_HEADERS)
FRAMING_AND_PEER = FRAMING | {b"x-forwarded-for"}


class RequestRefused(Exception):
    """The relay itself answers, with this status and a problem document."""

    def __init__(self, status: int, detail: str, **more: object) -> None:
        super().__init__(detail)
        self.status = status
        self.more = more


def refuse_here(config: RelayConfig, head: RequestHead) -> None:
    """Raises RequestRefused for a request that the relay answers itself."""
    if head.method == b"TRACE":  # RFC 9110, section 9.3.8: its response repeats the client's credentials
        raise RequestRefused(501, "TRACE is not supported")
    if config.hidden is not None and config.hidden.fullmatch(head.path):
        raise RequestRefused(404, "not found")


def is_segmented(config: RelayConfig, head: RequestHead) -> bool:
    """Whether the body, unless it is small, is sent in segments.

    A client that resumes by itself does that with the application.
    """
    if not head.has_body or not any(route.matches(head.method, head.path) for route in config.segmented):
        return False
    return not any(name.startswith(RESUMING) for name in head.fields)


class ClientTooSlow(RequestRefused):
    """The client has sent no byte of the body for too long."""


@dataclass
class RelayCounters:
    """Counted since the start; shown at /metrics."""

    requests: int = 0
    streamed: int = 0
    segmented: int = 0
    """Uploads that were sent in segments."""
    segments: int = 0
    received_bytes: int = 0
    """Bytes of bodies, from clients."""
    committed_bytes: int = 0
    """Bytes that the upstream has acknowledged."""
    resent_bytes: int = 0
    resumed: int = 0
    """Upstream requests that failed, after which the upload went on."""
    replayed: int = 0
    given_up: int = 0
    clients_disconnected: int = 0


@dataclass
class RelayContext:
    """What all connections share."""

    config: RelayConfig
    upstream: Upstream
    pipes: Pipes
    budget: BufferBudget
    spools: SpoolBudget
    counters: RelayCounters = field(default_factory=RelayCounters)
    leaving: bool = False
    refused: set[bytes] = field(default_factory=set)
    """Peers that are no proxies and were reported."""

    def __post_init__(self) -> None:
        self.believes = lru_cache(PEERS)(self._believes)
        """Whether this peer may name the client."""

    def _believes(self, peer: bytes) -> bool:
        return self.config.trusted_peers is None or is_among(peer, self.config.trusted_peers)

    def refuse_proxy(self, peer: bytes) -> None:
        """Report a connection that is closed because its peer may not send a PROXY header, once for each address."""
        if peer not in self.refused and len(self.refused) < MOST_REPORTS:
            self.refused.add(peer)
            print(
                f"relay: {peer.decode()} may not send a PROXY header: its connections are closed. --proxies names "
                "those that may.",
                file=sys.stderr,
                flush=True,
            )


def fields_for_upstream(relay: RelayContext, peer: bytes, head: RequestHead) -> list[Field]:
    """The fields for the next hop, without those that frame the body. Raises RequestRefused."""
    believed = relay.believes(peer)
    dropped = FRAMING if not peer else FRAMING_AND_PEER
    if not believed:  # servers that pass headers in variables take `_` for `-`
        dropped = dropped.union(name for name in head.fields if name.replace(b"_", b"-") in FORWARDED)
    fields = head.passed_on(dropped)
    via = head.fields.get(b"via", b"").count(b"changeover-")
    if via >= LOOP:
        raise RequestRefused(508, f"this request has passed {via} relays and goes round in a loop")
    fields.append((b"Via", relay.config.via))
    if peer:
        known = head.fields.get(b"x-forwarded-for") if believed else None
        fields.append((b"X-Forwarded-For", peer if known is None else known + b", " + peer))
    if not believed:
        fields.append((b"X-Forwarded-Proto", b"http"))
    return fields


def head_for_upstream(relay: RelayContext, peer: bytes, head: RequestHead, size: int | None) -> bytes:
    """The head of the request to the next hop. `size` of the body, None: in chunks. Raises RequestRefused, BadHead."""
    fields = fields_for_upstream(relay, peer, head)
    if size is None:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif head.has_body or b"content-length" in head.fields:
        fields.append((b"Content-Length", b"%d" % size))
    return heads.format_request(head.method, head.target, fields)


class Progress(NamedTuple):
    """Bytes of a body."""

    received: int
    committed: int | None
    """None: it is not sent in segments."""
    held: int


@dataclass
class ClientRequest:
    """One request of a client, and the connection that its response goes to."""

    relay: RelayContext
    client: Channel
    waker: Waker
    head: RequestHead
    body: IncomingBody
    buffer: BodyBuffer
    peer: bytes
    started: float
    heard: float
    """When the client sent its last byte."""
    closes: Callable[[], bool]
    """Whether the connection closes after the response."""
    continued: bool = False
    """100 (Continue) was sent, or is not needed any more."""
    handover: Handover | None = None
    """If its body is sent in segments."""
    progressed_at: float = 0.0
    """When the upstream last took a byte."""
    steps: int = 0
    _probed: bool = False

    @property
    def progress(self) -> Progress:
        committed = None if self.handover is None else self.handover.acknowledged
        return Progress(self.body.received, committed, self.buffer.size)

    @property
    def last(self) -> bool:
        return not self.head.keep_alive or not self.body.ended or self.closes()

    def send_continue(self) -> None:
        """RFC 9110, section 10.1.1: a client that waits for 100 (Continue) gets it once its body is wanted."""
        if self.head.expects and not self.continued and not self.body.received and not self.body.inbox:
            self.client.send(CONTINUE)
        self.continued = True

    def passed_on(self) -> list[Field]:
        """The fields for the next hop, without those that frame the body."""
        return fields_for_upstream(self.relay, self.peer, self.head)

    def take(self) -> bool:
        """Move received bytes of the body to the buffer; whether any. Raises ClientGone, BadChunk, ClientTooSlow."""
        if self.body.ended:
            return False
        moved = self.body.take(self.buffer)
        if moved:
            self.heard = time.monotonic()
        else:
            self.refuse_silence()
        return moved

    def refuse_silence(self) -> None:
        silent = time.monotonic() - self.heard
        if silent > self.relay.config.timing.body and self.buffer.room() > 0:
            raise ClientTooSlow(408, f"the client sent no byte of the body for {silent:.0f} s")

    def move(self, outgoing: UpstreamRequest) -> bool:
        """Send what the upstream takes, and take what the client has sent; whether anything moved."""
        inward = outgoing.connection.channel
        moved = False
        if inward.may_read or (inward.may_write and not outgoing.all_sent):
            sends = outgoing.sends
            moved = outgoing.step()
            if outgoing.response is not None:
                self.progressed_at = time.monotonic()
                return True
            if outgoing.sends > sends:  # an interim response is no progress: an upstream could send them for ever
                self.progressed_at = time.monotonic()
        if not self.body.ended and (self.client.may_read or self.body.inbox) and self.take():
            moved = True
        return moved

    def _move_all(self, outgoing: UpstreamRequest) -> bool:
        """Move all that moves; whether the task has to go on: there is a response, too much, or a client's end."""
        for _ in range(STEPS):
            if not self.move(outgoing):
                return self.client.ended
            if outgoing.response is not None:
                return True
        return True

    async def step(self, outgoing: UpstreamRequest, action: Callable[[], bool] | None = None) -> None:
        """Move what moves; wait if nothing does, with that action.

        Raises UpstreamFailed, BadHead, ClientGone, BadChunk, RequestRefused.
        """
        self.waker.clear()
        moved = self.move(outgoing)
        if outgoing.response is not None:
            return
        self.steps += 1
        if not moved:
            if not self.body.ended:
                self.refuse_silence()
            if time.monotonic() - self.progressed_at > self.relay.config.timing.body:
                raise UpstreamFailed("the upstream did not respond in time", timeout=True)
            self._check_client()
            await self.waker.wait(action)
        elif self.steps % STEPS == 0:
            await asyncio.sleep(0)

    def _check_client(self) -> None:
        """End a request whose client has left before the response. Raises ClientGone.

        A client that has closed its sending side may still read. An interim response, which any client of HTTP/1.1 must
        expect (RFC 9110, section 15.2), shows it: the host of a client that has left answers it with a reset.
        """
        if not self.body.ended:
            return
        if self.client.gone:
            raise ClientGone
        if self.client.ended and not self._probed and self.head.understands_chunks:
            self._probed = True
            try:
                self.client.send(CONTINUE)
            except OSError:
                raise ClientGone from None

    async def response_to(self, outgoing: UpstreamRequest) -> ResponseHead:
        """Step until the upstream has responded."""
        self.progressed_at = time.monotonic()
        while outgoing.response is None:
            await self.step(outgoing, partial(self._move_all, outgoing))
        return outgoing.response

    async def pass_on(self, outgoing: UpstreamRequest, without: frozenset[bytes] = frozenset()) -> bool:
        """Send the upstream's response to the client; whether the client's connection can carry another request."""
        assert outgoing.response is not None
        connection = outgoing.connection
        try:
            keep = await responses.pass_on(
                connection,
                outgoing.response,
                self.client,
                self.waker,
                close=self.last,
                chunks_understood=self.head.understands_chunks,
                silence=self.relay.config.timing.body,
                without=without,
            )
        except BaseException:
            connection.close()
            raise
        if outgoing.response.keep_alive and outgoing.is_sent_whole and not connection.inbox:
            self.relay.upstream.release(connection)
        else:
            connection.close()
        return keep
