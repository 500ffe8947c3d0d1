"""The metrics of `receive`: at an address of their own, and only where the operator asks for it."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.process.received import PATIENCE, Client, serving

from changeover.uploads.server.metrics_server import MetricsServer


@asynccontextmanager
async def metrics() -> AsyncIterator[Client]:
    async with MetricsServer("127.0.0.1", 0) as served:
        client = Client(*await asyncio.open_connection(*served.address))
        try:
            yield client
        finally:
            client.hang_up()


def test_they_are_served_at_an_address_of_their_own(tmp_path: Path) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client, metrics() as prometheus:
            await client.ask("POST", "/files/", b"hello")
            got = await prometheus.ask("GET", "/metrics")
            assert (got.status, got.headers["content-type"].partition(";")[0]) == (200, "text/plain")
            assert b'changeover_uploads_events_total{dialect="plain",event="handled"}' in got.body
            assert (await prometheus.ask("HEAD", "/metrics")).status == 200

    asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/files/", 404), ("POST", "/metrics", 405)]
)
def test_that_address_serves_nothing_else(method: str, path: str, status: int) -> None:
    async def go() -> None:
        async with metrics() as prometheus:
            assert (await prometheus.ask(method, path)).status == status

    asyncio.run(go())


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/files/metrics", "/METRICS", "http://x/metrics", "//metrics"]
)
def test_clients_of_uploads_do_not_reach_them(tmp_path: Path, path: str) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            got = await client.ask("GET", path)
            assert (got.status, b"changeover_" in got.body) == (404, False)

    asyncio.run(go())


def test_the_command_serves_them_only_where_it_is_asked_to(tmp_path: Path) -> None:
    async def go() -> None:
        argv = [sys.executable, "-m", "changeover", "receive", "--port", "0", "--folder", str(tmp_path)]
        argv += ["--metrics", "127.0.0.1:0"]
        process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE):
                statuses = []
                for _ in range(2):
                    line = (await process.stderr.readline()).decode()
                    found = re.search(r"http://(\S+):(\d+)/", line)
                    assert found, line
                    client = Client(*await asyncio.open_connection(found[1], int(found[2])))
                    statuses.append((await client.ask("GET", "/metrics")).status)
                    client.hang_up()
                assert statuses == [404, 200]
                process.terminate()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    asyncio.run(go())
