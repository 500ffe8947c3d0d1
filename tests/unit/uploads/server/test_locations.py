"""`Location` in every dialect: below mounts with parameters, behind prefixes, and with or without a final slash."""

from __future__ import annotations

import logging
import warnings
from contextlib import AbstractAsyncContextManager
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

from changeover.uploads import CompletedUpload, FileStore, Response, Uploads

CREATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("", {}),
    "ietf": ("", {"Upload-Complete": "?0"}),
    "tus": ("", {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}),
    "parts": ("?parts", {}),
    "content-range": ("?uploadType=resumable", {}),
}
TUS = {"Tus-Resumable": "1.0.0"}
FORWARDED = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.com", "X-Forwarded-Prefix": "/api"}


async def on_complete(upload: CompletedUpload) -> Response:
    return Response(200, (), b"thanks")


def client(app: ASGIApp, peer: tuple[str, int] = ("10.0.0.7", 1)) -> AbstractAsyncContextManager[httpx.AsyncClient]:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=peer), base_url="http://inside")


def mounted(store: FileStore, path: str = "/files", **options: Any) -> Starlette:
    return Starlette(routes=[Uploads(store, on_complete, **options).mount(path)])


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("dialect", CREATIONS)
async def test_the_location_leads_to_the_upload(store: FileStore, dialect: str, slash: str) -> None:
    query, headers = CREATIONS[dialect]
    async with client(mounted(store, "/u/{name}/files")) as http:
        begun = await http.post(f"/u/ann%20lee/files{slash}{query}", headers=headers)
        assert begun.is_success
        place = urljoin(str(begun.request.url), begun.headers["location"])
        assert place.startswith("http://inside/u/ann%20lee/files/")
        assert " " not in begun.headers["location"]
        found = await http.head(place, headers=TUS)
        assert (found.status_code, "upload-offset" in found.headers) == (200, True)


@pytest.mark.parametrize("dialect", CREATIONS)
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"base_url": "https://example.com/api"}, "https://example.com/api/u/ann%20lee/files/"),
        ({"trusted_proxies": ["10.0.0.7"]}, "https://example.com/api/u/ann%20lee/files/"),
        ({"base_url": "https://example.com", "base_path": "/public"}, "https://example.com/public/"),
    ],
)
async def test_the_location_is_absolute_if_asked_for(
    store: FileStore, dialect: str, options: dict[str, Any], expected: str
) -> None:
    query, headers = CREATIONS[dialect]
    async with client(mounted(store, "/u/{name}/files", **options)) as http:
        begun = await http.post(f"/u/ann%20lee/files/{query}", headers={**FORWARDED, **headers})
        assert begun.headers["location"].startswith(expected)
        if dialect == "parts":
            assert begun.json()["url"] == begun.headers["location"]
        id = begun.headers["location"].removeprefix(expected)
        assert (await http.head(f"/u/ann%20lee/files/{id}", headers=TUS)).status_code == 200


async def test_a_stranger_cannot_direct_a_location_elsewhere(store: FileStore) -> None:
    app = mounted(store, trusted_proxies=["10.0.0.7"])
    async with client(app, ("192.0.2.1", 1)) as http:
        forged = {**FORWARDED, "Forwarded": "host=evil.example", "Upload-Complete": "?0"}
        begun = await http.post("/files", headers=forged)
        assert begun.headers["location"].startswith("/files/")


class Stripping:
    """Calls the application as a server does behind a proxy that strips `/api`."""

    def __init__(self, app: ASGIApp, *, in_path: bool, root_path: str = "/api") -> None:
        self._app, self._in_path, self._root_path = app, in_path, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._in_path:  # as uvicorn, and as ASGI asks for
            path = self._root_path.rstrip("/") + path
        await self._app({**scope, "path": path, "root_path": self._root_path}, receive, send)


class Within:
    """An application that calls the library for its paths below `/files`, without a router."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._uploads({**scope, "root_path": scope["root_path"].rstrip("/") + "/files/"}, receive, send)


def fastapi(uploads: Uploads) -> ASGIApp:
    with warnings.catch_warnings(action="ignore"):  # FastAPI deprecates it in favour of the server's option
        app = FastAPI(root_path="/api")
    app.router.routes.append(uploads.mount("/files"))
    return app


APPLICATIONS: dict[str, Any] = {
    "path with root_path": lambda it: Stripping(Starlette(routes=[it.mount("/files")]), in_path=True),
    "path without root_path": lambda it: Stripping(Starlette(routes=[it.mount("/files")]), in_path=False),
    "root_path with a slash": lambda it: Stripping(Within(it), in_path=True, root_path="/api/"),
    "root_path of FastAPI": fastapi,
    "a mount in a mount": lambda it: Stripping(
        Starlette(routes=[Mount("/", routes=[it.mount("/files")])]), in_path=True
    ),
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("application", APPLICATIONS)
async def test_a_root_path_is_part_of_the_location(store: FileStore, application: str, slash: str) -> None:
    uploads = Uploads(store, on_complete, base_url="https://example.com")
    async with client(APPLICATIONS[application](uploads)) as http:
        begun = await http.post(f"/files{slash}", headers={"Upload-Complete": "?0"})
        place = begun.headers["location"]
        assert place.startswith("https://example.com/api/files/")
        inside = place.removeprefix("https://example.com/api")
        append = {"Upload-Complete": "?1", "Upload-Offset": "0", "Content-Type": "application/partial-upload"}
        assert (await http.patch(inside, content=b"hello", headers=append)).text == "thanks"
        assert (await http.get(inside + "/content")).content == b"hello"


async def test_uploads_without_a_mount_are_at_the_root(store: FileStore) -> None:
    async with client(Uploads(store, on_complete)) as http:
        begun = await http.post("/", headers={"Upload-Complete": "?0"})
        assert (await http.head(begun.headers["location"])).status_code == 204


async def test_a_path_that_only_begins_like_the_mount_is_not_the_mount(store: FileStore) -> None:
    async with client(mounted(store)) as http:
        assert (await http.post("/filesystem", headers={"Upload-Complete": "?0"})).status_code == 404


@pytest.mark.parametrize("prefix", ["https://example.com/api/files/", "/api/files/", "/files/", ""])
async def test_a_concatenation_may_name_its_parts_as_a_client_behind_a_proxy_sees_them(
    store: FileStore, prefix: str
) -> None:
    async with client(mounted(store)) as http:
        create = {**TUS, "Upload-Length": "0", "Upload-Concat": "partial"}
        id = (await http.post("/files/", headers=create)).headers["location"].rpartition("/")[2]
        whole = await http.post("/files/", headers={**TUS, "Upload-Concat": f"final;{prefix}{id}"})
        assert whole.status_code == 201


async def test_a_server_that_hides_the_proxys_address_is_named(
    store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    app = mounted(store, trusted_proxies=["10.0.0.7"])
    with caplog.at_level(logging.WARNING):
        async with client(app, ("192.0.2.1", 0)) as http:  # as uvicorn does for a trusted proxy
            for _ in range(2):
                await http.post("/files", headers={**FORWARDED, "Upload-Complete": "?0"})
    assert caplog.text.count("--no-proxy-headers") == 1
