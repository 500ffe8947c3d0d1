"""Uploads in parts: receive whole parts in any order, then assemble them.

Refuses to keep a part that does not arrive whole.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

from changeover.uploads.core.active_requests import ActiveRequest, ActiveRequests, BodyPieces
from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import REPR, check_readable
from changeover.uploads.core.errors import AlreadyComplete, BadRequest, Interrupted
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.limits.rate_limit import RateLimits
from changeover.uploads.core.manifest import Manifest, UploadPart, UploadState, merge_segments
from changeover.uploads.core.repository import Repository
from changeover.uploads.stores.store import Segment, SegmentWriter


def check_receiving(manifest: Manifest) -> Manifest:
    """Raises AlreadyComplete."""
    if manifest.state is not UploadState.RECEIVING:
        raise AlreadyComplete(f"the upload is complete, with {manifest.offset} bytes")
    return manifest


class PartUploads:
    """The uploads in parts of one engine."""

    def __init__(self, repository: Repository, limits: Limits, active: ActiveRequests, rate_limits: RateLimits) -> None:
        self._repository = repository
        self._limits = limits
        self._active = active
        self._rate_limits = rate_limits

    async def put(
        self, id: str, owner: str, number: int, body: BodyPieces, verify: ContentVerifier | None = None
    ) -> UploadPart:
        """Receive a whole part. It replaces an earlier one of that number.

        Raises NotFound, Cancelled, BadRequest, AlreadyComplete, TooLarge, ChecksumMismatch, Interrupted,
        ClientDisconnected, RetryLater.
        """
        repository = self._repository

        def with_part(manifest: Manifest) -> Manifest:
            changed = check_receiving(manifest).with_part(number, part)
            self._limits.check_size(sum(each.size for each in changed.parts.values()))
            return changed

        self._active.check_staying()
        manifest, version = await repository.read(id, owner)
        async with self._active.begun(f"{id}/{number}", resumable=False) as request:
            if request.replaces:
                manifest, version = await repository.read(id, owner)
            _check_in_parts(check_receiving(manifest))
            with repository.translated_errors():
                writer = repository.store.writer(id, f"part-{number}-{secrets.token_hex(8)}")
            try:
                with repository.metrics.active_requests.track_inprogress():
                    limited = self._rate_limits.limited(id, body)
                    part = UploadPart(await self._receive(request, writer, limited, verify))
                changed, _ = await repository.change(manifest, version, with_part)
            finally:
                writer.close()
        repository.metrics.committed.inc(part.size)
        repository.events.emit("progress", changed)
        return part

    async def _receive(
        self, request: ActiveRequest, writer: SegmentWriter, body: BodyPieces, verify: ContentVerifier | None
    ) -> tuple[Segment, ...]:
        repository = self._repository
        size = uncommitted = 0
        segments: tuple[Segment, ...] = ()
        try:
            while (piece := await request.read(body)) is not None:
                size, uncommitted = size + len(piece), uncommitted + len(piece)
                self._limits.check_request(size)
                if verify is not None:
                    verify.update(piece)
                with repository.translated_errors():
                    writer.write(piece)
                    if uncommitted >= (self._limits.segment or repository.store.segment):
                        segments, uncommitted = merge_segments(segments, await writer.commit()), 0
        except asyncio.CancelledError:
            if not request.absorb_cancellation():
                raise
            raise Interrupted(0) from None
        if verify is not None:
            verify.check()
        with repository.translated_errors():
            return merge_segments(segments, await writer.commit())

    async def assemble(self, id: str, owner: str, order: list[int] | None, repr_digest: str | None = None) -> Manifest:
        """Complete the upload from its parts in ascending order: from those in `order`, or from all.

        `repr_digest`: the field of that name, to be compared with the complete upload.

        Raises NotFound, Cancelled, BadRequest (if a part is missing), TooLarge, RetryLater.
        """
        is_first = False
        check_readable(repr_digest)

        def assembled(manifest: Manifest) -> Manifest:
            nonlocal is_first
            _check_in_parts(manifest)
            is_first = manifest.state is UploadState.RECEIVING
            if not is_first:
                return manifest  # another request has assembled it
            numbers = sorted(manifest.parts) if order is None else order
            if missing := [n for n in numbers if n not in manifest.parts]:
                raise BadRequest(f"parts {missing} are missing")
            self._limits.check_size(sum(manifest.parts[n].size for n in numbers))
            headers = manifest.headers if repr_digest is None else {**manifest.headers, REPR: repr_digest}
            return replace(manifest.assembled(numbers).completed(), headers=headers)

        manifest, _ = await self._repository.change(*await self._repository.read(id, owner), assembled)
        if is_first:
            self._repository.events.emit("completed", manifest)
        return manifest


def _check_in_parts(manifest: Manifest) -> None:
    """Assembly replaces all bytes of an upload; of one that was appended to, it would lose them."""
    if manifest.dialect != "parts":
        raise BadRequest("this upload is not in parts")
