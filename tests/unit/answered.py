"""A client of control ports whose answers a test gives: a mock transport, for the client of hops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from changeover.kit.direct_http import DirectClient, DirectResponse, NoResponse


def silent(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("", request=request)


@dataclass(frozen=True, kw_only=True)
class Answered(DirectClient):
    """`answer` gets what would be sent. An httpx.HTTPError that it raises is a missing response."""

    answer: Callable[[httpx.Request], httpx.Response] = silent

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Any = None,
        json: Any = None,
        timeout: float | None = None,
        socket: str = "",
    ) -> DirectResponse:
        try:
            given = self.answer(httpx.Request(method, url, headers=headers, json=json))
        except httpx.HTTPError as error:
            raise NoResponse(f"{method} {url}: {str(error) or type(error).__name__}") from error
        return DirectResponse(given.status_code, dict(given.headers), given.content)
