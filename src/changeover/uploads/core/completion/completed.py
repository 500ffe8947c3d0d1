"""A complete upload, as the handler gets it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator, Mapping

from changeover.uploads.core import description
from changeover.uploads.core.digests import REPR
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.core.segments.lists import pieces
from changeover.uploads.stores.store import Store


async def content_pieces(store: Store, manifest: Manifest, start: int, size: int) -> AsyncIterator[bytes]:
    """At most `size` bytes of the content from `start` on. Raises StoreUnavailable."""
    left = max(0, min(size, manifest.content_size - start))
    if not left:
        return
    async with contextlib.aclosing(pieces(store, manifest, manifest.content_start + start)) as found:
        async for piece in found:
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return


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
        """Bytes; of the file, if the upload is a form."""
        return self._manifest.content_size

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
        """Fields of that request that describe the content, and those of `keep_headers`, by lower-case name. Of a form
        `content-type` and `content-disposition` are those of its file."""
        headers = self._manifest.headers
        return headers if self._manifest.file is None else {k: v for k, v in headers.items() if k != REPR}

    @property
    def metadata(self) -> Mapping[str, str]:
        """The client's metadata (tus), or the other fields of a form. Untrusted text: never use it as a path or as
        markup."""
        return self._manifest.metadata

    @property
    def filename(self) -> str:
        """The name of the file, from whichever field the client stated it in; empty if it did not. Untrusted text."""
        return description.filename(self._manifest)

    @property
    def content_type(self) -> str:
        """The media type, from whichever field the client stated it in; empty if it did not. Untrusted text."""
        return description.content_type(self._manifest)

    def pieces(self, start: int = 0) -> AsyncIterator[bytes]:
        """The bytes from `start` on, in pieces of at most 1 MiB. Raises StoreUnavailable."""
        return content_pieces(self._store, self._manifest, start, self.size)

    async def digest(self, algorithm: str = "sha256") -> str:
        """Hex digest over all bytes, which it reads. Any algorithm of hashlib. Raises StoreUnavailable."""
        digest = hashlib.new(algorithm)
        async for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()
