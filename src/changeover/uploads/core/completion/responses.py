"""What a handler may respond: examined before it is stored, because it is replayed for as long as the upload is kept.

Refuses whatever a server could not send: other types, characters that end a field, a status or a size out of bounds.
"""

from __future__ import annotations

import json
import re
from http.client import responses
from typing import Any

from changeover.uploads.core.errors import Forbidden, Rejected
from changeover.uploads.core.manifest import Response

MAX_HEADERS = 8 * 1024
"""Bytes of all fields together: proxies refuse a response whose head exceeds a buffer (nginx: 4 or 8 KiB)."""
MAX_BODY = 1024 * 1024
"""Bytes. The body is stored in the upload's record, which is read as a whole."""
WITHOUT_BODY = frozenset({204, 205, 304})
"""RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5."""
OF_THE_CONNECTION = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
"""Fields of one hop (RFC 9110, section 7.6.1), which only the server may send."""
OF_THE_DIALECT = frozenset({"upload-complete", "upload-incomplete", "upload-offset", "upload-limit", "tus-resumable"})
"""Fields that tell a client what the library has: a second value would contradict it."""
TRANSIENT = frozenset({408, 423, 425, 429})
"""Statuses by which an exception asks for a later attempt."""

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class UnusableResponse(ValueError):
    """A handler's result that cannot be stored and replayed. The text says what is wrong with it."""


def usable(result: object) -> Response:
    """The handler's response, if every server can send it and a record can hold it. Raises UnusableResponse."""
    response = sendable(result)
    if len(response.body) > MAX_BODY:
        raise UnusableResponse(f"the body has {len(response.body)} bytes; at most {MAX_BODY} are stored")
    if (length := sum(len(name) + len(value) + 4 for name, value in response.headers)) > MAX_HEADERS:
        raise UnusableResponse(f"the headers have {length} bytes; at most {MAX_HEADERS} are stored")
    if reserved := [name for name, _ in response.headers if name.lower() in OF_THE_CONNECTION | OF_THE_DIALECT]:
        raise UnusableResponse(f"{reserved[0]} is sent by the library or the server, and not by a handler")
    return response


def sendable(result: object) -> Response:
    """The same without the bounds that older releases did not have. Raises UnusableResponse."""
    if not isinstance(result, Response):
        kind = f"{type(result).__module__}.{type(result).__qualname__}".removeprefix("builtins.")
        raise UnusableResponse(f"it returned {kind}; a handler returns changeover.uploads.Response")
    status, body = result.status, result.body
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        raise UnusableResponse(f"the status must be a whole number from 200 to 599, not {status!r:.80}")
    if not isinstance(body, bytes):
        raise UnusableResponse(f"the body must be bytes, not {type(body).__qualname__}")
    if body and status in WITHOUT_BODY:
        raise UnusableResponse(f"a response with status {status} has no body, but this one has {len(body)} bytes")
    if not isinstance(result.headers, tuple | list):
        raise UnusableResponse(f"the headers must be a tuple of pairs, not {type(result.headers).__qualname__}")
    headers = tuple(_sendable_header(each) for each in result.headers)
    if {value for name, value in headers if name.lower() == "content-length"} - {str(len(body))}:
        raise UnusableResponse(f"Content-Length does not agree with the body, which has {len(body)} bytes")
    return Response(int(status), tuple(each for each in headers if each[0].lower() != "content-length"), body)


def _sendable_header(pair: object) -> tuple[str, str]:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(each, str) for each in pair)):
        raise UnusableResponse(f"a header must be a name and a value, both text, not {pair!r:.80}")
    name, value = pair[0], pair[1].strip(" \t")
    if not _TOKEN.fullmatch(name):
        raise UnusableResponse(f"{name!r:.80} is not the name of a header")
    if not _VALUE.fullmatch(value):
        raise UnusableResponse(f"the value of {name} has characters that cannot be sent: {value!r:.80}")
    return name, value


def of_refusal(error: Exception) -> Response | None:
    """The final response by which a handler refuses an upload; None for any other exception.

    A refusal is Forbidden, Rejected, or an exception with `status_code` and `detail` as those of Starlette and FastAPI,
    with a status from 400 to 499 that is not TRANSIENT. Raises UnusableResponse.
    """
    status, detail, headers = _refusal(error)
    if not isinstance(status, int) or status // 100 != 4 or status in TRANSIENT:
        return None
    content = {"title": responses.get(status, ""), "status": int(status), "detail": detail}
    try:
        body = json.dumps(content).encode()
    except (TypeError, ValueError) as unusable:
        raise UnusableResponse(f"the detail of {type(error).__qualname__} is not JSON: {unusable}") from error
    return usable(Response(status, (("Content-Type", "application/problem+json"), *headers), body))


def _refusal(error: Exception) -> tuple[Any, Any, tuple[Any, ...]]:
    match error:
        case Rejected():
            return error.status, str(error), ()
        case Forbidden():
            return 403, str(error), ()
    if not (hasattr(error, "status_code") and hasattr(error, "detail")):
        return None, None, ()
    headers = getattr(error, "headers", None) or {}
    return error.status_code, error.detail, tuple(dict(headers).items())
