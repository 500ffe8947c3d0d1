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
from changeover.relay.inbound import response as answers
from changeover.relay.inbound.body import ClientGone
from changeover.relay.io.body_buffer import Block
from changeover.relay.outbound.handover import Append, AskOffset, Create, Gather, GiveUp, Handover, PassOn, Pause
from changeover.relay.outbound.upstream import Broken, Call
from changeover.relay.paths.request import Exchange, Refused, TooSlow
from changeover.uploads.protocols import ietf

CANCEL_TIME = 2.0
"""Seconds for telling that the bytes of a client that is gone need not be kept."""
REST = 64 * 1024
"""Bytes of an answer up to which it is taken whole before anybody is given any of it."""


async def hand_over(exchange: Exchange) -> bool:
    """All of the body; whether the connection can carry another request. Raises Refused, ClientGone, BadChunk."""
    exchange.relay.counters.handed_over += 1
    handing = Handing(exchange)
    exchange.handing = handing
    try:
        return await handing.run()
    except (ClientGone, BadChunk, TooSlow):
        await handing.cancel()
        raise


class Handing:
    """One body on its way inward."""

    def __init__(self, exchange: Exchange) -> None:
        self.handover = Handover(exchange.head.length, patience=exchange.relay.settings.patience)
        self._exchange = exchange
        self._about: list[Field] = []
        """What whoever authorises requests wants to see of every one of them."""
        self._place = b""
        """The path of the upload: how the host is called in between is the business of this connection."""
        self._call: Call | None = None
        """The last one, if its answer is the client's."""

    async def run(self) -> bool:
        exchange, settings, kept = self._exchange, self._exchange.relay.settings, self._exchange.kept
        while True:
            most = exchange.relay.budget.share // 2
            enough = kept.size >= min(settings.enough, most) or (kept.size > 0 and kept.room() <= 0)
            ended = exchange.body.ended and kept.size <= most
            match self.handover.next(enough=enough, ended=ended, now=time.monotonic()):
                case Gather():
                    await self._gather()
                case Pause(until):
                    await asyncio.sleep(until - time.monotonic())
                case Create(length):
                    await self._ask(b"POST", exchange.head.target, self._creation(length), [])
                    self._begun()
                case AskOffset():
                    await self._ask(b"HEAD", self._place, self._about, [])
                case Append(offset, complete):
                    await self._append(offset, kept.segment(most), complete)
                case PassOn():
                    assert self._call is not None
                    return await exchange.pass_on(self._call, answers.ABOUT_THE_UPLOAD)
                case GiveUp(status, why):
                    exchange.relay.counters.given_up += 1
                    raise Refused(
                        status,
                        f"{why}; {self.handover.acknowledged} bytes are stored",
                        committed=self.handover.acknowledged,
                        **({"upload": self.handover.place} if self.handover.place else {}),
                    )

    async def _gather(self) -> None:
        self._exchange.tell_to_continue()
        self._exchange.waker.clear()
        if not self._exchange.take():
            await self._exchange.waker.wait()

    # -- requests ----------------------------------------------------------------------------------------------------

    def _creation(self, length: int | None) -> list[Field]:
        """What the client said of its request is said of the upload."""
        fields = [*self._exchange.passed_on(), (b"Content-Length", b"0"), (b"Upload-Complete", b"?0")]
        if length is not None:
            fields.append((b"Upload-Length", b"%d" % length))
        return fields

    def _begun(self) -> None:
        described = {b"content-type", b"content-encoding", b"content-language", b"content-disposition"}
        digests = {b"content-digest", b"repr-digest"}
        self._about = [each for each in self._exchange.passed_on() if each[0].lower() not in described | digests]
        try:
            place = urlsplit(urljoin(self._exchange.head.target.decode("latin-1"), self.handover.place))
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
        self._exchange.relay.counters.segments += 1
        await self._ask(b"PATCH", self._place, fields, blocks)

    async def _ask(self, method: bytes, target: bytes, fields: list[Field], blocks: list[Block]) -> None:
        exchange, relay, handover = self._exchange, self._exchange.relay, self.handover
        acknowledged, again, failures = handover.acknowledged, handover.sent_again, handover.failures
        head = heads.spell_request(method, target, fields)  # what cannot be spelt now, never can be
        call = None
        try:
            link = await relay.upstream.link(exchange.waker, fresh=handover.failures > 0)
            call = Call(link, method, head, blocks, relay.pipes)
            answer = await exchange.answer_to(call)
            await self._whole(call)
        except (Broken, BadHead) as error:
            timeout = isinstance(error, Broken) and error.timeout
            handover.broke(
                GiveUp(504 if timeout else 502, str(error)), 0 if call is None else call.sent, time.monotonic()
            )
            if call is not None:
                call.link.close(reset=True)
        except BaseException:
            if call is not None:
                call.link.close(reset=True)
            raise
        else:
            said = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.fields.items()}
            handover.answered(answer.status, said, call.sent, time.monotonic())
            if handover.is_answered:
                self._call = call
            else:
                self._let_go(call)
        finally:
            if call is not None:
                call.close()
        exchange.kept.drop(handover.acknowledged - acknowledged)
        relay.counters.committed += handover.acknowledged - acknowledged
        relay.counters.sent_again += handover.sent_again - again
        relay.counters.resumed += handover.failures > failures

    async def _whole(self, call: Call) -> None:
        """Wait for the rest of the answer, if that is short: one that breaks off can then be asked for again."""
        answer, link, since = call.answer, call.link, time.monotonic()
        assert answer is not None
        while answer.length is not None and len(link.inbox) < answer.length <= REST:
            self._exchange.waker.clear()
            data = link.recv(REST)
            if data == b"":
                raise Broken("the answer broke off")
            if data is not None:
                link.inbox += data
            elif time.monotonic() - since > self._exchange.relay.settings.body_time:
                raise Broken("the answer stood still", timeout=True)
            else:
                await self._exchange.waker.wait()

    def _let_go(self, call: Call) -> None:
        """Keep the connection, without its answer, if it is at its end."""
        answer, link = call.answer, call.link
        assert answer is not None
        if answer.length == len(link.inbox) and answer.keep_alive and call.is_over:
            link.inbox = b""
            self._exchange.relay.upstream.keep(link)
        else:
            link.close()

    async def cancel(self) -> None:
        """Nobody will go on with it: its bytes may go. What cannot be said now, the upload's own expiry does."""
        if not self.handover.place:
            return
        with contextlib.suppress(Broken, BadHead, TimeoutError, OSError):
            head = heads.spell_request(b"DELETE", self._place, self._about)
            async with asyncio.timeout(CANCEL_TIME):
                link = await self._exchange.relay.upstream.link(self._exchange.waker)
                call = Call(link, b"DELETE", head, [], self._exchange.relay.pipes)
                try:
                    while call.answer is None:
                        self._exchange.waker.clear()
                        if not call.step():
                            await self._exchange.waker.wait()
                finally:
                    link.close()
