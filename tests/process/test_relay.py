"""The relay over real connections: what arrives, what a client is told, and what harm in between does not do."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.process.relayed import Harm, Relayed, storing

from changeover.relay.config import Pooling, RelayTiming
from changeover.relay.io.pipes import Pipe, Pipes

MB = 1_000_000


def sha(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("chunk", [0, 999, 16_384, 300_000])
@pytest.mark.parametrize("size", [0, 10, 65_535, 65_536, 1_048_576, 5 * MB])
def test_an_upload_arrives_whole_and_is_answered_by_the_application(tmp_path: Path, size: int, chunk: int) -> None:
    async def go() -> None:
        body = os.urandom(size)
        async with storing(tmp_path) as relayed, relayed.client() as client:
            got = await client.post(body, chunk=chunk)
            assert (got.status, got.headers["x-app"], got.body) == (201, "yes", sha(body))
            assert [content for _, content in relayed.finished] == [body]
            assert not {name for name in got.headers if name.startswith("upload-")}
            assert relayed.server.counters.committed_bytes == (size if size >= 65_536 else 0)
            again = await client.post(b"on the same connection")
            assert again.body == sha(b"on the same connection")

    asyncio.run(go())


@pytest.mark.parametrize("chunk", [0, 50_000])
@pytest.mark.parametrize("at", [0, 1, 250, 400, 70_000, 1_300_000, 3_999_000])
@pytest.mark.parametrize("way", ["inward", "outward"])
def test_a_connection_that_is_reset_anywhere_loses_and_doubles_nothing(
    tmp_path: Path, way: str, at: int, chunk: int
) -> None:
    """Every second connection breaks after that many bytes; of answers there are fewer, so those break early."""

    async def go() -> None:
        body = os.urandom(4 * MB)
        harm = Harm(inward=at) if way == "inward" else Harm(outward=at % 400)
        async with storing(tmp_path, lambda n: None if n % 2 else harm) as relayed, relayed.client() as client:
            got = await client.post(body, chunk=chunk)
            assert (got.status, got.body) == (201, sha(body))
            assert [content for _, content in relayed.finished] == [body]
            assert relayed.server.relay.budget.held == 0

    asyncio.run(go())


def test_the_harm_is_real_a_plain_upload_does_not_survive_it(tmp_path: Path) -> None:
    """The control: the same reset, on a route that is not segmented."""

    async def go() -> None:
        harm = lambda _: Harm(inward=1_300_000)  # noqa: E731
        async with storing(tmp_path, harm, segmented=()) as relayed, relayed.client() as client:
            got = await client.post(os.urandom(4 * MB))
            assert got.status == 502
            assert "not known" in got.problem["detail"]
            assert relayed.finished == []

    asyncio.run(go())


def test_an_instance_that_stands_still_is_left_for_another(tmp_path: Path) -> None:
    async def go() -> None:
        body = os.urandom(3 * MB)
        harms = {0: Harm(inward=1_200_000, stalls=True)}
        async with storing(tmp_path, harms.get, timing=RelayTiming(body=0.5)) as relayed, relayed.client() as client:
            got = await client.post(body)
            assert (got.status, got.body) == (201, sha(body))
            assert len(relayed.finished) == 1

    asyncio.run(go())


def test_a_slow_client_holds_nobody_behind_the_relay(tmp_path: Path) -> None:
    """Between its bytes there is nothing in flight inward, so whatever is behind can be stopped at once."""

    async def go() -> None:
        body = os.urandom(3 * MB)
        async with storing(tmp_path, pooling=Pooling(idle=0.0, life=0.0)) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=len(body))
            for start in range(0, len(body), 500_000):
                await client.send(body[start : start + 500_000])
                await taken(relayed, start + 500_000)
                await relayed.until(lambda: not relayed.toxic.open)
            assert (await client.got()).body == sha(body)

    asyncio.run(go())


async def taken(relayed: Relayed, size: int) -> None:
    """Wait until the relay has that many bytes of the one upload."""
    await relayed.until(
        lambda: relayed.finished or size == sum(u["received"] for u in relayed.server.in_flight()["uploads"])
    )


def test_what_is_in_flight_is_told_with_its_rate_and_what_is_stored(tmp_path: Path) -> None:
    async def go() -> None:
        async with storing(tmp_path) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=3 * MB)
            await client.send(bytes(1_500_000))
            await relayed.until(lambda: (relayed.server.in_flight()["uploads"] or [{}])[0].get("committed"))
            told = relayed.server.in_flight()
            (upload,) = told["uploads"]
            assert (told["requests"], told["connections"]) == (1, 1)
            assert upload["committed"] + upload["held"] == upload["received"] <= 1_500_000
            assert (upload["expected"], upload["rate"] > 0, upload["left"] is not None) == (3 * MB, True, True)

    asyncio.run(go())


def test_a_client_that_vanishes_leaves_nothing_behind(tmp_path: Path) -> None:
    async def go() -> None:
        async with storing(tmp_path) as relayed:
            async with relayed.client() as client:
                await client.begin("POST", "/upload", content_length=3 * MB)
                await client.send(bytes(2 * MB))
                await relayed.until(lambda: relayed.server.counters.committed_bytes > MB)
                client.hang_up()
            await relayed.until(lambda: relayed.server.counters.clients_disconnected)
            await relayed.until(lambda: not [*tmp_path.glob("*/*")])
            assert (relayed.finished, relayed.server.relay.budget.held) == ([], 0)

    asyncio.run(go())


def test_a_client_that_has_sent_all_may_close_its_side(tmp_path: Path) -> None:
    async def go() -> None:
        body = os.urandom(2 * MB)
        async with storing(tmp_path) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=len(body))
            await client.send(body)
            client.half_close()
            assert (await client.got()).body == sha(body)

    asyncio.run(go())


def test_a_client_of_one_byte_at_a_time_is_served(tmp_path: Path) -> None:
    async def go() -> None:
        body = os.urandom(70_000)
        async with storing(tmp_path) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=len(body))
            await client.send(body[:69_000])
            for place in range(69_000, 70_000):
                await client.send(body[place : place + 1])
                await asyncio.sleep(0)
            assert (await client.got()).body == sha(body)

    asyncio.run(go())


def test_a_client_that_waits_for_100_gets_it_once_the_upload_was_begun(tmp_path: Path) -> None:
    async def go() -> None:
        body = os.urandom(2 * MB)
        async with storing(tmp_path) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=len(body), expect="100-continue")
            assert (await client.head())[0] == 100
            await client.send(body)
            assert (await client.got()).body == sha(body)

    asyncio.run(go())


def test_a_client_that_stops_in_the_midst_is_told_so_and_its_upload_goes(tmp_path: Path) -> None:
    async def go() -> None:
        async with storing(tmp_path, timing=RelayTiming(body=0.3)) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=3 * MB)
            await client.send(bytes(100_000))
            got = await client.got()
            assert (got.status, "no byte" in got.problem["detail"]) == (408, True)
            await relayed.until(lambda: not [*tmp_path.glob("*/*")])

    asyncio.run(go())


@pytest.mark.parametrize("chunk", [0, 300_000])
def test_where_no_pipe_is_to_be_had_memory_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """As for an ordinary user with many uploads, and where there is no splice(2). Some pipes come, others do not."""
    asked = 0

    def sometimes(self: Pipes) -> Pipe | None:
        nonlocal asked
        asked += 1
        return original(self) if asked % 3 == 0 else None

    original = Pipes.get
    monkeypatch.setattr(Pipes, "get", sometimes)

    async def go() -> None:
        body = os.urandom(6 * MB)
        harms = {0: Harm(inward=2 * MB)}
        async with storing(tmp_path, harms.get) as relayed, relayed.client() as client:
            assert (await client.post(body, chunk=chunk)).body == sha(body)
            assert asked > 2

    asyncio.run(go())


@pytest.mark.parametrize("uploads", [60, pytest.param(10_000, marks=pytest.mark.soak)])
def test_uploads_leave_no_descriptor_pipe_or_byte_behind(tmp_path: Path, uploads: int) -> None:
    async def go() -> None:
        async with storing(tmp_path) as relayed:

            async def one(number: int) -> None:
                async with relayed.client() as client:
                    if number % 3:
                        assert (await client.post(bytes(200_000), chunk=number % 2 * 30_000)).status == 201
                    else:
                        await client.begin("POST", "/upload", content_length=400_000)
                        await client.send(bytes(200_000))

            def left() -> tuple[int, int, int]:
                relay = relayed.server.relay
                open_ = len([*Path("/proc/self/fd").iterdir()]) - 2 * relay.pipes.open
                return open_, relay.budget.held, relay.budget.bodies

            before = left()
            for start in range(0, uploads, 12):
                await asyncio.gather(*(one(number) for number in range(start, start + 12)))
            await relayed.until(lambda: not relayed.server.in_flight()["connections"])
            relayed.server.relay.upstream.close()
            await relayed.until(lambda: left() == before)

    asyncio.run(go())


# -- the process -----------------------------------------------------------------------------------------------------


def test_its_process_brings_nothing_along_that_takes_memory_for_nothing() -> None:
    code = "import changeover.relay.__main__, sys; print(*sys.modules); import prometheus_client"  # which wants ssl
    told = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True, text=True).stdout
    assert {"asyncio", "httptools"} <= {*told.split()}
    assert {"ssl", "hashlib", "tempfile", "http_sf", "pydantic", "typer", "prometheus_client"}.isdisjoint(told.split())
