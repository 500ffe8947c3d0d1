"""A request to a control port ends in a response or in NoResponse, which names the request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from changeover.kit.http import NoResponse, ask, client, is_ok

URL = "http://127.0.0.1:9/readyz"


def served(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler))


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("connection refused", request=request)


def test_any_status_is_a_response() -> None:
    assert asyncio.run(ask(served(lambda _: httpx.Response(500)), "GET", URL)).status_code == 500


def test_a_missing_response_names_the_request_and_the_cause() -> None:
    with pytest.raises(NoResponse, match=r"^GET http://127\.0\.0\.1:9/readyz: connection refused$"):
        asyncio.run(ask(served(unreachable), "GET", URL))


@pytest.mark.parametrize(("status", "ok"), [(200, True), (204, False), (503, False)])
def test_only_200_is_ok(status: int, ok: bool) -> None:
    assert asyncio.run(is_ok(served(lambda _: httpx.Response(status)), URL)) is ok


def test_an_unreachable_server_is_not_ok() -> None:
    assert not asyncio.run(is_ok(served(unreachable), URL))


def test_the_client_follows_no_redirect() -> None:
    redirected = served(lambda _: httpx.Response(302, headers={"Location": "http://elsewhere.invalid/"}))
    assert asyncio.run(ask(redirected, "GET", URL)).status_code == 302


def test_the_client_uses_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    assert not client().trust_env
