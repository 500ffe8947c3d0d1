"""Uploads by clients that people use, through all four tiers, while who takes them is replaced and killed.

Each must arrive whole, and the application must have been asked about it once.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator

import aiotus
import httpx
import pytest
from tests.chain.chains import PATIENCE, Chain, Said, kill, trust, until
from tusclient.client import TusClient

SIZE = 8 << 20
CHUNK = 1 << 20


class Paced(io.BytesIO):
    """A file that hands out as much as it is allowed to, and makes its reader wait for the rest."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._allowed = 0
        self._more = threading.Condition()

    def allow(self, upto: int) -> None:
        with self._more:
            self._allowed = upto
            self._more.notify_all()

    def read(self, size: int | None = -1, /) -> bytes:
        end = SIZE if size is None or size < 0 else min(SIZE, self.tell() + size)
        with self._more:
            assert self._more.wait_for(lambda: self._allowed >= end, PATIENCE)
        return super().read(size)


def by_tuspy(chain: Chain, file: Paced) -> str:
    client = TusClient(f"{chain.edge_url}/files/")
    uploader = client.uploader(file_stream=file, chunk_size=CHUNK, retries=100, retry_delay=0.1)
    uploader.upload()
    return str(uploader.url)


def by_aiotus(chain: Chain, file: Paced) -> str:
    config = aiotus.RetryConfiguration(retry_attempts=100, max_retry_period_seconds=0.5, ssl=trust(chain.ca_file))
    url = asyncio.run(aiotus.upload(f"{chain.edge_url}/files/", file, {}, config=config, chunksize=CHUNK))
    assert url is not None
    return str(url)


def by_ietf(chain: Chain, file: Paced) -> str:
    """What a browser or a phone will do: create the upload, send all of it, and ask how far it is when that broke."""
    with chain.client() as client:
        place = client.post("/files/", headers={"Upload-Complete": "?0"}).headers["location"]

        def offset() -> str | None:
            try:
                answer = client.head(place)
            except httpx.HTTPError:
                return None
            return str(answer.headers["upload-offset"]) if answer.status_code == 204 else None

        def rest() -> Iterator[bytes]:
            while piece := file.read(CHUNK):
                yield piece

        while True:
            file.seek(int(start := until(offset, "the offset")))
            headers = {
                "Upload-Offset": start,
                "Upload-Complete": "?1",
                "Content-Type": "application/partial-upload",
                "Content-Length": str(SIZE - int(start)),
            }
            try:
                if client.patch(place, content=rest(), headers=headers).status_code == 201:
                    return f"{chain.edge_url}{place}"
            except httpx.HTTPError:
                continue


@pytest.mark.parametrize("by", [by_tuspy, by_aiotus, by_ietf])
def test_an_upload_arrives_whole_though_every_instance_is_replaced_and_then_killed(
    rolled: Chain, by: Callable[[Chain, Paced], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", rolled.ca_file)
    data = os.urandom(SIZE)
    file, places, killed = Paced(data), list[str](), list[int]()
    client = threading.Thread(target=lambda: places.append(by(rolled, file)))
    client.start()
    try:
        file.allow(2 * CHUNK)
        until(lambda: file.tell() == 2 * CHUNK, "the first part to be sent")
        roll = rolled.start("roll", "runtime", "--to", rolled.other("runtime"), "--json")
        roll.says(" draining ")
        file.allow(4 * CHUNK)
        until(lambda: file.tell() == 4 * CHUNK, "half of it to be sent")
        if by is by_ietf:  # one request, which the drain waits for
            killed = killed_holder(rolled)
        else:
            roll.end(0)
            killed = [instance["pid"] for instance in rolled.instances("runtime", phase="admitted")]
            for pid in killed:
                kill(pid)
        assert killed
        file.allow(SIZE)
        if by is by_ietf:
            roll.end(0)
    finally:
        file.allow(SIZE)
        client.join(PATIENCE)
    (place,) = places
    rolled.until(lambda told: whole(told, killed), "new instances in the place of those that were killed")
    with rolled.client() as asking:
        assert asking.get(f"{place}/content").content == data
        headers = {
            "Upload-Offset": str(SIZE),
            "Upload-Complete": "?1",
            "Content-Type": "application/partial-upload",
        }
        told = asking.patch(place, headers=headers).json()
    assert (told["bytes"], told["sha256"]) == (SIZE, hashlib.sha256(data).hexdigest())
    assert told["attempt"] == 1


def whole(told: Said, killed: list[int]) -> bool:
    """Whether the tier is complete again, in the eyes of every router."""
    runtime = [instance for instance in told["instances"] if instance["tier"] == "runtime"]
    return len(runtime) == 2 and all(i["phase"] == "admitted" and i["pid"] not in killed for i in runtime)


def killed_holder(chain: Chain) -> list[int]:
    """Kill whoever has the upload."""

    def holder() -> Said | None:
        return next((i for i in chain.instances("runtime") if (i["in_flight"] or {"uploads": ()})["uploads"]), None)

    pid = until(holder, "the upload at an instance")["pid"]
    kill(pid)
    return [pid]
