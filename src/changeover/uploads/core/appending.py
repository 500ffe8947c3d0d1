"""One body on its way into the store: written, committed now and then, and what is kept when it ends, however it does.

What arrives is committed when a segment is full, when nothing came for a moment, and at the end: a takeover from
another process therefore loses at most what came within that moment, none of which was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from changeover.uploads.core import metrics
from changeover.uploads.core.active_requests import ActiveRequest, RequestBody
from changeover.uploads.core.errors import (
    ChecksumMismatch,
    ClientDisconnected,
    Interrupted,
    NotFound,
    RetryLater,
    TooLarge,
    UploadError,
    WrongLength,
)
from changeover.uploads.core.events import EventDispatcher
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.manifest import Manifest, Segment, merge_segments
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Store, StoreUnavailable

IDLE = 0.25
"""Seconds without a byte after which what has arrived is committed."""
OLDEST = 2.0
"""Seconds after which what has arrived is committed although more keeps coming."""


class ContentVerifier(Protocol):
    """A checksum over the body of one request."""

    def update(self, piece: bytes) -> None:
        """See the next piece."""

    def check(self) -> None:
        """After the last one. Raises ChecksumMismatch."""


class Appender:
    """One body on its way into the store."""

    def __init__(
        self,
        store: Store,
        limits: Limits,
        manifest: Manifest,
        version: RecordVersion,
        hold: ActiveRequest,
        verify: ContentVerifier | None,
        events: EventDispatcher,
    ) -> None:
        self._store = store
        self._limits = limits
        self._segment = limits.segment or store.segment
        self._manifest = manifest
        self._version = version
        self._hold = hold
        self._verify = verify
        self._events = events
        with translated_errors():
            self._writer = store.writer(manifest.id, str(manifest.epoch))
        self._begun = manifest.offset
        self._written = 0
        self._kept: Sequence[Segment] = ()
        """Durable, and in no manifest before all of the body has been checked."""
        self._uncommitted = 0
        self._last_piece = 0.0
        self._oldest_piece = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._committing: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def run(self, body: RequestBody, complete: bool | None) -> Manifest:
        try:
            ended: BaseException | None = None
            try:
                await self._receive(body)
                if self._verify is not None:
                    self._verify.check()
            except asyncio.CancelledError as cancelled:
                ended = cancelled
            except (UploadError, ClientDisconnected) as error:
                ended = error
            return await self._end(ended, complete)
        finally:
            self._stop_timer()
            if self._committing is not None:  # when the task was cancelled: a commit must not outlive its writer
                await asyncio.wait([self._committing])
            self._writer.close()
            metrics.DISCARDED.inc(self._begun + self._written - self._manifest.offset)

    async def _receive(self, body: RequestBody) -> None:
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
            if self._verify is None:
                await self._commit_now_and_then()
            elif self._uncommitted >= self._segment:
                await self._keep()

    def _write(self, piece: bytes) -> None:
        try:
            with translated_errors():
                self._writer.write(piece)
        except UploadError as error:
            self._failure = error  # a writer that failed may not be asked to commit
            raise

    async def _keep(self) -> None:
        """Make durable what was written, so that no store has to hold more than a segment; and tell nobody yet."""
        try:
            with translated_errors():
                self._kept = merge_segments(self._kept, await self._writer.commit())
        except UploadError as error:
            self._failure = error
            raise
        self._uncommitted = 0

    def _most(self) -> int:
        """Bytes this request may add."""
        limits, length = self._limits, self._manifest.length
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
        if self._uncommitted >= self._segment:
            while self._committing is not None:  # by its end it may be time for another one, which has begun then
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

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
            with translated_errors(), metrics.COMMIT.time():
                segments = merge_segments(self._kept, await self._writer.commit())
                changed = change(self._manifest.appended(segments))
                if changed == self._manifest:
                    return
                self._version = await self._store.swap(changed.id, changed.dump(), self._version)
                before, self._manifest = self._manifest, changed
        except RecordChanged:
            raise Interrupted(self._manifest.offset) from None
        if more := changed.offset - before.offset:
            metrics.COMMITTED.inc(more)
            self._events.emit("progress", changed)
        if changed.state is not before.state:
            self._events.emit("completed", changed)

    # -- the end of it -----------------------------------------------------------------------------------------------

    async def _end(self, ended: BaseException | None, complete: bool | None) -> Manifest:
        """Keep what is here, let go, and say why it ended."""
        self._stop_timer()
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
        with (
            contextlib.suppress(RecordChanged, NotFound),
            translated_errors(),
        ):  # then it is in other hands already
            await self._store.swap(self._manifest.id, self._manifest.released().dump(), self._version)


@contextmanager
def translated_errors() -> Iterator[None]:
    """What a store cannot do, as the client is told it."""
    try:
        yield
    except StoreUnavailable as error:
        metrics.STORE_ERRORS.labels(str(error.full).lower()).inc()
        raise RetryLater(f"the store of uploads: {error}", full=error.full) from error
    except RecordMissing:
        raise NotFound("there is no such upload") from None
