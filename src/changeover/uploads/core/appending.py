"""Receive one body: write it, commit it at intervals, and keep what has arrived however the request ends.

Received bytes are committed when a segment is full, when nothing arrives for a moment, and at the end. So a takeover by
another process loses at most the bytes of that moment, none of which was acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Protocol

from changeover.uploads.core.active_requests import ActiveRequest, BodyPieces
from changeover.uploads.core.errors import (
    ChecksumMismatch,
    ClientDisconnected,
    Interrupted,
    NotFound,
    TooLarge,
    UploadError,
    WrongLength,
)
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.manifest import Manifest, UploadState, merge_segments
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.segments.lists import compacted
from changeover.uploads.core.segments.names import segment_name
from changeover.uploads.core.timing import UploadTiming
from changeover.uploads.stores.store import RecordChanged, RecordVersion, Segment


class ContentVerifier(Protocol):
    """A checksum over the body of one request."""

    def update(self, piece: bytes) -> None:
        """Take the next piece."""

    def check(self) -> None:
        """Compare, after the last piece. Raises ChecksumMismatch."""


class Appender:
    """Appends one body to the upload of `manifest`, which this process holds."""

    def __init__(
        self,
        repository: Repository,
        limits: Limits,
        timing: UploadTiming,
        manifest: Manifest,
        version: RecordVersion,
        request: ActiveRequest,
        verify: ContentVerifier | None,
    ) -> None:
        self._repository = repository
        self._limits = limits
        self._timing = timing
        self._segment = limits.segment or repository.store.segment
        self._manifest = manifest
        self._version = version
        self._request = request
        self._verify = verify
        with repository.translated_errors():
            self._writer = repository.store.writer(manifest.id, segment_name(manifest.epoch))
        self._start = manifest.offset
        self._written = 0
        self._unverified: Sequence[Segment] = ()
        """Durable, but in no manifest until the whole body is verified."""
        self._uncommitted = 0
        self._last_piece = 0.0
        self._oldest_piece = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._committing: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def run(self, body: BodyPieces, complete: bool | None) -> Manifest:
        """Receive the body. Returns the manifest afterwards; raises what `Engine.append` lists."""
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
            if self._committing is not None:  # after a cancellation: a commit must not outlive its writer
                await asyncio.wait([self._committing])
            self._writer.close()
            self._repository.metrics.discarded.inc(self._start + self._written - self._manifest.offset)

    async def _receive(self, body: BodyPieces) -> None:
        limit = self._limit()
        while (piece := await self._request.read(body)) is not None:
            if not piece:
                continue
            if self._written + len(piece) > limit:
                raise self._too_many_bytes(limit)
            if self._verify is not None:
                self._verify.update(piece)
            self._write(piece)
            self._written += len(piece)
            self._uncommitted += len(piece)
            if self._verify is None:
                await self._commit_when_due()
            elif self._uncommitted >= self._segment:
                await self._flush()
            del piece  # its memory is free for the next one, and an upload that waits holds none

    def _write(self, piece: bytes) -> None:
        try:
            with self._repository.translated_errors():
                self._writer.write(piece)
        except UploadError as error:
            self._failure = error  # a writer that failed may only be closed
            raise

    async def _flush(self) -> None:
        """Make the written bytes durable, so that no store holds more than a segment, without acknowledging them."""
        try:
            with self._repository.translated_errors():
                self._unverified = merge_segments(self._unverified, await self._writer.commit())
        except UploadError as error:
            self._failure = error
            raise
        self._uncommitted = 0

    def _limit(self) -> int:
        """Bytes that this request may add."""
        limits, length = self._limits, self._manifest.length
        most = [] if length is None else [length - self._start]
        if limits.max_size is not None:
            most.append(limits.max_size - self._start - self._repository.leftovers.get(self._manifest.id, 0))
        if limits.max_append is not None:
            most.append(limits.max_append)
        return min(most, default=1 << 62)

    def _too_many_bytes(self, limit: int) -> UploadError:
        length = self._manifest.length
        if length is not None and self._start + limit == length:
            return WrongLength(f"the body has more bytes than the announced length of {length}")
        return TooLarge("this request", limit)

    # -- committing ------------------------------------------------------------------------------------------------

    async def _commit_when_due(self) -> None:
        """Commit when a segment is full or the time has come, while more bytes arrive."""
        loop = asyncio.get_running_loop()
        self._last_piece = loop.time()
        if self._uncommitted >= self._segment:
            while self._committing is not None:  # at its end the timer may have begun another one
                await asyncio.wait([self._committing])  # the store is slower than the client: TCP slows the client down
            self._start_commit()
        elif self._timer is None:
            self._oldest_piece = self._last_piece
            self._timer = loop.call_later(self._timing.idle_commit, self._commit_if_due)

    def _commit_if_due(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        if not self._uncommitted:
            return
        timing = self._timing
        left = min(self._last_piece + timing.idle_commit, self._oldest_piece + timing.max_commit_delay) - loop.time()
        if self._committing is not None:
            left = timing.idle_commit
        if left > 0.001:
            self._timer = loop.call_later(left, self._commit_if_due)
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
        except Exception as error:  # further bytes would be lost, and a writer that failed may only be closed
            self._failure = error
            self._request.interrupt()
        finally:
            self._committing = None

    async def _swap(self, change: Callable[[Manifest], Manifest]) -> None:
        """Make the written bytes durable, then store the manifest that contains them, with that change."""
        repository = self._repository
        try:
            with repository.translated_errors(), repository.metrics.commit.time():
                segments = merge_segments(self._unverified, await self._writer.commit())
                changed = change(self._manifest.appended(segments))
                if changed == self._manifest:
                    return
                obsolete: Sequence[Segment] = ()
                if self._manifest.state is UploadState.RECEIVING:  # later a reader may need the segments
                    changed, obsolete = await compacted(repository.store, changed, growing=bool(changed.holder))
                self._version = await repository.swap(changed, self._version)
                before, self._manifest = self._manifest, changed
                await repository.discard(changed.id, obsolete)
        except RecordChanged:
            raise Interrupted(self._manifest.offset) from None
        if more := changed.offset - before.offset:
            repository.metrics.committed.inc(more)
            repository.events.emit("progress", changed)
        if changed.state is not before.state:
            repository.events.emit("completed", changed)

    # -- the end ---------------------------------------------------------------------------------------------------

    async def _end(self, ended: BaseException | None, complete: bool | None) -> Manifest:
        """Commit, release the upload, and raise the reason why the body ended early."""
        self._stop_timer()
        if self._committing is not None:
            await asyncio.wait([self._committing])
        if isinstance(ended, asyncio.CancelledError) and self._request.absorb_cancellation():
            ended = Interrupted(0)
        if self._failure is not None:
            await self._repository.discard(self._manifest.id, self._unverified)
            raise self._failure
        if isinstance(ended, ChecksumMismatch) or (ended is not None and self._verify is not None):
            self._writer.close()  # unverified bytes may not stay
            await self._repository.discard(self._manifest.id, self._unverified)
            await self._release()
            raise Interrupted(self._manifest.offset) if isinstance(ended, Interrupted) else ended
        length = self._manifest.length
        received = self._start + self._written
        if ended is None and complete and length not in (None, received):
            ended = WrongLength(f"{length} bytes were announced; {received} bytes arrived")
        declared = ended is None and complete
        await self._swap(lambda it: (it.completed() if declared else it).released())
        is_complete = self._manifest.state is UploadState.COMPLETE
        if isinstance(ended, Interrupted) and not is_complete:
            raise Interrupted(self._manifest.offset)
        if ended is not None and not isinstance(ended, Interrupted):
            raise ended
        return self._manifest

    async def _release(self) -> None:
        with contextlib.suppress(RecordChanged, NotFound), self._repository.translated_errors():
            await self._repository.swap(self._manifest.released(), self._version)  # unless another process holds it
