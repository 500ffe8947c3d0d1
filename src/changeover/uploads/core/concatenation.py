"""Copy complete partial uploads into a final one (extension Concatenation of tus).

A partial upload that is named several times is copied once, and its segments are named several times. So no request
makes the store hold more bytes than clients have sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from changeover.uploads.core.active_requests import ActiveRequest
from changeover.uploads.core.errors import Interrupted
from changeover.uploads.core.manifest import Manifest, merge_segments
from changeover.uploads.core.repository import Repository
from changeover.uploads.core.segments.lists import pieces, sealed
from changeover.uploads.core.segments.names import segment_name
from changeover.uploads.stores.store import RecordChanged, RecordVersion, Segment


async def concatenated(
    repository: Repository,
    manifest: Manifest,
    version: RecordVersion,
    sources: Sequence[Manifest],
    request: ActiveRequest,
    commit_size: int,
) -> Manifest:
    """Complete an empty upload, which this process holds, with the bytes of these. Raises Interrupted, RetryLater."""
    copies: dict[str, tuple[Segment, ...]] = {}
    with repository.translated_errors():
        for source in sources:
            if source.id not in copies:
                copies[source.id] = await _copied(repository, manifest, source, request, commit_size)
        segments = tuple(segment for source in sources for segment in copies[source.id])
        whole = await sealed(repository.store, replace(manifest, segments=segments).completed().released())
        try:
            await repository.swap(whole, version)
        except RecordChanged:
            raise Interrupted(manifest.offset) from None
    repository.metrics.committed.inc(sum(segment.size for copy in copies.values() for segment in copy))
    repository.events.emit("progress", whole)
    repository.events.emit("completed", whole)
    return whole


async def _copied(
    repository: Repository, manifest: Manifest, source: Manifest, request: ActiveRequest, commit_size: int
) -> tuple[Segment, ...]:
    writer = repository.store.writer(manifest.id, segment_name(manifest.epoch))
    body = pieces(repository.store, source)
    segments: tuple[Segment, ...] = ()
    uncommitted = 0
    try:
        while (piece := await request.read(body)) is not None:
            writer.write(piece)
            uncommitted += len(piece)
            if uncommitted >= commit_size:
                segments, uncommitted = merge_segments(segments, await writer.commit()), 0
        return merge_segments(segments, await writer.commit())
    except asyncio.CancelledError:
        if not request.absorb_cancellation():
            raise
        raise Interrupted(0) from None
    finally:
        writer.close()
