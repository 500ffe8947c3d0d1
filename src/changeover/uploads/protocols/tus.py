"""tus 1.0.0 (tus.io/protocols/resumable-upload), as the fields of requests and responses."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from changeover.uploads.protocols.errors import MalformedField

VERSION = "1.0.0"
PATCH_TYPE = "application/offset+octet-stream"
EXTENSIONS = (
    "creation",
    "creation-with-upload",
    "creation-defer-length",
    "expiration",
    "checksum",
    "termination",
    "concatenation",
)
FIELDS = ("upload-length", "upload-defer-length", "upload-metadata", "upload-concat", "upload-checksum")
"""Fields that only requests of tus have, in lower case. `upload-length` alone is tus too: the IETF dialect sends
`Upload-Complete` beside it."""
CHECKSUMS = ("sha1", "sha256", "crc32c")

_KEY = re.compile(r"[!-+\--~]+")  # printable ASCII without space and comma
_NUMBER = re.compile(r"\d{1,18}")


def number(headers: Mapping[str, str], name: str) -> int | None:
    """A non-negative whole number of bytes; None when the field is missing. Raises MalformedField."""
    text = headers.get(name)
    if text is None:
        return None
    if not (text.isascii() and _NUMBER.fullmatch(text)):
        raise MalformedField(f"{name} must be a whole number, not {text!r}")
    return int(text)


def metadata(text: str) -> dict[str, str]:
    """`Upload-Metadata` (extension Creation): `key base64,key base64,key`. Raises MalformedField.

    Values are text; bytes that are not UTF-8 are refused.
    """
    found: dict[str, str] = {}
    for pair in text.split(","):
        key, _, value = pair.strip().partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise MalformedField(f"Upload-Metadata: {key!r} is not a key, or is repeated")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise MalformedField(f"Upload-Metadata: the value of {key} is not base64 of UTF-8 text") from error
    return found


def spell_metadata(found: Mapping[str, str]) -> str:
    """The value of `Upload-Metadata` in the response to HEAD."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}".strip() for key, value in found.items())


@dataclass(frozen=True)
class Checksum:
    """`Upload-Checksum` (extension Checksum): the algorithm and the digest."""

    algorithm: str
    digest: bytes


def checksum(text: str) -> Checksum:
    """`sha1 base64`. Raises MalformedField, also for an unsupported algorithm."""
    algorithm, _, value = text.strip().partition(" ")
    algorithm = algorithm.lower()
    if algorithm not in CHECKSUMS:
        raise MalformedField(f"Upload-Checksum: {algorithm} is not supported; supported are {', '.join(CHECKSUMS)}")
    try:
        return Checksum(algorithm, base64.b64decode(value.strip(), validate=True))
    except binascii.Error as error:
        raise MalformedField("Upload-Checksum: the digest is not base64") from error


@dataclass(frozen=True)
class Concat:
    """`Upload-Concat` (extension Concatenation): a partial upload, or the concatenation of `urls`."""

    kind: Literal["partial", "final"]
    urls: tuple[str, ...] = ()


def concat(text: str) -> Concat:
    """`partial`, or `final;url url`. Raises MalformedField."""
    if text == "partial":
        return Concat("partial")
    kind, _, urls = text.partition(";")
    if kind == "final" and urls.split():
        return Concat("final", tuple(urls.split()))
    raise MalformedField(f"Upload-Concat must be `partial` or `final;url url`, not {text!r}")
