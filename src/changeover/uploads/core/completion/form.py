"""An upload that is a form: its file is what the handler gets, and its other fields are metadata.

The body is stored as it arrives, so every dialect, the relay and every store take a form like any other body. When
every byte is there, it is read once more, and the record gets the place of the file in it. Refuses to copy the file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from changeover.uploads.core.errors import BadRequest
from changeover.uploads.core.limits.limits import Limits
from changeover.uploads.core.manifest import Manifest
from changeover.uploads.protocols.errors import MalformedField
from changeover.uploads.protocols.form import MEDIA_TYPE, Form, FormLimits, FormReader

DIALECTS = ("plain", "ietf")
"""The dialects whose request is what a browser or the relay makes of a form."""


def is_form(dialect: str, headers: Mapping[str, str]) -> bool:
    """Whether the body of such an upload is a form; `headers` are those of its creation."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    return dialect in DIALECTS and media_type == MEDIA_TYPE


def is_unread(manifest: Manifest) -> bool:
    """Whether the place of the file is not known yet."""
    return manifest.file is None and is_form(manifest.dialect, manifest.headers)


class _Reader:
    """Raises BadRequest instead of MalformedField."""

    def __init__(self, content_type: str, limits: Limits) -> None:
        try:
            self._reader = FormReader(content_type, FormLimits(limits.max_form_fields, limits.max_form_size))
        except MalformedField as error:
            raise BadRequest(str(error)) from error

    def feed(self, piece: bytes) -> None:
        try:
            self._reader.feed(piece)
        except MalformedField as error:
            raise BadRequest(str(error)) from error

    def finish(self) -> Form:
        try:
            return self._reader.finish()
        except MalformedField as error:
            raise BadRequest(str(error)) from error


def check_boundary(content_type: str, limits: Limits) -> None:
    """Check the type of a form before any byte is taken. Raises BadRequest."""
    _Reader(content_type, limits)


async def checked(body: AsyncIterator[bytes], content_type: str, limits: Limits) -> AsyncIterator[bytes]:
    """A body that arrives in one request, refused where it stops being an acceptable form. Raises BadRequest."""
    reader = _Reader(content_type, limits)
    async for piece in body:
        reader.feed(bytes(piece))
        yield piece
    reader.finish()


async def read(manifest: Manifest, pieces: AsyncIterator[bytes], limits: Limits) -> Manifest:
    """The manifest with the place of the file, and with the fields of the form. Raises BadRequest, StoreUnavailable."""
    reader = _Reader(manifest.headers["content-type"], limits)
    async for piece in pieces:
        reader.feed(piece)
    form = reader.finish()
    headers = {name: value for name, value in manifest.headers.items() if name != "content-type"}
    if form.content_type:
        headers["content-type"] = form.content_type
    headers["content-disposition"] = f"form-data; filename*=UTF-8''{quote(form.filename, '')}"
    described = {"filename": form.filename, **({"filetype": form.content_type} if form.content_type else {})}
    return replace(manifest, file=(form.start, form.size), headers=headers, metadata={**described, **form.fields})
