"""A finished upload, as the application gets it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping

from changeover.uploads.core.manifest import Manifest
from changeover.uploads.stores.store import Store


class CompletedUpload:
    """Every byte is there and none will change.

    `id` is the same at every attempt: an application whose effects lie elsewhere (a database, a queue) keeps it as the
    key by which it notices that a crash came between its effect and the keeping of its answer. `attempt` counts from 1.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest

    @property
    def id(self) -> str:
        return self._manifest.id

    @property
    def attempt(self) -> int:
        return self._manifest.attempts

    @property
    def owner(self) -> str:
        """Who made it, as the authorisation hook said."""
        return self._manifest.owner

    @property
    def size(self) -> int:
        """Bytes."""
        return self._manifest.offset

    @property
    def target(self) -> str:
        """The path of the request that began it."""
        return self._manifest.target

    @property
    def method(self) -> str:
        return self._manifest.method

    @property
    def headers(self) -> Mapping[str, str]:
        """Fields of that request that describe the content, by lower-case name."""
        return self._manifest.headers

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the client said of it: file name, type. Text from outside: never a path, never markup."""
        return self._manifest.metadata

    def pieces(self, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` on, at most 1 MiB at a time. Raises Unavailable."""
        return self._store.pieces(self.id, self._manifest.segments, start)

    async def digest(self, algorithm: str = "sha256") -> str:
        """Hex digest over all bytes; reads them. Any algorithm of hashlib."""
        digest = hashlib.new(algorithm)
        async for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()
