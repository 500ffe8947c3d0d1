"""Digests in requests (RFC 9530): over the content of one request (`Content-Digest`) or the whole upload
(`Repr-Digest`)."""

from __future__ import annotations

import hashlib

from changeover.uploads.core.errors import BadRequest, DigestMismatch
from changeover.uploads.protocols import digest
from changeover.uploads.protocols.errors import MalformedField

CONTENT, REPR = "content-digest", "repr-digest"


class Digests:
    """Compares bytes with the digests of a field. Raises BadRequest if the field is malformed."""

    def __init__(self, name: str, text: str) -> None:
        try:
            self._expected = digest.read(name.title(), text)
        except MalformedField as error:
            raise BadRequest(str(error), error.type) from error
        self._name = name.title()
        self._hashes = {algorithm: hashlib.new(digest.ALGORITHMS[algorithm]) for algorithm in self._expected}

    def __bool__(self) -> bool:
        """Whether the field has a digest of a supported algorithm."""
        return bool(self._expected)

    def update(self, piece: bytes) -> None:
        for each in self._hashes.values():
            each.update(piece)

    def check(self) -> None:
        """Compare, after the last piece. Raises DigestMismatch."""
        for algorithm, expected in self._expected.items():
            if self._hashes[algorithm].digest() != expected:
                raise DigestMismatch(self._name, algorithm, expected)


def check_readable(repr_digest: str | None) -> None:
    """Check a `Repr-Digest` before any byte is taken. Raises BadRequest."""
    if repr_digest is not None:
        Digests(REPR, repr_digest)
