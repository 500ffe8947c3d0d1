"""Which fields of a client's request go with the creation of its upload, and which with its segments.

The creation is empty, and a segment is a part: a field that describes the bytes of the whole body would be false of
either. The creation carries what describes the upload (`Content-Type`, `Repr-Digest`). A digest of the body becomes the
`Repr-Digest` of the upload: of a request that carries a whole representation, both are the same bytes (RFC 9530,
section 3). The upstream compares it with the complete upload.

Refuses digests that contradict each other: one of them is wrong, and one dictionary cannot hold both.
"""

from __future__ import annotations

import re
from typing import Any

from changeover.http1.head import Field
from changeover.relay.paths.request import RequestRefused

CREDENTIALS = frozenset({b"authorization", b"dpop", b"signature", b"signature-input", b"x-api-key", b"x-auth-token"})
"""Fields that authorise one request. A token may be for one use or for seconds, and a signature is over one method and
path, so a client's credentials go with the creation alone where the upstream grants a capability. `Cookie` is not one
of them: balancers pin a session by it."""

_OF_CONTENT = frozenset({b"content-digest", b"content-md5", b"digest"})
"""Digests of the body: RFC 9530, RFC 1864, RFC 3230."""
_OF_UPLOAD = _OF_CONTENT | {
    b"repr-digest",
    b"last-modified",
    b"expires",
    b"x-amz-content-sha256",
    b"x-goog-hash",
    # of the creation: a middleware would answer a segment with the response to the creation, or take it for a PUT
    b"idempotency-key",
    b"range",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
}
_OF_UPLOAD_OR_CREDENTIALS = _OF_UPLOAD | CREDENTIALS
_PREFIXES = (b"content-", b"if-")
"""Of fields that describe the content, and of conditions on the resource that the client's request names."""

_MD5 = re.compile(rb"[A-Za-z0-9+/]{22}==")
_INSTANCE_DIGEST = re.compile(rb"\s*(sha-256|sha-512|sha|md5)=([A-Za-z0-9+/]+={0,2})\s*", re.IGNORECASE)


def of_creation(fields: list[Field]) -> list[Field]:
    """The fields of the empty request that creates the upload. Raises RequestRefused."""
    found = _OF_CONTENT | {b"repr-digest"}
    if not any(name.lower() in found for name, _ in fields):
        return fields
    kept = [each for each in fields if each[0].lower() not in found]
    digests = [value for name, value in fields if name.lower() == b"repr-digest"]
    stated = [value for name, value in fields if name.lower() == b"content-digest"]
    if digests and stated:
        _refuse_contradiction(b", ".join(digests), b", ".join(stated))
    digests += stated
    for name, value in fields:
        if name.lower() == b"content-md5" and _MD5.fullmatch(value):
            digests.append(b"md5=:%b:" % value)
        elif name.lower() == b"digest":
            matches = map(_INSTANCE_DIGEST.fullmatch, value.split(b","))
            digests += [b"%b=:%b:" % (match[1].lower(), match[2]) for match in matches if match]
    return [*kept, (b"Repr-Digest", b", ".join(digests))] if digests else kept


def of_segments(fields: list[Field], *, authorised: bool) -> list[Field]:
    """The fields of the other requests for the upload. `authorised`: by the capability of the upload."""
    dropped = _OF_UPLOAD_OR_CREDENTIALS if authorised else _OF_UPLOAD
    return [each for each in fields if (name := each[0].lower()) not in dropped and not name.startswith(_PREFIXES)]


def _refuse_contradiction(one: bytes, other: bytes) -> None:
    import http_sf  # here, and not above: a relay rarely needs it, and saves 2 MB

    try:
        known: Any
        stated: Any
        known, stated = (http_sf.parse(text, tltype="dictionary") for text in (one, other))
    except http_sf.StructuredFieldError:
        return  # the upstream refuses it
    for algorithm in known.keys() & stated.keys():
        if known[algorithm][0] != stated[algorithm][0]:
            raise RequestRefused(400, f"Content-Digest and Repr-Digest have different digests of {algorithm}")
