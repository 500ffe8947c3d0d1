"""Upload clients that people use, each with the options a careful user gives it: a file goes in, a URL comes out.

tus-js-client and curl run as processes of their own, by the scripts in tests/clients, which are those of
docs/clients.md.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import aiotus
import httpx
from tests.chain.chains import CLIENT, REPOSITORY, trust, until
from tusclient.client import TusClient

CHUNK = 1 << 20
PIECE = 64 << 10

Upload = Callable[[str, str, Path], str]
"""Endpoint, file of the authority to trust, file to send; its URL."""


def by_tuspy(endpoint: str, ca_file: str, file: Path) -> str:
    """Trusts whom REQUESTS_CA_BUNDLE names: it has no option for that."""
    with file.open("rb") as content:
        uploader = TusClient(endpoint).uploader(file_stream=content, chunk_size=CHUNK, retries=100, retry_delay=0.5)
        uploader.upload()
    return str(uploader.url)


def by_aiotus(endpoint: str, ca_file: str, file: Path) -> str:
    config = aiotus.RetryConfiguration(retry_attempts=100, max_retry_period_seconds=0.5, ssl=trust(ca_file))
    with file.open("rb") as content:
        url = asyncio.run(aiotus.upload(endpoint, content, {}, config=config, chunksize=CHUNK))
    assert url is not None
    return str(url)


def by_ietf(endpoint: str, ca_file: str, file: Path) -> str:
    """What a browser or a phone will do: create the upload, send all of it, and ask how far it is when that broke."""
    size = file.stat().st_size
    with httpx.Client(verify=trust(ca_file), **CLIENT) as client, file.open("rb") as content:
        created = client.post(endpoint, headers={"Upload-Complete": "?0"})
        place = created.url.join(created.headers["location"])

        def offset() -> str | None:
            try:
                answer = client.head(place)
            except httpx.HTTPError:
                return None
            return str(answer.headers["upload-offset"]) if answer.status_code == 204 else None

        def rest() -> Iterator[bytes]:
            while piece := content.read(PIECE):
                yield piece

        while True:
            content.seek(int(start := until(offset, "the offset")))
            headers = {
                "Upload-Offset": start,
                "Upload-Complete": "?1",
                "Content-Type": "application/partial-upload",
                "Content-Length": str(size - int(start)),
            }
            try:
                if client.patch(place, content=rest(), headers=headers).status_code == 201:
                    return str(place)
            except httpx.HTTPError:
                continue


def by_script(*words: str) -> Upload:
    """A script of tests/clients with these words after endpoint and file."""

    def upload(endpoint: str, ca_file: str, file: Path) -> str:
        script, *more = words
        trusting = {"NODE_EXTRA_CA_CERTS": ca_file, "CURL_CA_BUNDLE": ca_file}
        command = [*(["node"] if script.endswith(".mjs") else []), str(REPOSITORY / "tests/clients" / script)]
        done = subprocess.run(
            [*command, endpoint, str(file), *more],
            env={**os.environ, **trusting},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done
        return done.stdout.strip()

    return upload


RETRIES = ("0", *["500"] * 100)

CLIENTS: dict[str, Upload] = {
    "tuspy": by_tuspy,
    "aiotus": by_aiotus,
    "httpx, ietf": by_ietf,
    "tus-js-client, tus-v1": by_script("upload.mjs", "tus-v1", str(CHUNK), *RETRIES),
    "tus-js-client, ietf-draft-05": by_script("upload.mjs", "ietf-draft-05", "Infinity", *RETRIES),
    "tus-js-client, ietf-draft-03": by_script("upload.mjs", "ietf-draft-03", str(CHUNK), *RETRIES),
    "curl, PUT": by_script("put.sh"),
    "curl, PATCH": by_script("patch.sh"),
}
