"""Integrity fields (RFC 9530): their digests, and the problem types for a mismatch.

Only the algorithms that section 5 calls active are checked. The others are ignored, as section 2 allows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import http_sf

from changeover.uploads.protocols.errors import MalformedField

ALGORITHMS: Mapping[str, str] = MappingProxyType({"sha-256": "sha256", "sha-512": "sha512"})
"""The algorithms that are checked, with their names in hashlib."""
WANTED = ", ".join(f"{name}={len(ALGORITHMS) - n}" for n, name in enumerate(ALGORITHMS))
"""The value of `Want-Content-Digest` and `Want-Repr-Digest` (section 4): all algorithms, the cheapest first."""

# draft-ietf-httpapi-digest-fields-problem-types; both go with 400.
_PROBLEMS = "https://iana.org/assignments/http-problem-types#"
INVALID = _PROBLEMS + "digest-invalid-value"
MISMATCHING = _PROBLEMS + "digest-mismatching-value"

_KEY = re.compile(r"(?:^|,)[ \t]*[A-Za-z0-9*._-]+(?==)")
"""A key of the dictionary. `SHA-256`, as in the older `Digest` field, is `sha-256`."""


def read(name: str, text: str) -> dict[str, bytes]:
    """The digests of `Content-Digest` or `Repr-Digest` by algorithm (sections 2 and 3). Raises MalformedField.

    A field that is no dictionary is refused (RFC 9651, section 4.2 leaves the choice): the client relies on the check.
    """
    try:
        text = _KEY.sub(lambda found: found[0].lower(), text)
        parsed: Any = http_sf.parse(text.encode("latin-1"), tltype="dictionary")
    except (http_sf.StructuredFieldError, UnicodeEncodeError) as error:
        raise MalformedField(f"{name} is not a dictionary of byte sequences") from error
    found = {algorithm: value for algorithm, (value, _) in parsed.items() if algorithm in ALGORITHMS}
    for algorithm, value in found.items():
        size = hashlib.new(ALGORITHMS[algorithm]).digest_size
        if not isinstance(value, bytes) or len(value) != size:
            raise MalformedField(f"{name}: a digest of {algorithm} is a byte sequence of {size} bytes", INVALID)
    return found


def spell(digest: bytes) -> str:
    """A byte sequence (RFC 9651, section 4.1.8)."""
    return str(http_sf.ser(digest))
