"""One upload, whoever speaks of it: created, appended to, taken over, completed, cancelled, collected.

    durable bytes  ->  compare-and-swap of the manifest under an epoch  ->  only then acknowledge

A request that begins while another one for the same upload is still under way breaks it off: in this process it is
told, keeps what it has and lets go; in another process it is fenced out by the epoch. So nobody waits for a connection
that has long been dead, and nobody is told "locked".

Refuses to know any protocol (`dialects/`), where bytes lie (`stores/`), or what the application says (`asking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from changeover.uploads.core import metrics
from changeover.uploads.core.active_requests import ActiveRequest, RequestBody
from changeover.uploads.core.appending import Appender, ContentVerifier, translated_errors
from changeover.uploads.core.completion.completion import Completion, Handler
from changeover.uploads.core.digests import REPR, Digests
from changeover.uploads.core.errors import (
    AlreadyComplete,
    BadRequest,
    ClientDisconnected,
    Interrupted,
    RetryLater,
    TooLarge,
    TooManyUploads,
    UploadError,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.core.events import EventDispatcher, EventListener
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.limits.quota import Quota
from changeover.uploads.core.limits.rate_limit import RateLimit, RateLimitedBody
from changeover.uploads.core.manifest import Dialect, Manifest, Segment, UploadPart, UploadState, merge_segments
from changeover.uploads.core.repository import Repository
from changeover.uploads.stores.store import RecordChanged, RecordMissing, SegmentWriter, Store, StoreUnavailable

_LOG = logging.getLogger(__name__)

COLLECT = 600.0
"""Seconds between two collections of what has expired."""
LET_GO = 5.0
"""Seconds until a holder in this process that was told to let go is fenced out instead."""


@dataclass(frozen=True)
class NewUpload:
    """An upload to be made. All of it but the dialect and the owner is what the client says."""

    dialect: Dialect
    owner: str = ""
    method: str = "POST"
    target: str = ""
    """The path of the request that makes it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Fields of that request that describe the content, by lower-case name."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """File name, type and the like, in tus."""
    length: int | None = None
    """Bytes, where that is known yet."""
    concat: str = ""


Validate = Callable[[NewUpload], object]
"""Looks at an upload before it is made; may be a coroutine function. Raises Forbidden or Refused, or lets it be."""


class Engine:
    """All uploads of one store, as one process sees them."""

    def __init__(
        self,
        store: Store,
        handler: Handler,
        limits: Limits | None = None,
        *,
        validate: Validate | None = None,
        on_event: EventListener | None = None,
        now: Callable[[], float] = time.time,
        name: str = "",
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self._validate = validate
        self._events = EventDispatcher(on_event)
        self._now = now
        self._name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._records = Repository(store, self._events, now)
        self.completion = Completion(self._records, handler, self.limits, self._name)
        self._holds: dict[str, ActiveRequest] = {}
        self._paces: WeakValueDictionary[str, RateLimit] = WeakValueDictionary()
        most = self.limits.max_unfinished
        self._owners = None if most is None else Quota(store, most, self._records.is_unfinished)
        self._leaving = False

    # -- making and looking ----------------------------------------------------------------------------------------

    async def create(self, new: NewUpload) -> Manifest:
        """Make an upload, empty. Raises TooLarge, TooMany, BadRequest, Forbidden, Refused, TryLater."""
        self._check_staying()
        self._check_size(new.length)
        _check_digest(new.headers.get(REPR))
        await self._check_valid(new)
        if self._owners is not None:
            with translated_errors():
                await self._owners.check_room(new.owner)
        now = self._now()
        manifest = Manifest(
            id=secrets.token_urlsafe(24),
            dialect=new.dialect,
            created=now,
            expires=now + self.limits.max_age,
            owner=new.owner,
            method=new.method,
            target=new.target,
            headers=dict(new.headers),
            metadata=dict(new.metadata),
            length=new.length,
            concat=new.concat,
        )
        with translated_errors():
            await self.store.create(manifest.id, manifest.dump())
            if self._owners is not None:
                try:
                    await self._owners.enter(new.owner, manifest.id)
                except TooManyUploads:
                    await self.store.drop(manifest.id)
                    raise
        self._events.emit("created", manifest)
        return manifest

    async def _check_valid(self, new: NewUpload) -> None:
        if self._validate is None:
            return
        try:
            translated_errors = self._validate(new)
            if inspect.isawaitable(translated_errors):
                await translated_errors
        except UploadError:
            raise
        except Exception as error:
            _LOG.exception("the application could not validate an upload")
            raise RetryLater("the application could not look at this upload; nothing of it was taken") from error

    async def find(self, id: str, owner: str) -> Manifest:
        """An upload as it is, and nobody broken off. Raises NotFound, Cancelled, TryLater."""
        return (await self._records.read(id, owner))[0]

    async def fence(self, id: str, owner: str) -> Manifest:
        """An upload whose offset no request that is under way will change any more. Raises as `look` does."""
        await self._break_off(id)
        fenced = False

        def settled(manifest: Manifest) -> Manifest:
            nonlocal fenced
            fenced = manifest.state is UploadState.RECEIVING and manifest.holder != ""
            return manifest.taken("") if fenced else manifest

        manifest, _ = await self._records.change(*await self._records.read(id, owner), settled)
        _count_fenced(fenced)
        return manifest

    def left(self, manifest: Manifest | None) -> float | None:
        """Seconds that an upload has left, or that a new one would have; None: no end to them."""
        if manifest is None:
            return self.limits.max_age
        return None if manifest.expires is None else max(0.0, manifest.expires - self._now())

    # -- appending -------------------------------------------------------------------------------------------------

    async def append(
        self,
        id: str,
        owner: str,
        offset: int,
        body: RequestBody,
        *,
        complete: bool | None,
        length: int | None = None,
        announced: int | None = None,
        verify: ContentVerifier | None = None,
        repr_digest: str | None = None,
        resumable: bool = True,
    ) -> Manifest:
        """Append a body at `offset`.

        `complete`: whether it is the last one; None: it is, once the known length is reached. `length`: what the client
        says the whole has. `announced`: bytes that the body will have, where that is known; a body that is too large
        leaves nothing then. `verify`: looks at every piece, and has the last word before any of it is kept.
        `repr_digest`: the field of that name, by which the whole will be checked. `resumable`: whether the client can
        go on elsewhere, so that it may be broken off when this instance leaves.

        Returns the manifest after it. Raises NotFound, Cancelled, WrongOffset, WrongLength, TooLarge, AlreadyComplete,
        ChecksumMismatch, Interrupted, ClientGone, TryLater; whatever had arrived by then is kept, but for a mismatch.
        """
        fenced = False

        def taken(manifest: Manifest) -> Manifest:
            nonlocal fenced
            if manifest.dialect == "parts":
                raise BadRequest("this upload is made of parts")
            _check_receiving(manifest)
            fenced = manifest.holder != ""
            if offset == manifest.offset:
                headers = manifest.headers if repr_digest is None else {**manifest.headers, REPR: repr_digest}
                return replace(manifest, length=self._agreed(manifest, length), headers=headers).taken(self._name)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            return manifest.taken("")  # its holder may be about to commit more; the client is told what stays true

        self._check_announced(announced)
        _check_digest(repr_digest)
        hold = await self._take_place(id, resumable=resumable)
        try:
            manifest, version = await self._records.change(*await self._records.read(id, owner), taken)
            _count_fenced(fenced)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            appending = Appender(self.store, self.limits, manifest, version, hold, verify, self._events)
            with metrics.IN_FLIGHT.track_inprogress():
                return await appending.run(body if manifest.joined else self._paced(id, body), complete)
        finally:
            self._let_go(id, hold)

    async def _take_place(self, id: str, *, resumable: bool) -> ActiveRequest:
        await self._break_off(id)
        self._check_staying()
        hold = self._holds[id] = ActiveRequest(resumable=resumable)
        return hold

    def _check_staying(self) -> None:
        if self._leaving:
            raise RetryLater("this instance is leaving")

    def _let_go(self, id: str, hold: ActiveRequest) -> None:
        if self._holds.get(id) is hold:
            del self._holds[id]
        hold.over.set()

    async def _break_off(self, id: str) -> None:
        while (hold := self._holds.get(id)) is not None:
            if not hold.broken_off:
                metrics.TAKEOVERS.labels("in process").inc()
            hold.break_off()
            try:
                async with asyncio.timeout(LET_GO):
                    await hold.over.wait()
            except TimeoutError:
                self._let_go(id, hold)

    def _paced(self, id: str, body: RequestBody) -> RequestBody:
        if self.limits.rate is None:
            return body
        pace = self._paces.get(id) or RateLimit(self.limits.rate)
        self._paces[id] = pace
        return RateLimitedBody(body, pace)

    def _agreed(self, manifest: Manifest, length: int | None) -> int | None:
        if length is None:
            return manifest.length
        self._check_size(length)
        if manifest.length not in (None, length):
            raise WrongLength(f"the upload has {manifest.length} bytes, not {length}")
        if length < manifest.offset:
            raise WrongLength(f"{manifest.offset} bytes are here already; {length} cannot be all")
        return length

    def _check_size(self, length: int | None) -> None:
        limit = self.limits.max_size
        if limit is not None and length is not None and length > limit:
            raise TooLarge(f"an upload of {length} bytes", limit)

    def _check_announced(self, announced: int | None) -> None:
        self._check_size(announced)
        limit = self.limits.max_append
        if limit is not None and announced is not None and announced > limit:
            raise TooLarge(f"a request of {announced} bytes", limit)

    # -- parts, and joining ----------------------------------------------------------------------------------------

    async def put_part(
        self, id: str, owner: str, number: int, body: RequestBody, verify: ContentVerifier | None = None
    ) -> UploadPart:
        """Take a whole part; it replaces an earlier one of that number. One that did not come whole leaves nothing.

        Raises NotFound, Cancelled, BadRequest, AlreadyComplete, TooLarge, ChecksumMismatch, Interrupted, ClientGone,
        TryLater.
        """

        def with_part(manifest: Manifest) -> Manifest:
            changed = _check_receiving(manifest).with_part(number, part)
            self._check_size(sum(each.size for each in changed.parts.values()))
            return changed

        place = f"{id}/{number}"
        hold = await self._take_place(place, resumable=False)
        try:
            manifest, version = await self._records.read(id, owner)
            _check_in_parts(_check_receiving(manifest))
            with translated_errors():
                writer = self.store.writer(id, f"part-{number}-{secrets.token_hex(8)}")
            try:
                with metrics.IN_FLIGHT.track_inprogress():
                    part = UploadPart(await self._receive_part(hold, writer, self._paced(id, body), verify))
                changed, _ = await self._records.change(manifest, version, with_part)
            finally:
                writer.close()
        finally:
            self._let_go(place, hold)
        metrics.COMMITTED.inc(part.size)
        self._events.emit("progress", changed)
        return part

    async def _receive_part(
        self, hold: ActiveRequest, writer: SegmentWriter, body: RequestBody, verify: ContentVerifier | None
    ) -> tuple[Segment, ...]:
        size = uncommitted = 0
        segments: tuple[Segment, ...] = ()
        try:
            while (piece := await hold.read(body)) is not None:
                size, uncommitted = size + len(piece), uncommitted + len(piece)
                self._check_announced(size)
                if verify is not None:
                    verify.update(piece)
                with translated_errors():
                    writer.write(piece)
                    if uncommitted >= (self.limits.segment or self.store.segment):
                        segments, uncommitted = merge_segments(segments, await writer.commit()), 0
        except asyncio.CancelledError:
            if not hold.uncancelled():
                raise
            raise Interrupted(0) from None
        if verify is not None:
            verify.check()
        with translated_errors():
            return merge_segments(segments, await writer.commit())

    async def assemble(self, id: str, owner: str, order: list[int] | None) -> Manifest:
        """Make the parts the upload, in ascending order: those named, or all. Raises BadRequest when one is missing."""

        is_first = False

        def assembled(manifest: Manifest) -> Manifest:
            nonlocal is_first
            _check_in_parts(manifest)
            is_first = manifest.state is UploadState.RECEIVING
            if not is_first:
                return manifest  # somebody was faster
            numbers = sorted(manifest.parts) if order is None else order
            if missing := [n for n in numbers if n not in manifest.parts]:
                raise BadRequest(f"parts {missing} are not here")
            self._check_size(sum(manifest.parts[n].size for n in numbers))
            return manifest.assembled(numbers).completed()

        manifest, _ = await self._records.change(*await self._records.read(id, owner), assembled)
        if is_first:
            self._events.emit("completed", manifest)
        return manifest

    async def join(self, new: NewUpload, ids: list[str]) -> Manifest:
        """Make an upload of the bytes of others, one after the other; they stay. Raises BadRequest, NotFound."""
        sources = [await self.find(id, new.owner) for id in ids]
        if unfinished := [one.id for one in sources if one.state is UploadState.RECEIVING or one.concat != "partial"]:
            raise BadRequest(f"{', '.join(unfinished)}: not a partial upload that is complete")
        manifest = await self.create(replace(new, length=sum(one.offset for one in sources)))

        async def bytes_of_all() -> AsyncIterator[bytes]:
            for one in sources:
                with translated_errors():
                    async for piece in self.store.pieces(one.id, one.segments):
                        yield piece

        async with self.cancelled_on_error(manifest):
            return await self.append(manifest.id, new.owner, 0, bytes_of_all(), complete=True)

    # -- the rest --------------------------------------------------------------------------------------------------

    async def cancel(self, id: str, owner: str) -> None:
        """Give it up; its bytes go. Raises NotFound, Cancelled, TryLater."""
        await self._break_off(id)
        await self._records.give_up(*await self._records.read(id, owner))

    @contextlib.asynccontextmanager
    async def cancelled_on_error(self, manifest: Manifest) -> AsyncIterator[None]:
        """For the first bytes of an upload, which come before its client has learnt where it is: nobody could go on."""
        try:
            yield
        except (UploadError, ClientDisconnected):
            with contextlib.suppress(UploadError):
                await self.cancel(manifest.id, manifest.owner)
            raise

    async def leave(self) -> None:
        """Break off every request whose client can go on elsewhere: it keeps what it has, and says so.

        The others, plain uploads and parts, go on to their end, which whoever serves them has to wait for.
        """
        self._leaving = self.completion.leaving = True
        holds = [hold for hold in self._holds.values() if hold.resumable]
        for hold in holds:
            hold.break_off()
        with contextlib.suppress(TimeoutError):  # of a store that stands still
            async with asyncio.timeout(LET_GO):
                for hold in holds:
                    await hold.over.wait()

    async def collect(self) -> int:
        """Drop what has expired, and have the application answer what is complete and was left by whoever was to ask
        it. How many were dropped. Safe while other instances do the same."""
        dropped = 0
        async for id in self.store.ids():
            with contextlib.suppress(
                RecordMissing, RecordChanged, StoreUnavailable, ValueError
            ):  # the next collection looks again
                record, version = await self.store.read(id)
                manifest = Manifest.load(record)
                if manifest.state is not UploadState.CANCELLED:
                    if not self._records.is_over(manifest):
                        await self.completion.complete_abandoned(manifest)
                        continue
                    await self.store.swap(id, manifest.cancelled().dump(), version)
                    self._events.emit("expired", manifest)
                await self.store.drop(id)
                dropped += 1
        return dropped

    @contextlib.asynccontextmanager
    async def collecting(self) -> AsyncIterator[None]:
        """Collect now and then while the block runs."""
        running = asyncio.ensure_future(self._collect_now_and_then())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def _collect_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(COLLECT)
            with contextlib.suppress(StoreUnavailable):
                await self.collect()


def _check_receiving(manifest: Manifest) -> Manifest:
    if manifest.state is not UploadState.RECEIVING:
        raise AlreadyComplete(f"the upload is complete, with {manifest.offset} bytes")
    return manifest


def _check_digest(repr_digest: str | None) -> None:
    if repr_digest is not None:
        Digests(REPR, repr_digest)


def _count_fenced(fenced: bool) -> None:
    """Of an upload that was in the hands of another process."""
    if fenced:
        metrics.TAKEOVERS.labels("fenced").inc()


def _check_in_parts(manifest: Manifest) -> None:
    """Parts take the place of all that is there; of an upload that was appended to, that would lose bytes."""
    if manifest.dialect != "parts":
        raise BadRequest("this upload is not made of parts")
