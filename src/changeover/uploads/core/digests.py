"""Digests that come with requests (RFC 9530): over the content of one request, and over the whole upload."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from changeover.uploads.core.completion.completed import CompletedUpload
from changeover.uploads.core.errors import BadRequest, DigestMismatch
from changeover.uploads.protocols import digest
from changeover.uploads.protocols.errors import MalformedField

CONTENT, REPR = "content-digest", "repr-digest"


class Digests:
    """Checks bytes against the digests that a field gives. Raises BadRequest when it cannot be read."""

    def __init__(self, name: str, text: str) -> None:
        try:
            self._told = digest.read(name.title(), text)
        except MalformedField as error:
            raise BadRequest(str(error), error.type) from error
        self._name = name.title()
        self._hashes = {algorithm: hashlib.new(digest.ALGORITHMS[algorithm]) for algorithm in self._told}

    def __bool__(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._told)

    def update(self, piece: bytes) -> None:
        for each in self._hashes.values():
            each.update(piece)

    def check(self) -> None:
        """After the last piece. Raises DigestMismatch."""
        for algorithm, told in self._told.items():
            if self._hashes[algorithm].digest() != told:
                raise DigestMismatch(self._name, algorithm, told)


def of_content(headers: Mapping[str, str]) -> Digests | None:
    """What checks the content of a request that says its digest. Raises BadRequest."""
    return (Digests(CONTENT, headers[CONTENT]) or None) if CONTENT in headers else None


async def check_whole(finished: CompletedUpload) -> None:
    """Read all bytes, where their digest is known, and compare. Raises DigestMismatch, Unavailable.

    Not counted up while they arrive: the state of a digest cannot be handed from one instance to the next.
    """
    if REPR not in finished.headers:
        return
    if digests := Digests(REPR, finished.headers[REPR]):
        async for piece in finished.pieces():
            digests.update(piece)
        digests.check()
