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
from changeover.http1.head import BadHead, Field, ResponseHead
from changeover.relay.inbound import response as responses
from changeover.relay.inbound.incoming_body import ClientGone
from changeover.relay.io.body_buffer import Block
from changeover.relay.io.epoll import STEPS
from changeover.relay.outbound.handover import (
    PLAIN_PATH,
    Append,
    AskOffset,
    Create,
    Gather,
    GiveUp,
    Handover,
    HandoverAction,
    PassOn,
    Pause,
)
from changeover.relay.outbound.upstream import UpstreamConnection, UpstreamFailed, UpstreamRequest
from changeover.relay.paths.fields import of_creation, of_segments
from changeover.relay.paths.request import ClientRequest, ClientTooSlow, RequestRefused
from changeover.uploads.protocols import ietf

REST = 64 * 1024
"""Bytes of a response up to which the relay takes it whole before it sends any of it on."""

_APPEND = b"%bContent-Length: %d\r\nUpload-Offset: %d\r\nUpload-Complete: ?%d\r\n\r\n"
_REPORTED = {name.encode(): name for name in ("location", "upload-capability", "upload-complete", "upload-offset")}
"""Fields of responses that `Handover` reads."""
_OTHERS_FIRST = Pause(0.0)
"""Other connections get their turn."""


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
        self._fields = request.passed_on()
        self._uri = ""
        self._path = b""
        """Of the upload; its host is the upstream, whatever name `_uri` has for it."""
        self._append_head = b""
        """Of every append, without the fields that differ."""
        self._repeated_fields: list[Field] = []
        """The client's fields that every request for the upload repeats."""
        self._outgoing: UpstreamRequest | None = None
        """The request that is under way, or the last one, if its response is for the client."""

    async def run(self) -> bool:
        request = self._request
        try:
            while True:
                request.waker.clear()
                match self._advance():
                    case None:
                        if self._outgoing is None or not self._is_overdue(self._outgoing):
                            await request.waker.wait(self._needs_task)
                    case Pause(until):
                        await asyncio.sleep(until - time.monotonic())
                    case PassOn():
                        assert self._outgoing is not None
                        outgoing, self._outgoing = self._outgoing, None
                        return await request.pass_on(outgoing, responses.ABOUT_THE_UPLOAD)
                    case GiveUp(status, why):
                        request.relay.counters.given_up += 1
                        raise RequestRefused(
                            status,
                            f"{why}; {self.handover.acknowledged} bytes are stored",
                            committed=self.handover.acknowledged,
                            **({"upload": self.handover.location} if self.handover.location else {}),
                        )
                    case Create() | AskOffset() | Append() as action:
                        await self._ask(action)
        finally:
            self._abandon()

    def _advance(self) -> HandoverAction | None:
        """Do all that needs no wait. What the task has to do; None: it waits for the client, or for the upstream."""
        request = self._request
        for _ in range(STEPS):
            if (outgoing := self._outgoing) is not None and not self.handover.is_responded:
                if not self._move(outgoing):
                    return None
                continue
            match action := self._next():
                case Gather():
                    request.send_continue()
                    if not request.take():
                        return None
                case Create() | AskOffset() | Append() if not self.handover.needs_connection:
                    message = self._message(action)
                    if (connection := request.relay.upstream.pooled(request.waker)) is None:
                        return action
                    self._begin(connection, *message)
                case _:
                    return action
        return _OTHERS_FIRST

    def _needs_task(self) -> bool:
        """As `_advance`, where epoll reports the bytes: waking the task costs more than most that there is to do."""
        return self._advance() is not None

    def _next(self) -> HandoverAction:
        buffer, relay = self._request.buffer, self._request.relay
        half = relay.budget.share // 2
        enough = buffer.size >= min(relay.config.segment_size, half) or (buffer.size > 0 and buffer.room() <= 0)
        ended = self._request.body.ended and buffer.size <= half
        return self.handover.next(enough=enough, ended=ended, now=time.monotonic())

    def _is_overdue(self, outgoing: UpstreamRequest) -> bool:
        """Whether the upstream has been silent for too long. Raises ClientTooSlow if the client has."""
        request = self._request
        if not request.body.ended:
            request.refuse_silence()
        if time.monotonic() - request.progressed_at <= request.relay.config.timing.body:
            return False
        what = "the upstream did not respond in time" if outgoing.response is None else "the response stood still"
        self._end(outgoing, UpstreamFailed(what, timeout=True))
        return True

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _ask(self, action: Create | AskOffset | Append) -> None:
        """Begin a request on a connection that has to be opened first."""
        message = self._message(action)
        try:
            connection = await self._request.relay.upstream.connect(
                self._request.waker, fresh=self.handover.needs_connection
            )
        except UpstreamFailed as error:
            self._end(None, error)
        else:
            self._begin(connection, *message)

    def _message(self, action: Create | AskOffset | Append) -> tuple[bytes, bytes, list[Block]]:
        """Method, head and body. Raises BadHead: what cannot be formatted now, never can be."""
        request = self._request
        match action:
            case Create(length):
                head = heads.format_request(request.head.method, request.head.target, self._creation(length))
                return request.head.method, head, []
            case AskOffset():
                return b"HEAD", heads.format_request(b"HEAD", self._path, self._repeated_fields), []
            case Append(offset, complete):
                blocks = request.buffer.segment(request.relay.budget.share // 2)
                size = sum(block.size for block in blocks)
                return b"PATCH", _APPEND % (self._append_head, size, offset, complete), blocks

    def _creation(self, length: int | None) -> list[Field]:
        """The fields that create the upload, among them those of the client's request."""
        fields = [
            *of_creation(self._fields),
            (b"Content-Length", b"0"),
            (b"Upload-Complete", b"?0"),
            (b"Upload-Capability", b"?1"),
        ]
        if length is not None:
            fields.append((b"Upload-Length", b"%d" % length))
        return fields

    def _continue_by(self, uri: str) -> None:
        """Send the next requests to this URI of the upload. Raises BadHead."""
        if PLAIN_PATH.fullmatch(uri) is not None:
            path = uri
        else:
            try:
                parts = urlsplit(urljoin(self._request.head.target.decode("latin-1"), uri))
            except ValueError as error:
                raise BadHead(502, f"the URI of the upload is malformed: {error}") from None
            path = parts._replace(scheme="", netloc="").geturl()
        self._uri = uri
        self._path = path.encode("latin-1")
        self._repeated_fields = of_segments(self._fields, authorised=uri == self.handover.capability)
        fields = [*self._repeated_fields, (b"Content-Type", ietf.PARTIAL.encode())]
        self._append_head = heads.format_request(b"PATCH", self._path, fields).removesuffix(b"\r\n")

    def _begin(self, connection: UpstreamConnection, method: bytes, head: bytes, blocks: list[Block]) -> None:
        request = self._request
        request.relay.counters.segments += method == b"PATCH"
        request.progressed_at = time.monotonic()
        self._outgoing = UpstreamRequest(connection, method, head, blocks, request.relay.pipes)

    def _move(self, outgoing: UpstreamRequest) -> bool:
        """Whether anything moved. The request ends with its response, or with a failure."""
        moved = False
        try:
            if outgoing.response is None:
                moved = self._request.move(outgoing)
            if (response := outgoing.response) is None or not self._receive_rest(outgoing, response):
                return moved
        except (UpstreamFailed, BadHead) as error:
            self._end(outgoing, error)
        else:
            self._end(outgoing)
        return True

    def _receive_rest(self, outgoing: UpstreamRequest, response: ResponseHead) -> bool:
        """Whether the rest of a short response is here: if it breaks off, the relay can ask for it again."""
        connection, length = outgoing.connection, response.length
        while length is not None and len(connection.inbox) < length <= REST:
            data = connection.recv(REST)
            if data is None:
                return False
            if not data:
                raise UpstreamFailed("the response broke off")
            connection.inbox += data
        return True

    def _end(self, outgoing: UpstreamRequest | None, failure: UpstreamFailed | BadHead | None = None) -> None:
        """The request has its response, or has failed."""
        request, handover, counters = self._request, self.handover, self._request.relay.counters
        acknowledged, again, failures = handover.acknowledged, handover.sent_again, handover.failures
        now, sent = time.monotonic(), 0 if outgoing is None else outgoing.sent
        if failure is not None or outgoing is None or (response := outgoing.response) is None:
            timeout = isinstance(failure, UpstreamFailed) and failure.timeout
            handover.failed(GiveUp(504 if timeout else 502, str(failure)), sent, now)
            self._abandon()
        else:
            fields = response.fields
            reported = {name: fields[key].decode("latin-1") for key, name in _REPORTED.items() if key in fields}
            handover.responded(response.status, reported, sent, now)
            if (uri := handover.capability or handover.location) != self._uri:
                self._continue_by(uri)
            outgoing.close()
            if not handover.is_responded:
                self._outgoing = None
                self._drop_response(outgoing, response)
        request.buffer.drop(handover.acknowledged - acknowledged)
        counters.committed_bytes += handover.acknowledged - acknowledged
        counters.resent_bytes += handover.sent_again - again
        counters.resumed += handover.failures > failures

    def _drop_response(self, outgoing: UpstreamRequest, response: ResponseHead) -> None:
        """Drop the response, and return the connection to the pool if the response is at its end."""
        connection = outgoing.connection
        if response.length == len(connection.inbox) and response.keep_alive and outgoing.is_sent_whole:
            connection.inbox = b""
            self._request.relay.upstream.release(connection)
        else:
            connection.close()

    def _abandon(self) -> None:
        """End a request that is under way: no byte of it that is still queued may reach the upstream."""
        outgoing, self._outgoing = self._outgoing, None
        if outgoing is not None:
            outgoing.connection.close(reset=True)
            outgoing.close()

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
