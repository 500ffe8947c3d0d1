"""A request to a control port ends in a response or in NoResponse, which names the request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpx
import pytest
import trustme
from tests.unit.answered import Answered

from changeover.kit.http import NoResponse, ask, client, not_ok, public_tls

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
    assert (asyncio.run(not_ok(Answered(answer=lambda _: httpx.Response(status)), URL)) == "") is ok


def test_an_unreachable_server_is_not_ok() -> None:
    assert asyncio.run(not_ok(Answered(answer=unreachable), URL)) == f"GET {URL}: connection refused"


def test_the_client_follows_no_redirect() -> None:
    redirected = served(lambda _: httpx.Response(302, headers={"Location": "http://elsewhere.invalid/"}))
    assert asyncio.run(ask(redirected, "GET", URL)).status_code == 302


def test_the_client_uses_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:1")
    assert not client().trust_env


def asked_over_tls(*, trusting: bool) -> int:
    """The status that a server with a certificate of its own authority gives a client."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusted = public_tls()
    authority.configure_trust(trusted)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def go() -> int:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        async with server, client(trusted if trusting else None) as asking:
            port = server.sockets[0].getsockname()[1]
            return (await ask(asking, "GET", f"https://127.0.0.1:{port}/")).status_code

    return asyncio.run(go())


def test_a_client_of_control_ports_trusts_no_certificate_and_another_those_that_it_is_given() -> None:
    assert asked_over_tls(trusting=True) == 204
    with pytest.raises(NoResponse, match="CERTIFICATE_VERIFY_FAILED"):
        asked_over_tls(trusting=False)


def test_public_certificates_are_trusted_for_a_server_outside_of_the_chain() -> None:
    assert public_tls().cert_store_stats()["x509_ca"] > 50
