"""One POST to a webhook, without a trace of its address in any log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

_HEADERS = {"Content-Type": "application/json", "User-Agent": "changeover", "Accept-Encoding": "identity"}
_POSTING: ContextVar[bool] = ContextVar("_POSTING", default=False)


@asynccontextmanager
async def post(url: str, content: bytes) -> AsyncIterator[httpx.Response]:
    """The response to a POST, its body not read yet. The caller sets the timeout."""
    import httpx  # 7 MB and a third of a command's start, and most chains post nothing

    with _unlogged():
        async with (
            httpx.AsyncClient(timeout=None, follow_redirects=False) as client,
            client.stream("POST", url, content=content, headers=_HEADERS) as response,
        ):
            yield response


@contextmanager
def _unlogged() -> Iterator[None]:
    """httpx logs every address that it requests, the token included. Keep those of the block out of the log."""

    def is_another(_: logging.LogRecord) -> bool:
        return not _POSTING.get()

    log, token = logging.getLogger("httpx"), _POSTING.set(True)
    log.addFilter(is_another)
    try:
        yield
    finally:
        log.removeFilter(is_another)
        _POSTING.reset(token)
