"""Uploads behind a real nginx and a real Envoy, configured as docs/behind_a_proxy.md says, with Google's own client."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import yaml
from google.resumable_media import requests as google
from tests.process.received import PATIENCE, Server, serving

from changeover.kit import sockets
from changeover.uploads.dialects.public_url import PublicUrl

PAGE = Path(__file__).parents[2] / "docs/behind_a_proxy.md"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
ENVOY = Path(sys.executable).with_name("envoy")
TRUSTED = PublicUrl("", "", ["127.0.0.1"])
CREATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "plain": ("", {}),
    "ietf": ("", {"Upload-Complete": "?0"}),
    "tus": ("", {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}),
    "parts": ("?parts", {}),
    "content-range": ("?uploadType=resumable", {}),
}
FORGED = {
    "Forwarded": "host=evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Port": "1",
}


def snippet(name: str, page: Path = PAGE) -> str:
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[str]:
    with (folder / "log").open("wb") as log:
        proxy = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_until_it_listens(proxy, port, folder)
        yield f"http://127.0.0.1:{port}"
    finally:
        proxy.terminate()
        proxy.wait(PATIENCE)


def _wait_until_it_listens(proxy: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert proxy.poll() is None, (folder / "log").read_text()
        with socket.socket() as probe:
            probe.settimeout(0.1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise TimeoutError((folder / "log").read_text())


@contextmanager
def nginx(folder: Path, inward: int) -> Iterator[str]:
    if NGINX is None:
        pytest.skip("there is no nginx")
    port = sockets.free_port("127.0.0.1")
    paths = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy"))
    locations = snippet("nginx").replace(":8000", f":{inward}")
    server = f"server {{ listen 127.0.0.1:{port}; {locations} }}"
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}} http {{ access_log off; {paths} {server} }}"
    )
    with running([NGINX, "-e", "stderr", "-c", str(configuration)], port, folder) as url:
        yield url


def _socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextmanager
def envoy(folder: Path, inward: int) -> Iterator[str]:
    if not ENVOY.exists():
        pytest.skip("there is no Envoy")
    port = sockets.free_port("127.0.0.1")
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "uploads",
        "use_remote_address": True,
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}],
        "route_config": yaml.safe_load(snippet("envoy")),
    }
    endpoint = {"endpoint": {"address": _socket(inward)}}
    cluster = {"name": "uploads", "type": "STATIC", "load_assignment": {"cluster_name": "uploads"}}
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": [endpoint]}]  # type: ignore[index]
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "in", "address": _socket(port), "filter_chains": [chain]}
    configuration = folder / "envoy.yaml"
    configuration.write_text(yaml.safe_dump({"static_resources": {"listeners": [listener], "clusters": [cluster]}}))
    command = [str(ENVOY), "-c", str(configuration), "--use-dynamic-base-id", "--concurrency", "1"]
    with running(command, port, folder) as url:
        yield url


PROXIES = {"nginx": nginx, "envoy": envoy}


def upload_as_google_does(url: str, body: bytes) -> tuple[requests.Response, list[str]]:
    """Returns the last response, and the URLs that the client used."""
    used: list[str] = []
    with requests.Session() as session:
        session.hooks["response"].append(lambda response, **_: used.append(response.request.url))
        upload: Any = google.ResumableUpload  # the client has no types
        upload = upload(f"{url}?uploadType=resumable", 256 * 1024)
        upload.initiate(session, io.BytesIO(body), {"name": "a.png"}, "image/png", total_bytes=len(body))
        while not upload.finished:
            response = upload.transmit_next_chunk(session)
    return response, used


async def _check(server: Server, url: str, prefix: str) -> None:
    async with httpx.AsyncClient() as client:
        for dialect, (query, headers) in CREATIONS.items():
            for slash in ("", "/"):
                begun = await client.post(f"{url}{prefix}/files{slash}{query}", headers={**FORGED, **headers})
                place = begun.headers["location"]
                assert place.startswith(f"{url}{prefix}/files/"), (dialect, place)
                found = await client.head(place, headers={"Tus-Resumable": "1.0.0"})
                assert found.status_code == 200, dialect
        body = os.urandom(1_000_000)
        last, used = await asyncio.to_thread(upload_as_google_does, f"{url}{prefix}/files", body)
        assert last.status_code == 200
        assert len(used) == 1 + 4
        assert (await client.get(used[-1] + "/content")).content == body
        assert server.finished[-1].content_type == "image/png"


@pytest.mark.parametrize("proxy", PROXIES)
def test_every_location_leads_through_the_proxy_with_and_without_a_prefix(tmp_path: Path, proxy: str) -> None:
    """Two processes and eight uploads: over half a second."""

    async def go() -> None:
        async with serving(tmp_path / "files", public_url=TRUSTED) as server:
            with PROXIES[proxy](tmp_path, server.receiver.address[1]) as url:
                for prefix in ("", "/api"):
                    await _check(server, url, prefix)

    asyncio.run(go())


def test_googles_client_uploads_to_a_receiver_with_a_base_url(tmp_path: Path) -> None:
    async def go() -> None:
        port = sockets.free_port("127.0.0.1")
        url = f"http://127.0.0.1:{port}"
        async with serving(tmp_path, public_url=PublicUrl(url), port=port) as server:
            body = os.urandom(600_000)
            last, used = await asyncio.to_thread(upload_as_google_does, f"{url}/files", body)
            assert (last.status_code, len(used)) == (200, 4)
            assert server.finished[0].size == len(body)

    asyncio.run(go())


@pytest.mark.parametrize("proxy", PROXIES)
def test_metadata_at_the_limit_passes_the_proxy(tmp_path: Path, proxy: str) -> None:
    async def go() -> None:
        async with serving(tmp_path / "files", public_url=TRUSTED) as server:
            with PROXIES[proxy](tmp_path, server.receiver.address[1]) as url:
                async with httpx.AsyncClient(headers={"Tus-Resumable": "1.0.0"}) as client:
                    headers = {"Upload-Length": "5", "Upload-Metadata": "name " + "eHh4" * 766}
                    begun = await client.post(f"{url}/files", headers=headers)
                    assert begun.status_code == 201
                    head = await client.head(begun.headers["location"])
                    assert head.headers["upload-metadata"] == headers["Upload-Metadata"]
                    headers["Upload-Metadata"] += "eHh4" * 2
                    assert (await client.post(f"{url}/files", headers=headers)).status_code == 413

    asyncio.run(go())
