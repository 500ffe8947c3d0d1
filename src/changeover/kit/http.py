"""What is wrong with an answer of a control port; and requests to servers that need TLS, with httpx.

Those are Kong's Admin API, Prometheus and agents: a short timeout, no redirects, no retries, and no keep-alive, as in
`kit.direct_http`.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from changeover.kit.direct_http import DirectClient, DirectResponse, NoResponse

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["TIMEOUT", "NoResponse", "ask", "client", "not_ok", "public_tls", "wrong"]

TIMEOUT = 2.0
"""Seconds until a control port without a response counts as unreachable."""


_LOOKED_AT, _SHOWN = 400, 120
"""Characters of an answer of which a message quotes as many as this."""
BODY_READ = 8192
"""Bytes of a body in which a check looks for a text: HAProxy and Envoy look into as many."""


def client(tls: ssl.SSLContext | None = None, timeout: float = TIMEOUT) -> httpx.AsyncClient:
    """Control ports speak plain HTTP: without `tls` no certificate is trusted."""
    import ssl

    import httpx  # half of what many commands import, and they ask nothing

    return httpx.AsyncClient(
        verify=tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # reading public certificates takes 40 ms
        timeout=timeout,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0, max_connections=200),
    )


def public_tls() -> ssl.SSLContext:
    """Trusts the public certificate authorities."""
    import httpx

    return httpx.create_ssl_context(trust_env=False)


async def ask(
    client: httpx.AsyncClient, method: str, url: str, *, headers: Mapping[str, str] | None = None, json: Any = None
) -> httpx.Response:
    """The response, with any status. Raises NoResponse."""
    import httpx

    try:
        return await client.request(method, url, headers=headers, json=json)
    except httpx.HTTPError as error:
        raise NoResponse(f"{method} {url}: {str(error) or type(error).__name__}") from error


async def not_ok(
    client: DirectClient,
    url: str,
    timeout: float | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    statuses: Collection[int] = (200,),
    body: str = "",
    socket: str = "",
) -> str:
    """Why the answer to a GET within `timeout` seconds is not the one wanted, with the URL; empty where it is.

    `body`: a text that the first bytes of its body must contain (BODY_READ).
    """
    try:
        answer = await client.request("GET", url, headers=headers, timeout=timeout, socket=socket)
    except NoResponse as error:
        return str(error)
    return wrong(answer, f"{urlsplit(url).path} at {socket}" if socket else url, statuses, body)


def wrong(answer: DirectResponse, url: str, statuses: Collection[int], body: str) -> str:
    """Why the answer to a GET of that URL is not the one wanted; empty where it is."""
    wanted = " or ".join(map(str, statuses))
    if answer.status_code not in statuses:
        return f"GET {url} answered {answer.status_code}{_beginning(answer)}, and not {wanted}"
    if body.encode() not in answer.content[:BODY_READ]:
        return f"GET {url} answered {answer.status_code}{_beginning(answer)}, without the text of `health.body`"
    return ""


def _beginning(answer: DirectResponse) -> str:
    """Its first words: a part of a word could be a part of a secret, which nothing would recognise any more."""
    words = answer.text[:_LOOKED_AT].split()
    if len(answer.text) > _LOOKED_AT:
        words = words[:-1]
    shown = textwrap.shorten(" ".join(words), _SHOWN, placeholder=" ...")
    return f" {shown!r}" if shown else ""


async def cannot_connect(host: str, port: int, timeout: float, *, socket: str = "") -> str:
    """Why no TCP connection is made within `timeout` seconds, with the address; empty where one is.

    `socket`: the path of a Unix socket, in place of the address.
    """
    import asyncio

    at = f"a connection to {socket}" if socket else f"a TCP connection to {host}:{port}"
    try:
        async with asyncio.timeout(timeout):
            opening = asyncio.open_unix_connection(socket) if socket else asyncio.open_connection(host, port)
            _, writer = await opening
    except OSError as error:  # TimeoutError is one, without a number
        return f"{at}: {os.strerror(error.errno) if error.errno else 'not accepted in time'}"
    writer.transport.abort()
    return ""
