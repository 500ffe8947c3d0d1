"""One upload, whoever speaks of it: created, appended to, taken over, completed, answered, cancelled, collected.

    durable bytes  ->  compare-and-swap of the manifest under an epoch  ->  only then acknowledge

A request that begins while another one for the same upload is still under way breaks it off: in this process it is
told, keeps what it has and lets go; in another process it is fenced out by the epoch. So nobody waits for a connection
that has long been dead, and nobody is told "locked".

What arrives is committed when a segment is full, when nothing came for a moment, when the oldest of it has waited for
a while, and at the end: a takeover from another process therefore loses little, none of which was acknowledged.

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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from changeover.uploads.errors import (
    AlreadyComplete,
    BadRequest,
    Cancelled,
    ChecksumMismatch,
    ClientGone,
    Interrupted,
    NotFound,
    TooLarge,
    TryLater,
    UploadError,
    WrongLength,
    WrongOffset,
)
from changeover.uploads.finished import Finished
from changeover.uploads.manifest import Answer, Dialect, Manifest, Part, State
from changeover.uploads.store import Changed, Missing, Store, Unavailable, Version, Writer

Body = AsyncIterator[bytes]
"""A request's content, piece by piece. Raises ClientGone when the client hung up before its end."""

Handler = Callable[[Finished], Awaitable[Answer]]
"""Gets an upload of which every byte is there; its answer is kept and is given again to whoever asks again."""

_LOG = logging.getLogger(__name__)

IDLE = 0.25
"""Seconds without a byte after which what has arrived is committed."""
OLDEST = 2.0
"""Seconds after which what has arrived is committed although more keeps coming."""
LEASE = 30.0
"""Seconds for which somebody else's asking of the application is waited out; renewed while it takes longer."""
POLL = 0.1
"""Seconds between two looks for an answer that another instance is getting."""
LET_GO = 5.0
"""Seconds until a holder in this process that was told to let go is fenced out instead."""


@dataclass(frozen=True)
class Limits:
    """What is allowed. Sizes in bytes, times in seconds."""

    max_size: int | None = None
    max_age: float = 86_400.0
    """How long an upload may take from its creation to its last byte; afterwards it is collected."""
    keep_done: float | None = None
    """How long an upload is kept after the application has answered; None: for ever."""
    max_append: int | None = None
    """Bytes of one request."""
    segment: int = 8 * 1024 * 1024
    """Bytes after which what has arrived is committed."""


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


class Verify(Protocol):
    """A checksum over the body of one request."""

    def update(self, piece: bytes) -> None:
        """See the next piece."""

    def check(self) -> None:
        """After the last one. Raises ChecksumMismatch."""


