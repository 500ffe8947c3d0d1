"""Uploads through the relay that are authorised once: at their creation."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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


def digest(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@pytest.mark.parametrize("name", ["Content-Digest", "Repr-Digest", "Content-MD5"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("chunk", [0, 100_000])
def test_a_digest_of_the_body_gives_the_same_status_through_the_relay(
    tmp_path: Path, name: str, right: bool, chunk: int
) -> None:
    async def go() -> None:
        body = BODY[:300_000]
        value = digest(body if right else b"other")
        if name == "Content-MD5":
            value = base64.b64encode(hashlib.md5(body if right else b"other").digest()).decode()
        files = Uploads(FileStore(tmp_path), on_complete, registry=CollectorRegistry())
        found = []
        async with application(Starlette(routes=[Mount("/files", files)])) as address:
            for routes in ((RoutePattern(b"POST", b"/files"),), ()):
                async with relaying(address, segmented=routes) as relayed, relayed.client() as client:
                    got = await client.post(body, "/files/", chunk=chunk, **{name: value})
                    assert relayed.server.counters.segmented == len(routes)
                    problem = got.problem if got.status >= 400 else {}
                    found.append((got.status, problem.get("type"), problem.get("provided-digest")))
        assert found[0] == found[1]
        assert found[0][0] == (201 if right or name == "Content-MD5" else 400)

    asyncio.run(go())


def test_the_fields_that_describe_the_content_reach_the_handler(tmp_path: Path) -> None:
    async def go() -> None:
        found: list[dict[str, str]] = []

        async def keep(upload: CompletedUpload) -> Response:
            found.append(dict(upload.headers))
            return Response(201)

        files = Uploads(FileStore(tmp_path), keep, registry=CollectorRegistry())
        described: dict[str, Any] = {
            "Content-Type": "image/jpeg",
            "Content-Language": "de",
            "Content-Encoding": "identity",
            "Content-Disposition": 'attachment; filename="a.jpg"',
        }
        others: dict[str, Any] = {"If-None-Match": "*", "Expect": "100-continue"}
        async with relayed_to(Starlette(routes=[Mount("/files", files)])) as relayed, relayed.client() as client:
            got = await client.post(BODY, "/files/", **described, **others)
            assert got.status in (100, 201)
            if got.status == 100:
                assert (await client.got()).status == 201
        assert found == [{name.lower(): value for name, value in described.items()}]

    asyncio.run(go())
