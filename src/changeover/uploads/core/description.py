"""Name and media type of an upload, wherever its client has stated them. Untrusted text."""

from __future__ import annotations

import contextlib
from email.message import Message
from email.utils import collapse_rfc2231_value

from changeover.uploads.core.manifest import Manifest

NAME_KEYS = ("filename", "name")
TYPE_KEYS = ("filetype", "type", "content-type", "contentType")
"""Keys of tus-js-client, Uppy, tuspy and tusd."""


def filename(manifest: Manifest) -> str:
    """The name of the file as the client stated it; empty if it did not."""
    if disposition := manifest.headers.get("content-disposition"):
        message = Message()
        message["Content-Disposition"] = _text(disposition)
        names = [value for key, value in message.get_params([], "content-disposition") if key.lower() == "filename"]
        for name in sorted(names, key=lambda each: isinstance(each, str)):  # `filename*` first (RFC 6266, section 4.3)
            if found := collapse_rfc2231_value(name):
                return found
    return next((manifest.metadata[key] for key in NAME_KEYS if manifest.metadata.get(key)), "")


def content_type(manifest: Manifest) -> str:
    """The media type as the client stated it; empty if it did not."""
    if found := manifest.headers.get("content-type"):
        return found
    return next((manifest.metadata[key] for key in TYPE_KEYS if manifest.metadata.get(key)), "")


def _text(value: str) -> str:
    """A field value; clients send UTF-8 although servers read fields as Latin-1."""
    with contextlib.suppress(UnicodeError):
        return value.encode("latin-1").decode()
    return value
