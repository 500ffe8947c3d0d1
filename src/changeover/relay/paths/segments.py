"""Sends a body to the upstream in segments, by the protocol of resumable uploads (`outbound/handover.py` decides).

The relay sends a segment at full speed once it has enough bytes: however slow the client is, the upload occupies an
instance behind the relay for milliseconds at a time. While the upstream stores one segment, the next one gathers; so
the segments of slow clients are small, and those of fast ones large.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import urljoin, urlsplit

from changeover.http1 import head as heads
from changeover.http1.chunked import BadChunk
from changeover.http1.head import BadHead, Field
from changeover.relay.inbound import response as responses
from changeover.relay.inbound.incoming_body import ClientGone
from changeover.relay.io.body_buffer import Block
from changeover.relay.outbound.handover import Append, AskOffset, Create, Gather, GiveUp, Handover, PassOn, Pause
from changeover.relay.outbound.upstream import UpstreamFailed, UpstreamRequest
from changeover.relay.paths.fields import of_creation, of_segments
from changeover.relay.paths.request import ClientRequest, ClientTooSlow, RequestRefused
from changeover.uploads.protocols import ietf

REST = 64 * 1024
"""Bytes of a response up to which the relay takes it whole before it sends any of it on."""


async def send_in_segments(request: ClientRequest) -> bool:
    """Send the body and the response; whether the connection can carry another request.

    Raises RequestRefused, ClientGone, BadChunk.
    """
    request.relay.counters.segmented += 1
    upload = SegmentedUpload(request)
    request.handover = upload.handover
    try:
        return await upload.run()
    except (ClientGone, BadChunk, ClientTooSlow):
        await upload.cancel()
        raise


class SegmentedUpload:
    """One body on its way to the upstream."""

    def __init__(self, request: ClientRequest) -> None:
        self.handover = Handover(
            request.head.length,
            patience=request.relay.config.patience,
            has_key=b"idempotency-key" in request.head.fields,
        )
        self._request = request
        self._uri = ""
        self._path = b""
        """Of the upload; its host is the upstream, whatever name `_uri` has for it."""
        self._repeated_fields: list[Field] = []
        """The client's fields that every request for the upload repeats."""
        self._outgoing: UpstreamRequest | None = None
        """The last request, if its response is for the client."""

    async def run(self) -> bool:
        request, buffer = self._request, self._request.buffer
        while True:
            most = request.relay.budget.share // 2
            ended = request.body.ended and buffer.size <= most
            match self.handover.next(enough=self._is_enough(), ended=ended, now=time.monotonic()):
                case Gather():
                    await self._gather()
                case Pause(until):
                    await asyncio.sleep(until - time.monotonic())
                case Create(length):
                    await self._ask(request.head.method, request.head.target, self._creation(length), [])
                case AskOffset():
                    await self._ask(b"HEAD", self._path, self._repeated_fields, [])
                case Append(offset, complete):
                    await self._append(offset, buffer.segment(most), complete)
                case PassOn():
                    assert self._outgoing is not None
                    return await request.pass_on(self._outgoing, responses.ABOUT_THE_UPLOAD)
                case GiveUp(status, why):
                    request.relay.counters.given_up += 1
                    raise RequestRefused(
                        status,
                        f"{why}; {self.handover.acknowledged} bytes are stored",
                        committed=self.handover.acknowledged,
                        **({"upload": self.handover.location} if self.handover.location else {}),
                    )

    async def _gather(self) -> None:
        self._request.send_continue()
        self._request.waker.clear()
        if not self._request.take():
            await self._request.waker.wait(self._gathered)

    def _gathered(self) -> bool:
        """Take what the client has sent; whether there is a segment, or no more."""
        while self._request.take():
            if self._is_enough() or self._request.body.ended:
                return True
        return self._request.body.ended

    def _is_enough(self) -> bool:
        """Whether there are enough bytes for a segment."""
        buffer, relay = self._request.buffer, self._request.relay
        least = min(relay.config.segment_size, relay.budget.share // 2)
        return buffer.size >= least or (buffer.size > 0 and buffer.room() <= 0)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _creation(self, length: int | None) -> list[Field]:
        """The fields that create the upload, among them those of the client's request."""
        fields = [
            *of_creation(self._request.passed_on()),
            (b"Content-Length", b"0"),
            (b"Upload-Complete", b"?0"),
            (b"Upload-Capability", b"?1"),
        ]
        if length is not None:
            fields.append((b"Upload-Length", b"%d" % length))
        return fields

    def _continue_by(self, uri: str) -> None:
        """Send the next requests to this URI of the upload. Raises BadHead."""
        try:
            parts = urlsplit(urljoin(self._request.head.target.decode("latin-1"), uri))
        except ValueError as error:
            raise BadHead(502, f"the URI of the upload is malformed: {error}") from None
        self._uri = uri
        self._path = parts._replace(scheme="", netloc="").geturl().encode("latin-1")
        self._repeated_fields = of_segments(self._request.passed_on(), authorised=uri == self.handover.capability)

    async def _append(self, offset: int, blocks: list[Block], complete: bool) -> None:
        size = sum(block.size for block in blocks)
        fields = [
            *self._repeated_fields,
            (b"Content-Type", ietf.PARTIAL.encode()),
            (b"Content-Length", b"%d" % size),
            (b"Upload-Offset", b"%d" % offset),
            (b"Upload-Complete", b"?1" if complete else b"?0"),
        ]
        self._request.relay.counters.segments += 1
        await self._ask(b"PATCH", self._path, fields, blocks)

    async def _ask(self, method: bytes, target: bytes, fields: list[Field], blocks: list[Block]) -> None:
        request, relay, handover = self._request, self._request.relay, self.handover
        acknowledged, again, failures = handover.acknowledged, handover.sent_again, handover.failures
        head = heads.format_request(method, target, fields)  # what cannot be formatted now, never can be
        outgoing = None
        try:
            connection = await relay.upstream.connect(request.waker, fresh=handover.needs_connection)
            outgoing = UpstreamRequest(connection, method, head, blocks, relay.pipes)
            response = await request.response_to(outgoing)
            await self._receive_rest(outgoing)
        except (UpstreamFailed, BadHead) as error:
            timeout = isinstance(error, UpstreamFailed) and error.timeout
            handover.failed(
                GiveUp(504 if timeout else 502, str(error)), 0 if outgoing is None else outgoing.sent, time.monotonic()
            )
            if outgoing is not None:
                outgoing.connection.close(reset=True)
        except BaseException:
            if outgoing is not None:
                outgoing.connection.close(reset=True)
            raise
        else:
            response_fields = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in response.fields.items()
            }
            handover.responded(response.status, response_fields, outgoing.sent, time.monotonic())
            if (uri := handover.capability or handover.location) != self._uri:
                self._continue_by(uri)
            if handover.is_responded:
                self._outgoing = outgoing
            else:
                self._drop_response(outgoing)
        finally:
            if outgoing is not None:
                outgoing.close()
        request.buffer.drop(handover.acknowledged - acknowledged)
        relay.counters.committed_bytes += handover.acknowledged - acknowledged
        relay.counters.resent_bytes += handover.sent_again - again
        relay.counters.resumed += handover.failures > failures

    async def _receive_rest(self, outgoing: UpstreamRequest) -> None:
        """Wait for the rest of a short response: if it breaks off, the relay can ask for it again."""
        response, connection, since = outgoing.response, outgoing.connection, time.monotonic()
        assert response is not None
        while response.length is not None and len(connection.inbox) < response.length <= REST:
            self._request.waker.clear()
            data = connection.recv(REST)
            if data == b"":
                raise UpstreamFailed("the response broke off")
            if data is not None:
                connection.inbox += data
            elif time.monotonic() - since > self._request.relay.config.timing.body:
                raise UpstreamFailed("the response stood still", timeout=True)
            else:
                await self._request.waker.wait()

    def _drop_response(self, outgoing: UpstreamRequest) -> None:
        """Drop the response, and return the connection to the pool if the response is at its end."""
        response, connection = outgoing.response, outgoing.connection
        assert response is not None
        if response.length == len(connection.inbox) and response.keep_alive and outgoing.is_sent_whole:
            connection.inbox = b""
            self._request.relay.upstream.release(connection)
        else:
            connection.close()

    async def cancel(self) -> None:
        """Cancel the upload, which no client can resume. If the cancellation fails, the upload expires."""
        if not self.handover.location:
            return
        with contextlib.suppress(UpstreamFailed, BadHead, TimeoutError, OSError):
            head = heads.format_request(b"DELETE", self._path, self._repeated_fields)
            async with asyncio.timeout(self._request.relay.config.timing.cancel):
                connection = await self._request.relay.upstream.connect(self._request.waker)
                outgoing = UpstreamRequest(connection, b"DELETE", head, [], self._request.relay.pipes)
                try:
                    while outgoing.response is None:
                        self._request.waker.clear()
                        if not outgoing.step():
                            await self._request.waker.wait()
                finally:
                    connection.close()
