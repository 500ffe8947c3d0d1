"""Asks an ASGI application without a server. Starlette's own client needs a package that nothing else here does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
from starlette.types import ASGIApp

HERE = "http://127.0.0.1:9180"
"""Where the applications seem to be: a Host that `web.access` takes for its own."""


def ask(app: ASGIApp, method: str, path: str, headers: Any = None, body: bytes | list[bytes] = b"") -> httpx.Response:
    """One request. A body in parts has no Content-Length."""

    async def parts() -> AsyncIterator[bytes]:
        for part in body:
            assert isinstance(part, bytes)
            yield part

    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
            content = body if isinstance(body, bytes) else parts()
            return await client.request(method, path, headers=headers, content=content)

    return asyncio.run(once())
