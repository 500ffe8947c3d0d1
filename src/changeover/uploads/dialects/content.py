"""What a request states of its own content: digests (RFC 9530), the checksum of tus, the media type.

Every dialect takes its bytes through these rules, and each rule that a request states applies. Names of types and of
algorithms have no case. Refuses to know where the bytes go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from changeover.uploads.core.appending import ContentVerifier
from changeover.uploads.core.digests import CONTENT, REPR, Digests
from changeover.uploads.core.errors import BadRequest, ChecksumMismatch
from changeover.uploads.protocols import tus
from changeover.uploads.protocols.errors import MalformedField

CHECKSUM = "upload-checksum"


def media_type(headers: Mapping[str, str]) -> str:
    """The type of the content without parameters, in lower case (RFC 9110, section 8.3.1); empty if none is stated."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def verifier(headers: Mapping[str, str], *, is_representation: bool = False) -> ContentVerifier | None:
    """Compares the content with every digest that its request states; None without any. Raises BadRequest.

    `is_representation`: the content is the whole of what `Repr-Digest` describes.
    """
    found: list[ContentVerifier] = []
    for name in (CONTENT, REPR) if is_representation else (CONTENT,):
        if name in headers and (digests := Digests(name, headers[name])):
            found.append(digests)
    if CHECKSUM in headers:
        try:
            found.append(_Checksum(tus.checksum(headers[CHECKSUM])))
        except MalformedField as error:
            raise BadRequest(str(error)) from error
    return _All(found) if found else None


class _All:
    def __init__(self, verifiers: list[ContentVerifier]) -> None:
        self._verifiers = verifiers

    def update(self, piece: bytes) -> None:
        for each in self._verifiers:
            each.update(piece)

    def check(self) -> None:
        for each in self._verifiers:
            each.check()


class _Checksum:
    """Extension "Checksum" of tus."""

    def __init__(self, expected: tus.Checksum) -> None:
        self._expected = expected
        self._crc = 0
        self._hash = None if expected.algorithm == "crc32c" else hashlib.new(expected.algorithm, usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        if self._hash is None:
            import crc32c  # rarely needed, and a tenth of the time in which the library is imported

            self._crc = crc32c.crc32c(piece, self._crc)
        else:
            self._hash.update(piece)

    def check(self) -> None:
        found = self._crc.to_bytes(4) if self._hash is None else self._hash.digest()
        if found != self._expected.digest:
            algorithm = self._expected.algorithm
            raise ChecksumMismatch(f"the {algorithm} of these bytes differs from Upload-Checksum; no byte is kept")
