"""Limit the unfinished uploads of an owner. The count is in the store, so that all instances share it.

Each owner has one more record in the store: the ids of its uploads that were unfinished when the record was written. It
changes by compare-and-swap. A finished upload is not removed from it; only when the list is full, each of its uploads
is read. An upload is created first and entered afterwards, before its client learns of it. So a client never knows of
more unfinished uploads than the limit, and a process that dies in between uses up no place.

The record of an owner is never deleted, because other processes may be about to change it. It has some hundred bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable

from changeover.uploads.core.errors import TooManyUploads
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Store

_LOG = logging.getLogger(__name__)


def quota_record_id(owner: str) -> str:
    """The id of an owner's record. It is longer than the id of any upload."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()


def is_quota_record(id: str) -> bool:
    return len(id) == 64


class Quota:
    """Limits every owner to `limit` unfinished uploads. Raises StoreUnavailable."""

    def __init__(self, store: Store, limit: int, is_unfinished: Callable[[str], Awaitable[bool]]) -> None:
        self._store = store
        self._limit = limit
        self._is_unfinished = is_unfinished

    async def check(self, owner: str) -> None:
        """Check for a free place without taking it. Raises TooManyUploads."""
        await self._unfinished(owner)

    async def enter(self, owner: str, id: str) -> None:
        """Take a place for an upload that was just created. Raises TooManyUploads."""
        while True:
            unfinished, version = await self._unfinished(owner)
            record = json.dumps({"format": "owner", "unfinished": [*unfinished, id]}).encode()
            try:
                if version is None:
                    await self._store.create(quota_record_id(owner), record)
                else:
                    await self._store.swap(quota_record_id(owner), record, version)
            except (RecordChanged, RecordMissing):
                if id not in (await self._read(owner))[0]:  # other processes may have continued from this very write
                    continue
            return

    async def _unfinished(self, owner: str) -> tuple[list[str], RecordVersion | None]:
        found, version = await self._read(owner)
        if len(found) >= self._limit:
            found = [id for id in found if await self._is_unfinished(id)]
        if len(found) >= self._limit:
            raise TooManyUploads(self._limit)
        return found, version

    async def _read(self, owner: str) -> tuple[list[str], RecordVersion | None]:
        try:
            record, version = await self._store.read(quota_record_id(owner))
        except RecordMissing:
            return [], None
        try:
            return [str(id) for id in json.loads(record)["unfinished"]], version
        except (ValueError, TypeError, KeyError) as error:
            _LOG.error("the list of unfinished uploads of an owner is damaged, and begins anew: %r", error)  # noqa: TRY400
            return [], version
