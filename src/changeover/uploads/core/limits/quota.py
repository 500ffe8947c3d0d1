"""How many unfinished uploads an owner has, counted in the store, so that the limit holds whichever instance is asked.

Every owner has one more record in the store, of the ids of uploads that were unfinished when it was written. It changes
by compare-and-swap like any other. Nobody strikes out what is finished: only when the list is full is each of its
uploads looked at. An upload is made first and entered then, and its client learns of it last. So a client never knows
of more unfinished uploads than are allowed, and a process that dies in between takes no place from anybody.

The records are never dropped, since others may be about to change them: some hundred bytes for each owner.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable

from changeover.uploads.core.errors import TooManyUploads
from changeover.uploads.stores.store import RecordChanged, RecordMissing, RecordVersion, Store


def place(owner: str) -> str:
    """The id of an owner's record; longer than that of any upload."""
    return hashlib.sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()


def is_place(id: str) -> bool:
    return len(id) == 64


class Quota:
    """Holds every owner to `most` unfinished uploads. Raises Unavailable."""

    def __init__(self, store: Store, most: int, is_unfinished: Callable[[str], Awaitable[bool]]) -> None:
        self._store = store
        self._most = most
        self._is_unfinished = is_unfinished

    async def check_room(self, owner: str) -> None:
        """Whether there is room for one more, without taking it. Raises TooMany."""
        await self._unfinished(owner)

    async def enter(self, owner: str, id: str) -> None:
        """Take the room for an upload that has just been made. Raises TooMany."""
        while True:
            unfinished, version = await self._unfinished(owner)
            record = json.dumps({"format": "owner", "unfinished": [*unfinished, id]}).encode()
            try:
                if version is None:
                    await self._store.create(place(owner), record)
                else:
                    await self._store.swap(place(owner), record, version)
            except RecordChanged:
                continue
            return

    async def _unfinished(self, owner: str) -> tuple[list[str], RecordVersion | None]:
        try:
            record, version = await self._store.read(place(owner))
        except RecordMissing:
            return [], None
        found: list[str] = json.loads(record)["unfinished"]
        if len(found) >= self._most:
            found = [id for id in found if await self._is_unfinished(id)]
        if len(found) >= self._most:
            raise TooManyUploads(self._most)
        return found, version
