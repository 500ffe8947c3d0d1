"""One upload, whoever speaks of it: created, appended to, taken over, completed, answered, cancelled, collected.

    durable bytes  ->  compare-and-swap of the manifest under an epoch  ->  only then acknowledge

A request that begins while another one for the same upload is still under way breaks it off: in this process it is
told, keeps what it has and lets go; in another process it is fenced out by the epoch. So nobody waits for a connection
that has long been dead, and nobody is told "locked".


Refuses to know any protocol (`dialects/`) or where bytes lie (`stores/`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from changeover.uploads.appending import Appending, Verify, told
from changeover.uploads.errors import (
    AlreadyComplete,
    BadRequest,
    Cancelled,
    Interrupted,
    NotFound,
    TooLarge,
    TryLater,
    UploadError,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.finished import Finished
from changeover.uploads.holds import Body, Hold
from changeover.uploads.lease import Lease, lease_from
from changeover.uploads.limits import Limits
from changeover.uploads.manifest import Answer, Dialect, Manifest, Part, Segment, State, merged
from changeover.uploads.store import Changed, Missing, Store, Unavailable, Version, Writer

Handler = Callable[[Finished], Awaitable[Answer]]
"""Gets an upload of which every byte is there; its answer is kept and is given again to whoever asks again."""

_LOG = logging.getLogger(__name__)

POLL = 0.1
"""Seconds between two looks for an answer that another instance is getting."""
LET_GO = 5.0
"""Seconds until a holder in this process that was told to let go is fenced out instead."""


@dataclass(frozen=True)
class New:
    """An upload to be made."""

    dialect: Dialect
    owner: str = ""
    method: str = "POST"
    target: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    concat: str = ""


class Engine:
    """All uploads of one store, as one process sees them."""

    def __init__(
        self,
        store: Store,
        handler: Handler,
        limits: Limits | None = None,
        *,
        now: Callable[[], float] = time.time,
        name: str = "",
    ) -> None:
        self.store = store
        self.limits = limits or Limits()
        self._handler = handler
        self._now = now
        self._name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._holds: dict[str, Hold] = {}
        self._under_way: set[asyncio.Future[Answer]] = set()
        self._leaving = False

    # -- making and looking ----------------------------------------------------------------------------------------

    async def create(self, new: New) -> Manifest:
        """Make an upload, empty. Raises TooLarge, TryLater."""
        self._check_staying()
        self._check_size(new.length)
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
        with told():
            await self.store.create(manifest.id, manifest.dump())
        return manifest

    async def look(self, id: str, owner: str) -> Manifest:
        """An upload as it is, and nobody broken off. Raises NotFound, Cancelled, TryLater."""
        return (await self._read(id, owner))[0]

    async def settle(self, id: str, owner: str) -> Manifest:
        """An upload whose offset no request that is under way will change any more. Raises as `look` does."""
        await self._break_off(id)

        def settled(manifest: Manifest) -> Manifest:
            return manifest.taken("") if manifest.state is State.RECEIVING and manifest.holder else manifest

        return (await self._change(*await self._read(id, owner), settled))[0]

    def left(self, manifest: Manifest | None) -> float | None:
        """Seconds that an upload has left, or that a new one would have; None: no end to them."""
        if manifest is None:
            return self.limits.max_age
        return None if manifest.expires is None else max(0.0, manifest.expires - self._now())

    async def _read(self, id: str, owner: str) -> tuple[Manifest, Version]:
        with told():
            record, version = await self.store.read(id)
        manifest = Manifest.load(record)
        if manifest.owner != owner:
            raise NotFound("there is no such upload")
        if manifest.state is State.CANCELLED:
            raise Cancelled("this upload was cancelled")
        if self._is_over(manifest):
            raise Cancelled("this upload has expired")
        return manifest, version

    def _is_over(self, manifest: Manifest) -> bool:
        """Not while the application is being asked: its answer must find the upload there."""
        now = self._now()
        asking = manifest.state is State.COMPLETE and now < manifest.held_until
        return manifest.expires is not None and now >= manifest.expires and not asking

    async def _change(
        self, manifest: Manifest, version: Version, change: Callable[[Manifest], Manifest]
    ) -> tuple[Manifest, Version]:
        """Change the newest manifest, however often somebody else is faster. `change` sees each that is tried."""
        while True:
            changed = change(manifest)
            if changed == manifest:
                return manifest, version
            try:
                with told():
                    return changed, await self.store.swap(manifest.id, changed.dump(), version)
            except Changed:
                manifest, version = await self._read(manifest.id, manifest.owner)

    # -- appending -------------------------------------------------------------------------------------------------

    async def append(
        self,
        id: str,
        owner: str,
        offset: int,
        body: Body,
        *,
        complete: bool | None,
        length: int | None = None,
        announced: int | None = None,
        verify: Verify | None = None,
        resumable: bool = True,
    ) -> Manifest:
        """Append a body at `offset`.

        `complete`: whether it is the last one; None: it is, once the known length is reached. `length`: what the client
        says the whole has. `announced`: bytes that the body will have, where that is known; a body that is too large
        leaves nothing then. `verify`: looks at every piece, and has the last word before any of it is kept.
        `resumable`: whether the client can go on elsewhere, so that it may be broken off when this instance leaves.

        Returns the manifest after it. Raises NotFound, Cancelled, WrongOffset, WrongLength, TooLarge, AlreadyComplete,
        ChecksumMismatch, Interrupted, ClientGone, TryLater; whatever had arrived by then is kept, but for a mismatch.
        """

        def taken(manifest: Manifest) -> Manifest:
            if manifest.dialect == "parts":
                raise BadRequest("this upload is made of parts")
            _check_receiving(manifest)
            if offset == manifest.offset:
                return replace(manifest, length=self._agreed(manifest, length)).taken(self._name)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            return manifest.taken("")  # its holder may be about to commit more; the client is told what stays true

        self._check_announced(announced)
        hold = await self._take_place(id, resumable=resumable)
        try:
            manifest, version = await self._change(*await self._read(id, owner), taken)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            return await Appending(self.store, self.limits, manifest, version, hold, verify).run(body, complete)
        finally:
            self._let_go(id, hold)

    async def _take_place(self, id: str, *, resumable: bool) -> Hold:
        await self._break_off(id)
        self._check_staying()
        hold = self._holds[id] = Hold(resumable=resumable)
        return hold

    def _check_staying(self) -> None:
        if self._leaving:
            raise TryLater("this instance is leaving")

    def _let_go(self, id: str, hold: Hold) -> None:
        if self._holds.get(id) is hold:
            del self._holds[id]
        hold.over.set()

    async def _break_off(self, id: str) -> None:
        while (hold := self._holds.get(id)) is not None:
            hold.break_off()
            try:
                async with asyncio.timeout(LET_GO):
                    await hold.over.wait()
            except TimeoutError:
                self._let_go(id, hold)

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

    async def put_part(self, id: str, owner: str, number: int, body: Body) -> Part:
        """Take a whole part; it replaces an earlier one of that number. One that did not come whole leaves nothing.

        Raises NotFound, Cancelled, BadRequest, AlreadyComplete, TooLarge, Interrupted, ClientGone, TryLater.
        """

        def with_part(manifest: Manifest) -> Manifest:
            changed = _check_receiving(manifest).with_part(number, part)
            self._check_size(sum(each.size for each in changed.parts.values()))
            return changed

        place = f"{id}/{number}"
        hold = await self._take_place(place, resumable=False)
        try:
            manifest, version = await self._read(id, owner)
            _check_in_parts(_check_receiving(manifest))
            with told():
                writer = self.store.writer(id, f"part-{number}-{secrets.token_hex(8)}")
            try:
                part = Part(await self._receive_part(hold, writer, body))
                await self._change(manifest, version, with_part)
            finally:
                writer.close()
        finally:
            self._let_go(place, hold)
        return part

    async def _receive_part(self, hold: Hold, writer: Writer, body: Body) -> tuple[Segment, ...]:
        size = uncommitted = 0
        segments: tuple[Segment, ...] = ()
        try:
            while (piece := await hold.read(body)) is not None:
                size, uncommitted = size + len(piece), uncommitted + len(piece)
                self._check_announced(size)
                with told():
                    writer.write(piece)
                    if uncommitted >= self.limits.segment:
                        segments, uncommitted = merged(segments, await writer.commit()), 0
        except asyncio.CancelledError:
            if not hold.uncancelled():
                raise
            raise Interrupted(0) from None
        with told():
            return merged(segments, await writer.commit())

    async def assemble(self, id: str, owner: str, order: list[int] | None) -> Manifest:
        """Make the parts the upload, in ascending order: those named, or all. Raises BadRequest when one is missing."""

        def assembled(manifest: Manifest) -> Manifest:
            _check_in_parts(manifest)
            if manifest.state is not State.RECEIVING:
                return manifest  # somebody was faster
            numbers = sorted(manifest.parts) if order is None else order
            if missing := [n for n in numbers if n not in manifest.parts]:
                raise BadRequest(f"parts {missing} are not here")
            self._check_size(sum(manifest.parts[n].size for n in numbers))
            return manifest.assembled(numbers).completed()

        return (await self._change(*await self._read(id, owner), assembled))[0]

    async def join(self, new: New, ids: list[str]) -> Manifest:
        """Make an upload of the bytes of others, one after the other; they stay. Raises BadRequest, NotFound."""
        sources = [await self.look(id, new.owner) for id in ids]
        if unfinished := [one.id for one in sources if one.state is State.RECEIVING or one.concat != "partial"]:
            raise BadRequest(f"{', '.join(unfinished)}: not a partial upload that is complete")
        manifest = await self.create(replace(new, length=sum(one.offset for one in sources)))

        async def bytes_of_all() -> AsyncIterator[bytes]:
            for one in sources:
                with told():
                    async for piece in self.store.pieces(one.id, one.segments):
                        yield piece

        return await self.append(manifest.id, new.owner, 0, bytes_of_all(), complete=True)

    # -- completing ------------------------------------------------------------------------------------------------

    async def finish(self, id: str, owner: str) -> Answer:
        """The application's answer to a complete upload: asked once, kept, and given again.

        Raises NotFound, Cancelled, WrongLength when it is not complete, TryLater when the application failed or another
        instance is asking it and does not come to an end.
        """
        while True:
            manifest, version = await self._read(id, owner)
            match manifest.state:
                case State.DONE:
                    assert manifest.answer is not None
                    return manifest.answer
                case State.RECEIVING:
                    raise WrongLength(f"the upload is not complete: {manifest.offset} bytes are here")
            if manifest.holder and self._now() < manifest.held_until:
                self._check_staying()
                await asyncio.sleep(POLL)
                continue
            asked = manifest.asked(self._name, lease_from(self._now()))
            try:
                with told():
                    version = await self.store.swap(id, asked.dump(), version)
            except Changed:
                continue
            return await self._ask(asked, version)

    async def _ask(self, manifest: Manifest, version: Version) -> Answer:
        """Shielded: a client that hangs up now must not break off the application in the midst of what it does."""
        asking = asyncio.ensure_future(self._asking(manifest, version))
        self._under_way.add(asking)
        asking.add_done_callback(self._asked)
        return await asyncio.shield(asking)

    def _asked(self, asking: asyncio.Future[Answer]) -> None:
        self._under_way.discard(asking)
        if not asking.cancelled():
            asking.exception()  # has been logged; whoever waited for it may have gone

    async def _asking(self, manifest: Manifest, version: Version) -> Answer:
        def still_mine(it: Manifest) -> Manifest:
            if it.epoch != manifest.epoch:
                raise TryLater("another instance has taken this upload over")
            return it

        lease = Lease(self.store, manifest, version, self._now)
        try:
            async with lease:
                answer = await self._handler(Finished(self.store, manifest))
        except Exception as error:
            if not isinstance(error, TryLater):
                _LOG.exception("the application failed on upload %s, attempt %d", manifest.id, manifest.attempts)
            with contextlib.suppress(UploadError):
                await self._change(lease.manifest, lease.version, lambda it: still_mine(it).released())
            raise TryLater("every byte is here, but the application failed on them") from error
        expires = None if self.limits.keep_done is None else self._now() + self.limits.keep_done
        await self._change(lease.manifest, lease.version, lambda it: still_mine(it).answered(answer, expires))
        return answer

    # -- the rest --------------------------------------------------------------------------------------------------

    async def cancel(self, id: str, owner: str) -> None:
        """Give it up; its bytes go. Raises NotFound, Cancelled, TryLater."""
        await self._break_off(id)
        await self._change(*await self._read(id, owner), lambda it: it.cancelled())
        with contextlib.suppress(Unavailable):  # the next collection does it
            await self.store.drop(id)

    async def leave(self) -> None:
        """Break off every request whose client can go on elsewhere: it keeps what it has, and says so.

        The others, plain uploads and parts, go on to their end, which whoever serves them has to wait for.
        """
        self._leaving = True
        holds = [hold for hold in self._holds.values() if hold.resumable]
        for hold in holds:
            hold.break_off()
        with contextlib.suppress(TimeoutError):  # of a store that stands still
            async with asyncio.timeout(LET_GO):
                for hold in holds:
                    await hold.over.wait()

    async def answered(self) -> None:
        """Wait until the application has answered whatever it was asked from here, its clients gone or not."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def collect(self) -> int:
        """Drop what has expired; how many that were. Safe while other instances do the same."""
        dropped = 0
        async for id in self.store.ids():
            with contextlib.suppress(Missing, Changed, Unavailable, ValueError):  # the next collection looks again
                record, version = await self.store.read(id)
                manifest = Manifest.load(record)
                if manifest.state is not State.CANCELLED:
                    if not self._is_over(manifest):
                        continue
                    await self.store.swap(id, manifest.cancelled().dump(), version)
                await self.store.drop(id)
                dropped += 1
        return dropped


def _check_receiving(manifest: Manifest) -> Manifest:
    if manifest.state is not State.RECEIVING:
        raise AlreadyComplete(f"the upload is complete, with {manifest.offset} bytes")
    return manifest


def _check_in_parts(manifest: Manifest) -> None:
    """Parts take the place of all that is there; of an upload that was appended to, that would lose bytes."""
    if manifest.dialect != "parts":
        raise BadRequest("this upload is not made of parts")