class _Hold:
    """One request of this process that appends to an upload."""

    def __init__(self) -> None:
        self.task = asyncio.current_task()
        self.reading = False
        self.broken_off = False
        self.over = asyncio.Event()

    def break_off(self) -> None:
        """Make it stop reading, keep what it has, and let go."""
        if self.reading and not self.broken_off and self.task is not None:
            self.task.cancel()
        self.broken_off = True

    async def read(self, body: Body) -> bytes | None:
        """The next piece; None at the end. Raises CancelledError when it is to break off."""
        if self.broken_off:
            raise asyncio.CancelledError
        self.reading = True
        try:
            return await anext(body, None)
        finally:
            self.reading = False

    def uncancelled(self) -> bool:
        """Whether a CancelledError meant no more than this: that it is to break off. The task then goes on."""
        if self.broken_off and self.task is not None:
            self.task.uncancel()
        return self.broken_off


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
        self._holds: dict[str, _Hold] = {}
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
        with _told():
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
        with _told():
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
                with _told():
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
    ) -> Manifest:
        """Append a body at `offset`.

        `complete`: whether it is the last one; None: it is, once the known length is reached. `length`: what the client
        says the whole has. `announced`: bytes that the body will have, where that is known; a body that is too large
        leaves nothing then. `verify`: looks at every piece, and has the last word before any of it is kept.

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
        hold = await self._take_place(id)
        try:
            manifest, version = await self._change(*await self._read(id, owner), taken)
            if not manifest.holder:
                raise WrongOffset(manifest.offset, offset)
            return await _Appending(self, manifest, version, hold, verify).run(body, complete)
        finally:
            self._let_go(id, hold)

    async def _take_place(self, id: str) -> _Hold:
        await self._break_off(id)
        self._check_staying()
        hold = self._holds[id] = _Hold()
        return hold

    def _check_staying(self) -> None:
        if self._leaving:
            raise TryLater("this instance is leaving")

    def _let_go(self, id: str, hold: _Hold) -> None:
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
        hold = await self._take_place(place)
        try:
            manifest, version = await self._read(id, owner)
            _check_in_parts(_check_receiving(manifest))
            with _told():
                writer = self.store.writer(id, f"part-{number}-{secrets.token_hex(8)}")
            try:
                await self._receive_part(hold, writer, body)
                with _told():
                    part = Part(tuple(await writer.commit()))
                await self._change(manifest, version, with_part)
            finally:
                writer.close()
        finally:
            self._let_go(place, hold)
        return part

    async def _receive_part(self, hold: _Hold, writer: Writer, body: Body) -> None:
        size = 0
        try:
            while (piece := await hold.read(body)) is not None:
                size += len(piece)
                self._check_announced(size)
                with _told():
                    writer.write(piece)
        except asyncio.CancelledError:
            if not hold.uncancelled():
                raise
            raise Interrupted(0) from None

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
                with _told():
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
            asked = manifest.asked(self._name, self._now() + LEASE)
            try:
                with _told():
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

        lease = _Lease(self.store, manifest, version, self._now)
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
        """Break off every request: each keeps what it has and tells its client to go on elsewhere."""
        self._leaving = True
        holds = list(self._holds.values())
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


class _Appending:
    """One body on its way into the store."""

    def __init__(
        self, engine: Engine, manifest: Manifest, version: Version, hold: _Hold, verify: Verify | None
    ) -> None:
        self._engine = engine
        self._manifest = manifest
        self._version = version
        self._hold = hold
        self._verify = verify
        with _told():
            self._writer = engine.store.writer(manifest.id, str(manifest.epoch))
        self._begun = manifest.offset
        self._written = 0
        self._uncommitted = 0
        self._last_piece = 0.0
        self._oldest_piece = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._committing: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def run(self, body: Body, complete: bool | None) -> Manifest:
        try:
            ended: BaseException | None = None
            try:
                await self._receive(body)
                if self._verify is not None:
                    self._verify.check()
            except asyncio.CancelledError as cancelled:
                ended = cancelled
            except (UploadError, ClientGone) as error:
                ended = error
            return await self._end(ended, complete)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._committing is not None:  # when the task was cancelled: a commit must not outlive its writer
                await asyncio.wait([self._committing])
            self._writer.close()

    async def _receive(self, body: Body) -> None:
        most = self._most()
        while (piece := await self._hold.read(body)) is not None:
            if not piece:
                continue
            if self._written + len(piece) > most:
                raise self._too_much(most)
            if self._verify is not None:
                self._verify.update(piece)
            self._write(piece)
            self._written += len(piece)
            self._uncommitted += len(piece)
            if self._verify is None:  # otherwise nothing is kept before all of it has been checked
                await self._commit_now_and_then()

    def _write(self, piece: bytes) -> None:
        try:
            with _told():
                self._writer.write(piece)
        except UploadError as error:
            self._failure = error  # a writer that failed may not be asked to commit
            raise

    def _most(self) -> int:
        """Bytes this request may add."""
        limits, length = self._engine.limits, self._manifest.length
        most = [limit - self._begun for limit in (length, limits.max_size) if limit is not None]
        if limits.max_append is not None and not self._manifest.joined:
            most.append(limits.max_append)
        return min(most, default=1 << 62)

    def _too_much(self, most: int) -> UploadError:
        if self._manifest.length is not None and self._begun + most == self._manifest.length:
            return WrongLength(f"more bytes than the {self._manifest.length} that were announced")
        return TooLarge("this request", most)

    # -- committing ------------------------------------------------------------------------------------------------

    async def _commit_now_and_then(self) -> None:
        """When a segment is full, and when it is time; beside what goes on arriving."""
        loop = asyncio.get_running_loop()
        self._last_piece = loop.time()
        if self._uncommitted >= self._engine.limits.segment:
            if self._committing is not None:
                await asyncio.wait([self._committing])  # the store is slower than the client: let TCP wait
            self._start_commit()
        elif self._timer is None:
            self._oldest_piece = self._last_piece
            self._timer = loop.call_later(IDLE, self._look_at_time)

    def _look_at_time(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if not self._uncommitted:
            return
        left = min(self._last_piece + IDLE, self._oldest_piece + OLDEST) - loop.time()
        if self._committing is not None:
            left = IDLE
        if left > 0.001:
            self._timer = loop.call_later(left, self._look_at_time)
        else:
            self._start_commit()

    def _start_commit(self) -> None:
        self._uncommitted = 0
        self._committing = asyncio.ensure_future(self._commit())

    async def _commit(self) -> None:
        try:
            await self._swap(lambda it: it)
        except Exception as error:  # there is no use in receiving more, and a writer that failed may not go on
            self._failure = error
            self._hold.break_off()
        finally:
            self._committing = None

    async def _swap(self, change: Callable[[Manifest], Manifest]) -> None:
        """Make durable what was written, and then say so in the manifest, with that change."""
        try:
            with _told():
                segments = await self._writer.commit()
                changed = change(self._manifest.appended(segments))
                if changed != self._manifest:
                    self._version = await self._engine.store.swap(changed.id, changed.dump(), self._version)
                    self._manifest = changed
        except Changed:
            raise Interrupted(self._manifest.offset) from None

    # -- the end of it -----------------------------------------------------------------------------------------------

    async def _end(self, ended: BaseException | None, complete: bool | None) -> Manifest:
        """Keep what is here, let go, and say why it ended."""
        if self._committing is not None:
            await asyncio.wait([self._committing])
        if isinstance(ended, asyncio.CancelledError) and self._hold.uncancelled():
            ended = Interrupted(0)
        if self._failure is not None:
            raise self._failure
        if isinstance(ended, ChecksumMismatch) or (ended is not None and self._verify is not None):
            self._writer.close()  # unchecked, nothing of this request may stay
            await self._release()
            raise Interrupted(self._manifest.offset) if isinstance(ended, Interrupted) else ended
        length = self._manifest.length
        there = self._begun + self._written
        if ended is None and complete and length not in (None, there):
            ended = WrongLength(f"{length} bytes were announced, and {there} came")
        whole = ended is None and (complete if complete is not None else there == length)
        await self._swap(lambda it: (it.completed() if whole else it).released())
        if isinstance(ended, Interrupted):
            raise Interrupted(self._manifest.offset)
        if ended is not None:
            raise ended
        return self._manifest

    async def _release(self) -> None:
        with contextlib.suppress(Changed, NotFound), _told():  # then it is in other hands already
            await self._engine.store.swap(self._manifest.id, self._manifest.released().dump(), self._version)


class _Lease:
    """While the block runs, nobody else asks the application about this upload."""

    def __init__(self, store: Store, manifest: Manifest, version: Version, now: Callable[[], float]) -> None:
        self.manifest = manifest
        self.version = version
        self._store = store
        self._now = now
        self._over = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        self._renewing = asyncio.ensure_future(self._renew())

    async def __aexit__(self, *_: object) -> None:
        assert self._renewing is not None
        self._over.set()  # not cancelled: a swap that happens although it was would leave its version unknown
        await self._renewing

    async def _renew(self) -> None:
        while not await self._is_over_within(LEASE / 3):
            longer = replace(self.manifest, held_until=self._now() + LEASE)
            with contextlib.suppress(Unavailable):
                try:
                    self.version = await self._store.swap(longer.id, longer.dump(), self.version)
                except (Changed, Missing):
                    return  # taken over: the answer will be refused
                self.manifest = longer

    async def _is_over_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()
        return self._over.is_set()


@contextmanager
def _told() -> Iterator[None]:
    """What a store cannot do, as the client is told it."""
    try:
        yield
    except Unavailable as error:
        raise TryLater(f"the store of uploads: {error}", full=error.full) from error
    except Missing:
        raise NotFound("there is no such upload") from None
