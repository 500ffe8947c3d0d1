"""Fields that describe the body of an upload: through the relay they have the effect that they have directly."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from tests.process.relayed import application, relaying

from changeover.relay.config import RoutePattern
from changeover.uploads import CompletedUpload, FileStore, Response, Uploads

MB = 1_000_000
BODY = os.urandom(3 * MB)
ROUTE = RoutePattern(b"POST", b"/files")


async def on_complete(upload: CompletedUpload) -> Response:
    return Response(201, (), (await upload.digest()).encode())


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
        async with application(Starlette(routes=[files.mount("/files")])) as address:
            for routes in ((ROUTE,), ()):
                async with relaying(address, segmented=routes) as relayed, relayed.client() as client:
                    got = await client.post(body, "/files", chunk=chunk, **{name: value})
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
        app = Starlette(routes=[files.mount("/files")])
        async with (
            application(app) as address,
            relaying(address, segmented=(ROUTE,)) as relayed,
            relayed.client() as client,
        ):
            got = await client.post(BODY, "/files", **described, **others)
            assert got.status in (100, 201)
            if got.status == 100:
                assert (await client.got()).status == 201
        assert found == [{name.lower(): value for name, value in described.items()}]

    asyncio.run(go())


@pytest.mark.parametrize("right", [None, True, False])
@pytest.mark.parametrize("chunk", [0, 50_000])
def test_a_form_of_a_browser_reaches_the_handler_as_its_file(tmp_path: Path, chunk: int, right: bool | None) -> None:
    """The digest of a form is the one of its whole body, with the boundaries."""

    async def go() -> None:
        found: list[tuple[str, str, str]] = []

        async def keep(upload: CompletedUpload) -> Response:
            found.append((await upload.digest(), upload.metadata["filename"], upload.metadata["filetype"]))
            return Response(201)

        body = b"\r\n".join(
            [
                *(b"--b0undary", b'Content-Disposition: form-data; name="album"', b"", b"summer"),
                *(b"--b0undary", b'Content-Disposition: form-data; name="file"; filename="a.jpg"'),
                *(b"Content-Type: image/jpeg", b"", BODY, b"--b0undary--", b""),
            ]
        )
        fields: dict[str, Any] = {"Content-Type": "multipart/form-data; boundary=b0undary"}
        if right is not None:
            fields["Content-Digest"] = digest(body if right else b"other")
        files = Uploads(FileStore(tmp_path), keep, registry=CollectorRegistry())
        statuses = []
        async with application(Starlette(routes=[files.mount("/files")])) as address:
            for routes in ((ROUTE,), ()):
                async with relaying(address, segmented=routes) as relayed, relayed.client() as client:
                    statuses.append((await client.post(body, "/files", chunk=chunk, **fields)).status)
                    assert relayed.server.counters.segmented == len(routes)
        assert statuses == [400 if right is False else 201] * 2
        assert found == [(hashlib.sha256(BODY).hexdigest(), "a.jpg", "image/jpeg")] * (0 if right is False else 2)

    asyncio.run(go())
