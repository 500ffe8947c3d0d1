"""Resumable Uploads for HTTP (draft-ietf-httpbis-resumable-upload), as the fields of requests and responses.

Clients use several drafts, which `Upload-Draft-Interop-Version` distinguishes. Their differences are data (`INTEROPS`).
Refuses to resume an upload in another draft, since the meaning of its fields is unknown.
A request without the field uses the newest, as the draft specifies for the future RFC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from changeover.uploads.protocols.errors import MalformedField

_BOOLEANS = {"?0": False, "?1": True}

COMPLETION_FIELDS = ("upload-complete", "upload-incomplete", "upload-draft-interop-version")
"""Fields that only requests of this protocol have, in lower case."""

PARTIAL = "application/partial-upload"
"""Media type of an append (draft -05 and later, section "Upload Append")."""

_PROBLEMS = "https://iana.org/assignments/http-problem-types#"
MISMATCHING_OFFSET = _PROBLEMS + "mismatching-upload-offset"
INCONSISTENT_LENGTH = _PROBLEMS + "inconsistent-upload-length"
COMPLETED_UPLOAD = _PROBLEMS + "completed-upload"


@dataclass(frozen=True)
class Interop:
    """The differences of one interoperability version."""

    version: int
    inverted: bool = False
    """`Upload-Incomplete` instead of `Upload-Complete` (-00, -01)."""
    typed: bool = True
    """The content type of an append must be PARTIAL."""
    limited: bool = True
    """`Upload-Limit` and `Upload-Length` exist."""
    bare: bool = False
    """An offset retrieval must not have the fields of an append (until -05)."""
    lifetime: str = "max-age"
    """The name in `Upload-Limit` of the seconds that are left."""
    completed: str = INCONSISTENT_LENGTH
    """The problem type of an append to a complete upload."""


INTEROPS: Mapping[int, Interop] = MappingProxyType(
    {
        3: Interop(3, inverted=True, typed=False, limited=False, bare=True, completed=""),
        5: Interop(5, typed=False, limited=False, bare=True, completed=""),
        6: Interop(6, bare=True, lifetime="expires", completed=COMPLETED_UPLOAD),
        8: Interop(8),
        9: Interop(9),
    }
)
NEWEST = INTEROPS[9]


@dataclass(frozen=True)
class RequestFields:
    """The fields of a request. None: absent, or of the wrong type."""

    interop: Interop
    complete: bool | None
    offset: int | None
    length: int | None
    wants_capability: bool = False
    """The client asks for a URL by which it continues without the credentials of the creation. Not in the draft."""


def is_spoken(headers: Mapping[str, str]) -> bool:
    """Whether a request uses this protocol. `headers` by lower-case name."""
    return not headers.keys().isdisjoint((*COMPLETION_FIELDS, "upload-offset"))


def is_whole_in_unknown_draft(headers: Mapping[str, str]) -> bool:
    """Whether a request that begins an upload has all of its body, and speaks a draft that `INTEROPS` lacks.

    It needs nothing of the protocol and counts as a plain request: an update of a client must not end its uploads.
    """
    version = _integer(headers, "upload-draft-interop-version")
    if version is None or version in INTEROPS:
        return False
    return _boolean(headers, "upload-complete") is True or _boolean(headers, "upload-incomplete") is False


def read(headers: Mapping[str, str]) -> RequestFields:
    """The fields of a request; one of the wrong type counts as missing. Raises MalformedField on an unknown version."""
    version = _integer(headers, "upload-draft-interop-version")
    if version is not None and version not in INTEROPS:
        known = ", ".join(map(str, INTEROPS))
        raise MalformedField(
            f"Upload-Draft-Interop-Version {version} is not supported; supported are {known}. A request with the whole "
            "body may have any version"
        )
    interop = NEWEST if version is None else INTEROPS[version]
    name = "upload-incomplete" if interop.inverted else "upload-complete"
    flag = _boolean(headers, name)
    return RequestFields(
        interop=interop,
        complete=None if flag is None else flag is not interop.inverted,
        offset=_integer(headers, "upload-offset"),
        length=_integer(headers, "upload-length") if interop.limited else None,
        wants_capability=_boolean(headers, "upload-capability") is True,
    )


@dataclass(frozen=True)
class ResponseFields:
    """The fields of a response in the newest version. None: absent, or of the wrong type."""

    complete: bool | None
    offset: int | None


def read_response(headers: Mapping[str, str]) -> ResponseFields:
    """The fields of a response; `headers` by lower-case name."""
    return ResponseFields(_boolean(headers, "upload-complete"), _integer(headers, "upload-offset"))


def complete(interop: Interop, value: bool) -> tuple[str, str]:
    """The field for whether the upload is complete."""
    name = "Upload-Incomplete" if interop.inverted else "Upload-Complete"
    return name, "?1" if value is not interop.inverted else "?0"


def limit(limits: Mapping[str, int]) -> tuple[str, str]:
    """`Upload-Limit`. Without limits it is `min-size=0`, because the field must not be empty."""
    import http_sf

    return "Upload-Limit", str(http_sf.ser(dict(limits) or {"min-size": 0}))


def _integer(headers: Mapping[str, str], name: str) -> int | None:
    value = _item(headers, name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _boolean(headers: Mapping[str, str], name: str) -> bool | None:
    value = _item(headers, name)
    return value if isinstance(value, bool) else None


def _item(headers: Mapping[str, str], name: str) -> object:
    """A field as an Item (RFC 9651, section 3.3). "Other values MUST cause the entire header field to be ignored." """
    if (text := headers.get(name)) is None:
        return None
    if text in _BOOLEANS or (text.isascii() and text.isdigit() and len(text) <= 15):
        return _BOOLEANS[text] if text in _BOOLEANS else int(text)  # the parser takes fifty times as long
    import http_sf  # here, and not above: a relay rarely needs it, and saves 2 MB

    try:
        parsed: Any = http_sf.parse(text.encode("latin-1"), tltype="item")
    except (http_sf.StructuredFieldError, UnicodeEncodeError):
        return None
    value, _parameters = parsed
    return cast("object", value)
