"""The rules that every request of `changeover serve` must meet, before any route sees it.

- Host is an IP address, localhost, or a name of the site. A page of another name that resolves to this address (DNS
  rebinding) is so refused, on every address that the server listens on.
- Every method but GET and HEAD needs the site's token in `Authorization: Bearer`, which no browser sends by itself,
  and an Origin, where there is one, that is the site's own. A site without a token refuses all of them.
- A body has at most BODY_LIMIT bytes and BODY_TIME seconds to arrive. Routes get it whole.

Every refusal is logged, in one line that no request can break. Every response forbids scripts of other origins,
framing, and caching.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from changeover.web.site import Site

BODY_LIMIT = 64 * 1024
"""Bytes of a request's body. An action is a few words of JSON."""
BODY_TIME = 10.0
"""Seconds that a client has to send its body."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Set on every response, unless its route sets another one. `Cache-Control: no-store` too."""

_HEADERS = [
    (name.lower().encode(), value.encode()) for name, value in (*HEADERS.items(), ("Cache-Control", "no-store"))
]
_SAFE = frozenset({"GET", "HEAD"})
_LOG = logging.getLogger(__name__)


class Access:
    """ASGI middleware. Passes a request on, or answers it with 400, 401, 403, 408, 413 or 421."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in _HEADERS if one[0] not in own)]
            await send(message)

        if refusal := self._refusal(scope["method"], headers):
            await _refuse(scope, receive, guarded, *refusal)
            return
        if not headers.get("content-length") and "transfer-encoding" not in headers:
            await self._app(scope, receive, guarded)
            return
        try:
            async with asyncio.timeout(BODY_TIME):
                body = await _body(headers, receive)
        except TimeoutError:
            await _refuse(scope, receive, guarded, 408, f"the body did not arrive within {BODY_TIME:g} s")
            return
        except _TooLong:
            await _refuse(scope, receive, guarded, 413, f"a body has at most {BODY_LIMIT} bytes")
            return
        if body is not None:
            await self._app(scope, _after(body, receive), guarded)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1:
            return 400, "a request names one Host"
        if not is_own_host(hosts[0], self._site.hosts):
            return 421, "this server has no such Host; `changeover serve --host NAME` adds a name"
        if method in _SAFE:
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != hosts[0].lower():
            return 403, "the request comes from a page of another origin"
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return 403, "the request comes from a page of another site"
        if self._site.token is None:
            return 403, "this server is read-only; with `changeover serve --token-file FILE` it accepts actions"
        given = [value.partition(" ") for value in headers.getlist("authorization")]
        if len(given) != 1 or given[0][0].lower() != "bearer":
            return 401, "an action needs `Authorization: Bearer TOKEN`"
        if not hmac.compare_digest(given[0][2].strip().encode(), self._site.token.encode()):
            return 401, "the token is wrong"
        return None


def is_own_host(host: str, names: Iterable[str]) -> bool:
    """Whether a Host field names this server, with any port: by IP address, as localhost, or by one of `names`."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if urlsplit(f"//{host}").netloc != host or "@" in host:
            return False
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class _TooLong(Exception):
    pass


async def _body(headers: Headers, receive: Receive) -> bytes | None:
    """The whole body; None where the client left before its end."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        raise _TooLong
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise _TooLong
        if not message.get("more_body", False):
            return bytes(body)


def _after(body: bytes, receive: Receive) -> Receive:
    """`receive` of a request whose body was read."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    client = (scope.get("client") or ("?", 0))[0]
    _LOG.warning("refused %r %r from %s: %d, %s", scope["method"], scope["path"][:200], client, status, reason)
    extra = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    response = PlainTextResponse(f"{reason}\n", status, {"Connection": "close", **extra})
    await response(scope, receive, send)
