"""A complete upload, as the handler gets it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping

from changeover.uploads.core.manifest import Manifest
from changeover.uploads.stores.store import Store


class CompletedUpload:
    """An upload that has every byte; none will change.

    A handler whose effects are elsewhere (a database, a queue) uses `id` as the key of its effect. If the process dies
    between the effect and the storing of the response, the handler is called again with the same id.
    """

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest

    @property
    def id(self) -> str:
        """Identifies the upload; the same at every call."""
        return self._manifest.id

    @property
    def attempt(self) -> int:
        """Number of this call to the handler, from 1."""
        return self._manifest.attempts

    @property
    def owner(self) -> str:
        """As `authorise` returned it; empty without that hook."""
        return self._manifest.owner

    @property
    def size(self) -> int:
        """Bytes."""
        return self._manifest.offset

    @property
    def target(self) -> str:
        """The path of the request that created the upload."""
        return self._manifest.target

    @property
    def method(self) -> str:
        """The method of that request."""
        return self._manifest.method

    @property
    def headers(self) -> Mapping[str, str]:
        """Fields of that request that describe the content, and those of `keep_headers`, by lower-case name."""
        return self._manifest.headers

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's metadata (tus): file name, type. Untrusted text: never use it as a path or as markup."""
        return self._manifest.metadata

    def pieces(self, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` on, in pieces of at most 1 MiB. Raises StoreUnavailable."""
        return self._store.pieces(self.id, self._manifest.segments, start)

    async def digest(self, algorithm: str = "sha256") -> str:
        """Hex digest over all bytes, which it reads. Any algorithm of hashlib. Raises StoreUnavailable."""
        digest = hashlib.new(algorithm)
        async for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()
