"""Uploads through the relay that are authorised once: at their creation."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.responses import Response as StarletteResponse
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.process.relayed import Got, Relayed, application, relaying

from changeover.relay.config import RoutePattern
from changeover.uploads import CompletedUpload, FileStore, Forbidden, Response, Uploads

MB = 1_000_000
BODY = os.urandom(3 * MB)


async def on_complete(upload: CompletedUpload) -> Response:
    return Response(201, (), f"{upload.owner} {upload.method} {await upload.digest()}".encode())


class Tokens:
    """Credentials that are good for their first use only."""

    def __init__(self) -> None:
        self.used: list[str] = []
        self.seen: list[tuple[str, str, str | None]] = []
        """Method, path and credentials of every request."""

    def owner(self, scope: Scope) -> str:
        token = dict(scope["headers"]).get(b"authorization", b"").decode()
        if token in ("", *self.used):
            raise Forbidden("this token is used up")
        self.used.append(token)
        return "ann"


def watched(app: ASGIApp, tokens: Tokens) -> ASGIApp:
    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        token = dict(scope["headers"]).get(b"authorization")
        tokens.seen.append((scope["method"], scope["path"], None if token is None else token.decode()))
        await app(scope, receive, send)

    return watching


@asynccontextmanager
async def relayed_to(app: ASGIApp) -> AsyncIterator[Relayed]:
    routes = RoutePattern(b"POST", b"/files"), RoutePattern(b"PUT", b"/files")
    async with application(app) as address, relaying(address, segmented=routes, patience=2.0) as relayed:
        yield relayed


async def sent(relayed: Relayed, token: str = "Bearer once", method: str = "POST") -> Got:
    async with relayed.client() as client:
        await client.begin(method, "/files/", content_length=len(BODY), authorization=token)
        await client.send(BODY)
        return await client.got()


def expected(method: str = "POST") -> bytes:
    return f"ann {method} {hashlib.sha256(BODY).hexdigest()}".encode()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_token_for_one_use_suffices_for_a_whole_upload(tmp_path: Path, method: str) -> None:
    async def go() -> None:
        tokens = Tokens()
        files = Uploads(FileStore(tmp_path), on_complete, authorise=tokens.owner, registry=CollectorRegistry())
        app = watched(Starlette(routes=[Mount("/files", files)]), tokens)
        async with relayed_to(app) as relayed:
            got = await sent(relayed, method=method)
            assert (got.status, got.body) == (201, expected(method))
            assert relayed.server.counters.segments >= 1
            assert [token for _, _, token in tokens.seen][1:] == [None] * (len(tokens.seen) - 1)
            assert not {name for name in got.headers if name.startswith("upload-")}

    asyncio.run(go())


def test_a_request_repeated_with_its_key_gets_the_first_response(tmp_path: Path) -> None:
    async def go() -> None:
        calls: list[str] = []

        async def count(upload: CompletedUpload) -> Response:
            calls.append(upload.id)
            return Response(201, (), upload.id.encode())

        files = Uploads(FileStore(tmp_path), count, registry=CollectorRegistry())
        async with relayed_to(Starlette(routes=[Mount("/files", files)])) as relayed:
            got = []
            for _ in range(2):
                async with relayed.client() as client:
                    await client.begin("POST", "/files/", content_length=len(BODY), idempotency_key='"k"')
                    await client.send(BODY)
                    got.append(await client.got())
            assert [each.status for each in got] == [201, 201]
            assert [each.body.decode() for each in got] == calls * 2
            assert not {name for name in got[1].headers if name.startswith("upload-")}

    asyncio.run(go())


Next = Callable[[Request], Awaitable[StarletteResponse]]


@pytest.mark.parametrize("knows", [True, False])
def test_a_middleware_in_front_of_the_library_asks_it_who_is_authorised(tmp_path: Path, knows: bool) -> None:
    """The middleware that does not ask refuses the segments: its response reaches the client."""

    async def go() -> None:
        tokens = Tokens()
        files = Uploads(FileStore(tmp_path), on_complete, authorise=lambda _: "ann", registry=CollectorRegistry())

        async def check(request: Request, call_next: Next) -> StarletteResponse:
            if knows and await files.is_authorised(request.scope, "/files"):
                return await call_next(request)
            try:
                tokens.owner(request.scope)
            except Forbidden as error:
                return PlainTextResponse(str(error), 401)
            return await call_next(request)

        app = Starlette(routes=[Mount("/files", files)])
        app.add_middleware(BaseHTTPMiddleware, dispatch=check)
        async with relayed_to(app) as relayed:
            got = await sent(relayed)
            assert (got.status, got.body) == ((201, expected()) if knows else (502, got.body))
            if not knows:
                assert "neither the upload's capability nor the credentials: 401" in got.problem["detail"]

    asyncio.run(go())


def test_a_middleware_that_knows_no_capability_gets_the_credentials(tmp_path: Path) -> None:
    """So a token that stays valid works as it does without a capability."""

    async def go() -> None:
        files = Uploads(FileStore(tmp_path), on_complete, authorise=lambda _: "ann", registry=CollectorRegistry())

        async def check(request: Request, call_next: Next) -> StarletteResponse:
            valid = request.headers.get("authorization") == "Bearer always"
            return await call_next(request) if valid else PlainTextResponse("no", 401)

        app = Starlette(routes=[Mount("/files", files)])
        app.add_middleware(BaseHTTPMiddleware, dispatch=check)
        async with relayed_to(app) as relayed:
            got = await sent(relayed, "Bearer always")
            assert (got.status, got.body) == (201, expected())

    asyncio.run(go())
