"""`GET` and `HEAD` of `ID/content`: the bytes of a complete upload, whole or one range of them (RFC 9110, section 14).

The content comes from a client, and may be a page with a script: so it is an attachment, its type is never guessed, and
a browser that shows it gives it no rights. Several ranges at once are served as the whole, which the RFC allows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import quote

from changeover.uploads.core import description
from changeover.uploads.core.completion import form
from changeover.uploads.core.engine import Engine
from changeover.uploads.core.errors import NotFound
from changeover.uploads.core.manifest import Manifest, UploadState
from changeover.uploads.dialects.http import DialectRequest, DialectResponse, problem

UNKNOWN_TYPE = "application/octet-stream"
MAX_NAME = 150
"""Characters of a file name: nine bytes each in RFC 8187 leave a head below 4 KiB, which is what nginx has for it."""

_TYPE = re.compile(
    r"""[\w!#$&^.+-]{1,80}/[\w!#$&^.+-]{1,80}(?:\s*;\s*[\w.+-]+=(?:[\w.+-]+|"[\w .+-]*")){0,3}""", re.ASCII
)
_RANGE = re.compile(r"bytes\s*=\s*(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"[^"]*"')


async def respond(engine: Engine, request: DialectRequest) -> DialectResponse:
    """Respond to the request. Raises NotFound, Cancelled, RetryLater."""
    manifest = await engine.find(request.id, request.owner)
    if manifest.state is UploadState.RECEIVING or form.is_unread(manifest):
        raise NotFound("this upload is not complete")
    tag, size = f'"{manifest.id}"', manifest.content_size
    headers = (
        ("ETag", tag),
        ("Accept-Ranges", "bytes"),
        ("Content-Type", _content_type(manifest)),
        ("Content-Disposition", disposition(description.filename(manifest))),
        ("X-Content-Type-Options", "nosniff"),
        ("Content-Security-Policy", "sandbox; default-src 'none'"),
    )
    if (refused := _precondition(request.headers, tag)) is not None:
        return DialectResponse(refused, headers[:2]) if refused == 304 else problem(refused, "the content differs")
    wanted = _wanted(request, tag, size)
    if wanted is None:
        whole = (*headers, ("Content-Length", str(size)))
        return DialectResponse(200, whole, stream=engine.content(manifest, 0, size))
    first, last = wanted
    if first > last:
        return problem(416, f"the content has {size} bytes", ("Content-Range", f"bytes */{size}"), *headers[:2])
    part = (("Content-Range", f"bytes {first}-{last}/{size}"), ("Content-Length", str(last - first + 1)))
    return DialectResponse(206, (*headers, *part), stream=engine.content(manifest, first, last - first + 1))


def _precondition(headers: Mapping[str, str], tag: str) -> int | None:
    """The status of a request whose condition is not met (RFC 9110, section 13.2.2)."""
    if (match := headers.get("if-match")) is not None and match.strip() != "*" and tag not in _TAG.findall(match):
        return 412
    if (none := headers.get("if-none-match")) is not None:
        tags = [each.removeprefix("W/") for each in _TAG.findall(none)]
        return 304 if none.strip() == "*" or tag in tags else None
    return None


def _wanted(request: DialectRequest, tag: str, size: int) -> tuple[int, int] | None:
    """First and last byte; the first beyond the last if there is no such byte. None: the whole content."""
    found = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if found is None or request.method != "GET" or request.headers.get("if-range", tag).strip() != tag:
        return None
    first, last, suffix = (None if group is None else int(group) for group in found.groups())
    if suffix is not None:
        return (max(0, size - suffix), size - 1) if suffix else (size, size - 1)
    assert first is not None
    if last is not None and last < first:
        return None  # malformed: to be ignored
    return first, size - 1 if last is None else min(last, size - 1)


def _content_type(manifest: Manifest) -> str:
    """As the client stated it, if that is one; the type of encoded bytes is not that of their content."""
    stated = description.content_type(manifest).strip()
    is_encoded = manifest.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
    return stated if _TYPE.fullmatch(stated) and not is_encoded else UNKNOWN_TYPE


def disposition(filename: str) -> str:
    """`Content-Disposition` (RFC 6266) with a name that is safe as the name of a file.

    Without folders, control characters, and invisible ones, which can make `exe.jpg` of `gpj.exe`.
    """
    name = re.split(r"[/\\]", filename)[-1]
    name = "".join(each for each in name if unicodedata.category(each)[0] != "C").strip().lstrip(".")[:MAX_NAME]
    if not name:
        return "attachment"
    plain = re.sub(r'[^ -~]|["%;]', "_", name)
    extended = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{extended}'
