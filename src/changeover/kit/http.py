"""Requests to a control port: a short timeout, no redirects, no retries, no keep-alive.

The server could close a kept connection between two requests, and would count it as a client's connection.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from changeover.kit.direct_http import DirectClient, DirectResponse, NoResponse

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["TIMEOUT", "Client", "NoResponse", "ask", "ask_socket", "client", "not_ok", "public_tls", "wrong"]

Client: TypeAlias = "httpx.AsyncClient | DirectClient"
"""Of a controller, or of a process that must stay small."""
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


@overload
async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    timeout: float | None = None,
) -> httpx.Response: ...


@overload
async def ask(
    client: DirectClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    timeout: float | None = None,
) -> DirectResponse: ...


async def ask(
    client: Client,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    timeout: float | None = None,
) -> httpx.Response | DirectResponse:
    """The response, with any status. `timeout`: seconds; None: that of `client`. Raises NoResponse."""
    if isinstance(client, DirectClient):
        return await client.request(method, url, headers=headers, json=json, timeout=timeout)
    import httpx

    try:
        return await client.request(
            method, url, headers=headers, json=json, timeout=client.timeout if timeout is None else timeout
        )
    except httpx.HTTPError as error:
        raise NoResponse(f"{method} {url}: {str(error) or type(error).__name__}") from error


async def ask_socket(
    client: Client, folder: Path, name: str, method: str, path: str
) -> httpx.Response | DirectResponse:
    """The response of the server at the Unix socket `name` in `folder`, with any status. Raises NoResponse.

    The timeout is that of `client`.
    """
    # A socket's path may have 107 characters, a folder's may have more: go through an open descriptor.
    try:
        opened = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError as error:
        raise NoResponse(f"{method} {path} at {folder}/{name}: {error.strerror}") from error
    socket = f"/proc/self/fd/{opened}/{name}"
    try:
        if isinstance(client, DirectClient):
            return await client.request_socket(socket, f"{folder}/{name}", method, path)
        return await _ask_socket(client, socket, f"{folder}/{name}", method, path)
    finally:
        os.close(opened)


async def _ask_socket(client: httpx.AsyncClient, socket: str, called: str, method: str, path: str) -> httpx.Response:
    import httpx

    try:
        transport = httpx.AsyncHTTPTransport(verify=False, uds=socket)
        async with httpx.AsyncClient(transport=transport, timeout=client.timeout, trust_env=False) as there:
            return await there.request(method, f"http://localhost{path}")
    except httpx.HTTPError as error:
        raise NoResponse(f"{method} {path} at {called}: {str(error) or type(error).__name__}") from error


async def not_ok(
    client: Client,
    url: str,
    timeout: float | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    statuses: Collection[int] = (200,),
    body: str = "",
) -> str:
    """Why the answer to a GET within `timeout` seconds is not the one wanted, with the URL; empty where it is.

    `body`: a text that the first bytes of its body must contain (BODY_READ).
    """
    try:
        answer = await ask(client, "GET", url, headers=headers, timeout=timeout)
    except NoResponse as error:
        return str(error)
    return wrong(answer, url, statuses, body)


def wrong(answer: httpx.Response | DirectResponse, url: str, statuses: Collection[int], body: str) -> str:
    """Why the answer to a GET of that URL is not the one wanted; empty where it is."""
    wanted = " or ".join(map(str, statuses))
    if answer.status_code not in statuses:
        return f"GET {url} answered {answer.status_code}{_beginning(answer)}, and not {wanted}"
    if body.encode() not in answer.content[:BODY_READ]:
        return f"GET {url} answered {answer.status_code}{_beginning(answer)}, without the text of `health.body`"
    return ""


def _beginning(answer: httpx.Response | DirectResponse) -> str:
    """Its first words: a part of a word could be a part of a secret, which nothing would recognise any more."""
    words = answer.text[:_LOOKED_AT].split()
    if len(answer.text) > _LOOKED_AT:
        words = words[:-1]
    shown = textwrap.shorten(" ".join(words), _SHOWN, placeholder=" ...")
    return f" {shown!r}" if shown else ""


def at_socket(path: str) -> httpx.AsyncClient:
    """A client whose requests go to the server at that Unix socket, whatever their URL names. To be closed."""
    import httpx

    transport = httpx.AsyncHTTPTransport(verify=False, uds=path)
    return httpx.AsyncClient(transport=transport, timeout=TIMEOUT, trust_env=False)


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
