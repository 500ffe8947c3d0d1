"""Uploads in parts: receive whole parts in any order, then assemble them.

Refuses to keep a part that does not arrive whole. Its bytes, and those of a part that is replaced, are deleted at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from changeover.uploads.core.active_requests import ActiveRequest, ActiveRequests, BodyPieces
from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import REPR, check_readable
from changeover.uploads.core.errors import AlreadyComplete, BadRequest, Interrupted, RetryLater
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.limits.rate_limit import RateLimits
from changeover.uploads.core.manifest import Manifest, UploadPart, UploadState, merge_segments
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.segments.lists import sealed
from changeover.uploads.core.segments.names import segment_name
from changeover.uploads.core.segments.part_lists import all_parts, find_part, with_part
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Segment, SegmentWriter

T = TypeVar("T")

Change = tuple[Manifest, Sequence[Segment]]
"""A changed manifest, and the segments that it no longer names."""


def check_receiving(manifest: Manifest) -> Manifest:
    """Raises AlreadyComplete."""
    if manifest.state is not UploadState.RECEIVING:
        raise AlreadyComplete(f"the upload is complete, with {manifest.offset} bytes")
    return manifest


class ArrivingPart:
    """A part whose bytes arrive in a request of this process."""

    def __init__(self, replaced: int) -> None:
        self.segments: tuple[Segment, ...] = ()
        """Durable, and named by no record yet."""
        self.size = 0
        self._replaced = replaced

    @property
    def growth(self) -> int:
        """Bytes that the upload has more when this part takes the place of an earlier one."""
        return max(0, self.size - self._replaced)


class PartUploads:
    """The uploads in parts of one engine."""

    def __init__(self, repository: Repository, limits: Limits, active: ActiveRequests, rate_limits: RateLimits) -> None:
        self._repository = repository
        self._limits = limits
        self._active = active
        self._rate_limits = rate_limits
        self._arriving: dict[str, list[ArrivingPart]] = {}
        """By upload."""

    async def parts(self, id: str, owner: str) -> Mapping[int, UploadPart]:
        """Every part. Raises NotFound, Cancelled, RetryLater."""

        async def listed(manifest: Manifest) -> Mapping[int, UploadPart]:
            return await all_parts(self._repository.store, manifest)

        return (await self._read(id, owner, listed))[2]

    async def put(
        self, id: str, owner: str, number: int, body: BodyPieces, verify: ContentVerifier | None = None
    ) -> UploadPart:
        """Receive a whole part. It replaces an earlier one of that number.

        Raises NotFound, Cancelled, BadRequest, AlreadyComplete, TooLarge, ChecksumMismatch, Interrupted,
        ClientDisconnected, RetryLater.
        """
        repository = self._repository

        async def earlier_size(manifest: Manifest) -> int:
            _check_in_parts(check_receiving(manifest))
            earlier = await find_part(repository.store, manifest, number)
            return 0 if earlier is None else earlier.size

        self._active.check_staying()
        await repository.read(id, owner)  # a stranger must not interrupt the request of the owner
        async with self._active.begun(f"{id}/{number}", resumable=False) as request:
            manifest, _, replaced = await self._read(id, owner, earlier_size)
            with repository.translated_errors():
                writer = repository.store.writer(id, segment_name(manifest.epoch, f"part{number}-"))
            arriving = ArrivingPart(replaced)
            self._arriving.setdefault(id, []).append(arriving)
            try:
                with repository.metrics.active_requests.track_inprogress():
                    limited = self._rate_limits.limited(id, body)
                    await self._receive(request, writer, limited, verify, arriving, manifest)
                part = UploadPart(arriving.segments)
                changed = await self._name(manifest, number, part)
            except RetryLater:
                raise  # the record may name the bytes, or will when a late write arrives
            except Exception:
                writer.close()
                await repository.discard(id, arriving.segments)
                raise
            finally:
                writer.close()
                self._arriving[id].remove(arriving)
                if not self._arriving[id]:
                    del self._arriving[id]
        repository.metrics.committed.inc(part.size)
        repository.events.emit("progress", changed)
        return part

    async def _receive(
        self,
        request: ActiveRequest,
        writer: SegmentWriter,
        body: BodyPieces,
        verify: ContentVerifier | None,
        arriving: ArrivingPart,
        manifest: Manifest,
    ) -> None:
        repository = self._repository
        uncommitted = 0
        try:
            while (piece := await request.read(body)) is not None:
                arriving.size, uncommitted = arriving.size + len(piece), uncommitted + len(piece)
                self._limits.check_request(arriving.size)
                self._check_total(manifest)
                if verify is not None:
                    verify.update(piece)
                with repository.translated_errors():
                    writer.write(piece)
                    if uncommitted >= (self._limits.segment or repository.store.segment):
                        arriving.segments, uncommitted = merge_segments(arriving.segments, await writer.commit()), 0
        except asyncio.CancelledError:
            if not request.absorb_cancellation():
                raise
            raise Interrupted(0) from None
        if verify is not None:
            verify.check()
        with repository.translated_errors():
            arriving.segments = merge_segments(arriving.segments, await writer.commit())

    def _check_total(self, manifest: Manifest) -> None:
        """Check the bytes that the store would have with all parts that arrive now. Raises TooLarge."""
        growth = sum(each.growth for each in self._arriving[manifest.id])
        self._limits.check_size(manifest.parts_size + growth + self._repository.leftovers.get(manifest.id, 0))

    async def _name(self, begun: Manifest, number: int, part: UploadPart) -> Manifest:
        """Store the manifest with that part. Raises what `put` raises."""

        async def named(manifest: Manifest) -> Change:
            if check_receiving(manifest).epoch != begun.epoch:  # the collection may have deleted its bytes
                raise RetryLater("this part arrived too slowly and was given up; send it again")
            changed, obsolete = await with_part(self._repository.store, manifest, number, part)
            self._limits.check_size(changed.parts_size)
            return changed, obsolete

        return (await self._change(begun.id, begun.owner, named))[0]

    async def assemble(self, id: str, owner: str, order: list[int] | None, repr_digest: str | None = None) -> Manifest:
        """Complete the upload from its parts in ascending order: from those in `order`, or from all.

        `repr_digest`: the field of that name, to be compared with the complete upload.

        Raises NotFound, Cancelled, BadRequest (if a part is missing), TooLarge, RetryLater.
        """
        check_readable(repr_digest)

        async def assembled(manifest: Manifest) -> Change:
            _check_in_parts(manifest)
            if manifest.state is not UploadState.RECEIVING:
                return manifest, ()  # another request has assembled it
            store = self._repository.store
            parts = await all_parts(store, manifest)
            numbers = sorted(parts) if order is None else order
            if missing := [n for n in numbers if n not in parts]:
                raise BadRequest(f"parts {missing} are missing")
            self._limits.check_size(sum(parts[n].size for n in numbers))
            kept = set(numbers)
            dropped = [segment for n, part in parts.items() if n not in kept for segment in part.segments]
            dropped += [each.segment for each in manifest.part_lists.values()]
            headers = manifest.headers if repr_digest is None else {**manifest.headers, REPR: repr_digest}
            whole = replace(manifest.assembled(parts[n] for n in numbers).completed(), headers=headers)
            return await sealed(store, whole), dropped

        manifest, is_first = await self._change(id, owner, assembled)
        if is_first:
            self._repository.events.emit("completed", manifest)
        return manifest

    async def _change(
        self, id: str, owner: str, change: Callable[[Manifest], Coroutine[Any, Any, Change]]
    ) -> tuple[Manifest, bool]:
        """Change the newest manifest, retry while other processes change it first, and delete what it names no longer.

        Returns the manifest, and whether this changed it. Raises what `change` raises, NotFound, Cancelled, RetryLater.
        """
        repository = self._repository
        while True:
            manifest, version, (changed, obsolete) = await self._read(id, owner, change)
            if changed == manifest:
                return manifest, False
            try:
                with repository.translated_errors():
                    await repository.swap(changed, version)
            except RecordChanged:
                new = _lists(changed) - _lists(manifest)
                await repository.discard(id, list(new - _lists((await repository.read(id, owner))[0])))
                continue
            await repository.discard(id, obsolete)
            return changed, True

    async def _read(
        self, id: str, owner: str, use: Callable[[Manifest], Coroutine[Any, Any, T]]
    ) -> tuple[Manifest, RecordVersion, T]:
        """The manifest, and what `use` finds with it. Another process may replace a list while it is read: again."""
        repository = self._repository
        before = None
        while True:
            manifest, version = await repository.read(id, owner)
            try:
                with repository.counted_errors():
                    return manifest, version, await use(manifest)
            except RecordMissing:
                if version == before:
                    raise RetryLater("the store lacks bytes that the record of this upload names") from None
                before = version


def _lists(manifest: Manifest) -> set[Segment]:
    return {each.segment for each in (*manifest.lists, *manifest.part_lists.values())}


def _check_in_parts(manifest: Manifest) -> None:
    """Assembly replaces all bytes of an upload; of one that was appended to, it would lose them."""
    if manifest.dialect != "parts":
        raise BadRequest("this upload is not in parts")
