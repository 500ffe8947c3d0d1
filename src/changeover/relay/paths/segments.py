"""A body that is handed inward in segments, by the protocol of resumable uploads (`outbound/handover.py` decides).

A segment goes inward when enough of it is here, at once and at full speed: however slow its client is, an upload holds
an instance behind the relay for milliseconds at a time. While one segment is on its way, and being made durable there,
the next one gathers; so segments are small for slow clients, and large for fast ones.
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
from changeover.relay.paths.request import ClientRequest, ClientTooSlow, RequestRefused
from changeover.uploads.protocols import ietf

REST = 64 * 1024
"""Bytes of an answer up to which it is taken whole before anybody is given any of it."""


async def send_in_segments(request: ClientRequest) -> bool:
    """All of the body; whether the connection can carry another request. Raises Refused, ClientGone, BadChunk."""
    request.relay.counters.handed_over += 1
    upload = SegmentedUpload(request)
    request.handover = upload.handover
    try:
        return await upload.run()
    except (ClientGone, BadChunk, ClientTooSlow):
        await upload.cancel()
        raise


class SegmentedUpload:
    """One body on its way inward."""

    def __init__(self, request: ClientRequest) -> None:
        self.handover = Handover(request.head.length, patience=request.relay.config.patience)
        self._request = request
        self._about: list[Field] = []
        """What whoever authorises requests wants to see of every one of them."""
        self._place = b""
        """The path of the upload: how the host is called in between is the business of this connection."""
        self._outgoing: UpstreamRequest | None = None
        """The last one, if its answer is the client's."""

    async def run(self) -> bool:
        request, config, buffer = self._request, self._request.relay.config, self._request.buffer
        while True:
            most = request.relay.budget.share // 2
            enough = buffer.size >= min(config.segment_size, most) or (buffer.size > 0 and buffer.room() <= 0)
            ended = request.body.ended and buffer.size <= most
            match self.handover.next(enough=enough, ended=ended, now=time.monotonic()):
                case Gather():
                    await self._gather()
                case Pause(until):
                    await asyncio.sleep(until - time.monotonic())
                case Create(length):
                    await self._ask(b"POST", request.head.target, self._creation(length), [])
                    self._begun()
                case AskOffset():
                    await self._ask(b"HEAD", self._place, self._about, [])
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
                        **({"upload": self.handover.place} if self.handover.place else {}),
                    )

    async def _gather(self) -> None:
        self._request.send_continue()
        self._request.waker.clear()
        if not self._request.take():
            await self._request.waker.wait()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _creation(self, length: int | None) -> list[Field]:
        """What the client said of its request is said of the upload."""
        fields = [*self._request.passed_on(), (b"Content-Length", b"0"), (b"Upload-Complete", b"?0")]
        if length is not None:
            fields.append((b"Upload-Length", b"%d" % length))
        return fields

    def _begun(self) -> None:
        described = {b"content-type", b"content-encoding", b"content-language", b"content-disposition"}
        digests = {b"content-digest", b"repr-digest"}
        self._about = [each for each in self._request.passed_on() if each[0].lower() not in described | digests]
        try:
            place = urlsplit(urljoin(self._request.head.target.decode("latin-1"), self.handover.place))
        except ValueError as error:
            raise BadHead(502, f"the upload is at no place: {error}") from None
        self._place = place._replace(scheme="", netloc="").geturl().encode("latin-1")

    async def _append(self, offset: int, blocks: list[Block], complete: bool) -> None:
        size = sum(block.size for block in blocks)
        fields = [
            *self._about,
            (b"Content-Type", ietf.PARTIAL.encode()),
            (b"Content-Length", b"%d" % size),
            (b"Upload-Offset", b"%d" % offset),
            (b"Upload-Complete", b"?1" if complete else b"?0"),
        ]
        self._request.relay.counters.segments += 1
        await self._ask(b"PATCH", self._place, fields, blocks)

    async def _ask(self, method: bytes, target: bytes, fields: list[Field], blocks: list[Block]) -> None:
        request, relay, handover = self._request, self._request.relay, self.handover
        acknowledged, again, failures = handover.acknowledged, handover.sent_again, handover.failures
        head = heads.format_request(method, target, fields)  # what cannot be spelt now, never can be
        outgoing = None
        try:
            connection = await relay.upstream.connect(request.waker, fresh=handover.failures > 0)
            outgoing = UpstreamRequest(connection, method, head, blocks, relay.pipes)
            response = await request.response_to(outgoing)
            await self._whole(outgoing)
        except (UpstreamFailed, BadHead) as error:
            timeout = isinstance(error, UpstreamFailed) and error.timeout
            handover.broke(
                GiveUp(504 if timeout else 502, str(error)), 0 if outgoing is None else outgoing.sent, time.monotonic()
            )
            if outgoing is not None:
                outgoing.connection.close(reset=True)
        except BaseException:
            if outgoing is not None:
                outgoing.connection.close(reset=True)
            raise
        else:
            said = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.fields.items()}
            handover.answered(response.status, said, outgoing.sent, time.monotonic())
            if handover.is_answered:
                self._outgoing = outgoing
            else:
                self._let_go(outgoing)
        finally:
            if outgoing is not None:
                outgoing.close()
        request.buffer.drop(handover.acknowledged - acknowledged)
        relay.counters.committed += handover.acknowledged - acknowledged
        relay.counters.sent_again += handover.sent_again - again
        relay.counters.resumed += handover.failures > failures

    async def _whole(self, outgoing: UpstreamRequest) -> None:
        """Wait for the rest of the answer, if that is short: one that breaks off can then be asked for again."""
        response, connection, since = outgoing.response, outgoing.connection, time.monotonic()
        assert response is not None
        while response.length is not None and len(connection.inbox) < response.length <= REST:
            self._request.waker.clear()
            data = connection.recv(REST)
            if data == b"":
                raise UpstreamFailed("the answer broke off")
            if data is not None:
                connection.inbox += data
            elif time.monotonic() - since > self._request.relay.config.timing.body:
                raise UpstreamFailed("the answer stood still", timeout=True)
            else:
                await self._request.waker.wait()

    def _let_go(self, outgoing: UpstreamRequest) -> None:
        """Keep the connection, without its answer, if it is at its end."""
        response, connection = outgoing.response, outgoing.connection
        assert response is not None
        if response.length == len(connection.inbox) and response.keep_alive and outgoing.is_sent_whole:
            connection.inbox = b""
            self._request.relay.upstream.keep(connection)
        else:
            connection.close()

    async def cancel(self) -> None:
        """Nobody will go on with it: its bytes may go. What cannot be said now, the upload's own expiry does."""
        if not self.handover.place:
            return
        with contextlib.suppress(UpstreamFailed, BadHead, TimeoutError, OSError):
            head = heads.format_request(b"DELETE", self._place, self._about)
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
