"""One question to a control port: a short deadline, no redirects, no retries, no kept connections.

A connection that is kept could be closed by the other side between two questions, and would count as somebody's.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

TIMEOUT = 2.0
"""Seconds until a control port that does not answer counts as silent."""


class NoResponse(Exception):
    """The other side did not answer in time or not in HTTP; the text says what happened instead."""


def client(verify: ssl.SSLContext | bool = True) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=verify,
        timeout=TIMEOUT,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0, max_connections=200),
    )


async def ask(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
) -> httpx.Response:
    """The answer, whatever its status. Raises NoResponse."""
    try:
        return await client.request(method, url, headers=headers, json=json)
    except httpx.HTTPError as error:
        raise NoResponse(f"{method} {url}: {str(error) or type(error).__name__}") from error


async def is_ok(client: httpx.AsyncClient, url: str) -> bool:
    """Whether the other side answers 200 there. No answer is no."""
    try:
        return (await ask(client, "GET", url)).status_code == 200
    except NoResponse:
        return False
