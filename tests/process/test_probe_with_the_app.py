"""The prober against the real application: two instances over one folder, behind a balancer of a few lines."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.process.probing import Ran, rows, run_probe

PROGRAM = """
import sys
from pathlib import Path
from changeover.example_app.config import AppConfig
from changeover.example_app.server import run
instance, version, shared = sys.argv[1:]
run(AppConfig("127.0.0.1", 0, instance, version, Path(shared), Path(shared, "lame-duck")))
"""


@contextlib.contextmanager
def running(instance: str, version: str, shared: Path) -> Iterator[int]:
    """One instance; yields its port."""
    argv = [sys.executable, "-c", PROGRAM, instance, version, str(shared)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            started = process.stderr.readline()
            match = re.search(r":(\d+)$", started)
            assert match, started
            yield int(match[1])
        finally:
            process.terminate()
            process.wait(timeout=40)


@contextlib.asynccontextmanager
async def balanced(ports: list[int]) -> AsyncIterator[str]:
    """A TCP balancer; yields its URL. Two ports in the order of Thue and Morse: whoever takes every second, fourth or
    eighth connection, because others take those between, gets both."""
    turns = (ports[number.bit_count() % 2] for number in count())

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", next(turns))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[int]]:
    shared = tmp_path / "shared"
    shared.mkdir()
    with running("a1", "v1", shared) as first, running("a2", "v2", shared) as second:
        yield [first, second]


def test_the_application_is_proved_clean_and_both_of_its_versions_are_seen(tmp_path: Path, ports: list[int]) -> None:
    async def go() -> Ran:
        async with balanced(ports) as url:
            load = {"rate": 100.0, "uploads": 2, "upload_size": 5_000_000, "upload_seconds": 0.5}
            return await run_probe(tmp_path, url, rows(4, "upload"), **load)

    ran = asyncio.run(go())
    assert ran.verdict.clean, ran.wrong()
    assert set(ran.verdict.gets_by_version) == {"v1", "v2"}
    assert ran.verdict.uploads_read_back == ran.verdict.counts["upload"].sent >= 4
    assert ran.verdict.uploads_read_back_by_writer == 0
