"""The application of the lab, for ASGI and WSGI servers. It imports the standard library alone, and so starts at once.

`GET /NAME/SECONDS` begins to answer at once and ends so many seconds later; a POST is read, then answered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

_FIRST = 1
"""Bytes of a GET's response that are sent at once."""


async def app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """ASGI."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    size, more = 0, scope["method"] == "POST"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    text, wait = _answer(scope["path"], size)
    begun = _FIRST if scope["method"] == "GET" else 0
    if not begun:
        await asyncio.sleep(wait)
    length = (b"content-length", str(len(text)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    if begun:
        await send({"type": "http.response.body", "body": text[:begun], "more_body": True})
        await asyncio.sleep(wait)
    await send({"type": "http.response.body", "body": text[begun:]})


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterator[bytes]:
    """WSGI."""
    size = 0
    if environ["REQUEST_METHOD"] == "POST":
        while piece := environ["wsgi.input"].read(4096):
            size += len(piece)
    text, wait = _answer(environ["PATH_INFO"], size)
    begun = _FIRST if environ["REQUEST_METHOD"] == "GET" else 0
    if not begun:
        time.sleep(wait)
    start_response("200 OK", [("Content-Length", str(len(text)))])
    if begun:
        yield text[:begun]
        time.sleep(wait)
    yield text[begun:]


def _answer(path: str, size: int) -> tuple[bytes, float]:
    _, name, wait = path.split("/")
    return f"{name} {size}".encode(), float(wait)
