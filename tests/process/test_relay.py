"""The relay over real connections: what arrives, what a client is told, and what harm in between does not do."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.process.relayed import Harm, Relayed, relaying, request, scripted, storing

from changeover.relay.config import Pooling, RelayTiming, RoutePattern
from changeover.relay.io.pipes import Pipe, Pipes

MB = 1_000_000


def sha(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


# -- uploads ---------------------------------------------------------------------------------------------------------


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


# -- whoever stores them is not trusted ------------------------------------------------------------------------------


async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the creation."""
    first, headers, body = await request(reader)
    assert (first.split()[0], headers["upload-complete"], body) == ("POST", "?0", b"")
    writer.write(b"HTTP/1.1 201 Created\r\nLocation: /there/1\r\nUpload-Complete: ?0\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize("offset", [99_999_999, 1_100_000])
def test_an_offset_beyond_what_was_sent_is_not_believed(offset: int) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begun(reader, writer)
        await request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: %d\r\n\r\n" % offset)

    async def go() -> None:
        async with scripted(lie) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=5 * MB)
            await client.send(bytes(1_050_000))
            got = await client.got()
            assert (got.status, f"offset {offset}" in got.problem["detail"]) == (502, True)

    asyncio.run(go())


def test_an_offset_that_goes_back_is_not_believed() -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begun(reader, writer)
        _, headers, body = await request(reader)
        end = int(headers["upload-offset"]) + len(body)
        writer.write(b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: %d\r\n\r\n" % end)
        await request(reader)
        writer.write(b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: 5\r\n\r\n")

    async def go() -> None:
        async with scripted(lie) as where, relaying(where) as relayed, relayed.client() as client:
            got = await client.post(bytes(5 * MB))
            assert got.status == 502
            assert got.problem["committed"] >= 1 << 20
            assert got.problem["upload"] == "/there/1"

    asyncio.run(go())


def test_an_application_that_acknowledges_less_gets_the_rest_again() -> None:
    stored = bytearray()

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await begun(reader, writer)
        while True:
            _, headers, body = await request(reader)
            assert int(headers["upload-offset"]) == len(stored)
            whole = headers["upload-complete"] == "?1" and len(body) < 1000
            stored.extend(body if whole else body[: len(body) // 2 + 1])
            if whole:
                writer.write(b"HTTP/1.1 201 Created\r\nUpload-Complete: ?1\r\nContent-Length: 5\r\n\r\nthere")
            else:
                told = b"HTTP/1.1 204 No Content\r\nUpload-Complete: ?0\r\nUpload-Offset: %d\r\n\r\n"
                writer.write(told % len(stored))

    async def go() -> None:
        body = os.urandom(2 * MB)
        async with scripted(half) as where, relaying(where) as relayed, relayed.client() as client:
            got = await client.post(body)
            assert (got.status, got.body, bytes(stored)) == (201, b"there", body)
            assert relayed.server.counters.resent_bytes > 0

    asyncio.run(go())


def test_an_application_that_does_not_speak_of_resuming_gets_no_byte_of_the_body() -> None:
    seen: list[tuple[str, bytes]] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, _, body = await request(reader)
        seen.append((first, body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def go() -> None:
        async with scripted(plain) as where, relaying(where) as relayed, relayed.client() as client:
            got = await client.post(bytes(MB))
            assert (got.status, "does not support" in got.problem["detail"]) == (502, True)
            assert seen == [("POST /upload HTTP/1.1", b"")]

    asyncio.run(go())


def test_what_the_application_says_to_the_creation_is_the_answer() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?")

    async def go() -> None:
        async with scripted(refuse) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=5 * MB, expect="100-continue")
            got = await client.got()
            assert (got.status, got.headers["www-authenticate"], got.body) == (401, "Basic", b"who?")

    asyncio.run(go())


def test_when_nobody_is_there_for_long_the_client_learns_what_is_stored(tmp_path: Path) -> None:
    async def go() -> None:
        dead = lambda n: Harm(inward=1_500_000) if n == 0 else Harm(inward=0)  # noqa: E731
        async with storing(tmp_path, dead, patience=0.5) as relayed, relayed.client() as client:
            got = await client.post(os.urandom(4 * MB))
            told = got.problem
            assert (got.status, told["committed"]) == (502, relayed.server.counters.committed_bytes)
            assert told["upload"].startswith("/upload/")
            assert f"{told['committed']} bytes are stored" in told["detail"]

    asyncio.run(go())


# -- what is streamed through ------------------------------------------------------------------------------------------


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with what it saw of it."""
    while True:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        told = json.dumps({"first": first, "headers": headers, "sha": sha(body).decode()}).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(told) + told)


def test_other_requests_go_through_as_they_are() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/some/where?x=1", cookie="a=b", connection="x-own", x_own="for the relay")
            told = json.loads((await client.got()).body)
            assert told["first"] == "GET /some/where?x=1 HTTP/1.1"
            assert (told["headers"]["cookie"], "x-own" in told["headers"]) == ("a=b", False)
            assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
            for chunk in (0, 70_000):
                body = os.urandom(3 * MB)
                got = await client.post(body, "/other", chunk=chunk)
                assert json.loads(got.body)["sha"] == sha(body).decode()

    asyncio.run(go())


def test_requests_that_follow_at_once_are_answered_in_their_order() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(20)))
            for number in range(20):
                assert json.loads((await client.got()).body)["first"] == f"GET /{number} HTTP/1.1"

    asyncio.run(go())


@pytest.mark.parametrize(
    ("method", "headers", "opted", "at", "again"),
    [
        ("GET", {}, False, 10, True),
        ("POST", {}, False, 10, False),
        ("POST", {}, False, 200_000, False),
        ("POST", {}, True, 200_000, True),
        ("POST", {"idempotency_key": "k"}, False, 200_000, True),
        ("PUT", {}, False, 200_000, True),
    ],
)
def test_a_request_is_sent_again_only_where_that_does_no_harm(
    method: str, headers: dict[str, str], opted: bool, at: int, again: bool
) -> None:
    async def go() -> None:
        body = b"" if method == "GET" else os.urandom(3 * MB)
        harm = lambda n: Harm(inward=at) if n == 0 else None  # noqa: E731
        told: dict[str, Any] = {"replayed": (RoutePattern(b"POST", b"/other"),) if opted else ()}
        async with scripted(echo) as where, relaying(where, harm, **told) as relayed, relayed.client() as client:
            await client.begin(method, "/other", content_length=len(body), **headers)
            await client.send(body)
            got = await client.got()
            assert got.status == (200 if again else 502)
            if again:
                assert json.loads(got.body)["sha"] == sha(body).decode()
            assert relayed.server.counters.replayed == again

    asyncio.run(go())


@pytest.mark.parametrize(("headers", "again"), [({}, False), ({"idempotency_key": "k"}, True)])
def test_a_body_that_was_sent_completely_is_sent_again_only_with_a_key(headers: dict[str, Any], again: bool) -> None:
    """The application may have acted on it: its answer is what got lost."""

    async def go() -> None:
        harm = lambda n: Harm(outward=5) if n == 0 else None  # noqa: E731
        opted = (RoutePattern(b"POST", b"/other"),)
        relay = relaying
        async with scripted(echo) as where, relay(where, harm, replayed=opted) as relayed, relayed.client() as client:
            assert (await client.post(bytes(300_000), "/other", **headers)).status == (200 if again else 502)

    asyncio.run(go())


@pytest.mark.parametrize(
    ("fields", "harm", "again"),
    [
        (b"", Harm(outward=5), False),
        (b"Idempotency-Key: k\r\n", Harm(outward=5), True),
        (b"", Harm(inward=10), False),
        (b"Idempotency-Key: k\r\n", Harm(inward=10), True),
    ],
)
def test_a_body_that_came_along_with_its_head_is_sent_again_only_with_a_key(
    fields: bytes, harm: Harm, again: bool
) -> None:
    async def go() -> None:
        first = lambda n: harm if n == 0 else None  # noqa: E731
        whole = b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n%b\r\nhello" % fields
        async with scripted(echo) as where, relaying(where, first) as relayed, relayed.client() as client:
            await client.send(whole)
            got = await client.got()
            assert got.status == (200 if again else 502)
            if again:
                assert json.loads(got.body)["sha"] == sha(b"hello").decode()
            assert relayed.server.counters.replayed == again

    asyncio.run(go())


@pytest.mark.parametrize(
    "head",
    [
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\nContent-Length: 5\r\n\r\n",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(head: bytes) -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(head)
            got = await client.got()
            assert (got.status, got.headers["connection"]) == (400, "close")
            client.half_close()
            assert await client.is_closed()
            assert relayed.toxic.connections == 0

    asyncio.run(go())


def test_a_head_that_does_not_end_is_refused() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000)
            assert (await client.got()).status == 431

    asyncio.run(go())


def test_a_client_of_http_1_0_gets_an_answer_that_it_understands() -> None:
    async def chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")

    async def go() -> None:
        async with scripted(chunks) as where, relaying(where) as relayed, relayed.client() as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            status, headers = await client.head()
            assert (status, "transfer-encoding" in headers, headers["connection"]) == (200, False, "close")
            assert await client.rest() == b"hello"

    asyncio.run(go())


def test_a_request_that_goes_round_in_a_circle_is_refused() -> None:
    async def go() -> None:
        via = ", ".join(f"1.1 changeover-{n}" for n in range(9))
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            await client.begin("GET", "/", via=via)
            assert (await client.got()).status == 508

    asyncio.run(go())


def test_a_relay_in_lame_duck_sends_its_clients_away_after_their_answer(tmp_path: Path) -> None:
    async def go() -> None:
        lame = tmp_path / "lame-duck"
        relay = relaying
        async with scripted(echo) as where, relay(where, lame_duck_file=lame) as relayed, relayed.client() as client:
            await client.begin("GET", "/")
            assert "connection" not in (await client.got()).headers
            lame.touch()
            await client.begin("GET", "/")
            assert (await client.got()).headers["connection"] == "close"
            assert await client.is_closed()

    asyncio.run(go())


def test_whose_connection_it_is_comes_from_the_proxy_header() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where, proxy_protocol=True) as relayed:
            async with relayed.client() as client:
                await client.send(b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n")
                await client.begin("GET", "/")
                assert json.loads((await client.got()).body)["headers"]["x-forwarded-for"] == "203.0.113.7"
            async with relayed.client() as stranger:
                await stranger.begin("GET", "/")
                assert await stranger.is_closed()

    asyncio.run(go())


# -- the process -----------------------------------------------------------------------------------------------------


def test_its_process_brings_nothing_along_that_takes_memory_for_nothing() -> None:
    code = "import changeover.relay.__main__, sys; print(*sys.modules); import prometheus_client"  # which wants ssl
    told = subprocess.run((sys.executable, "-c", code), capture_output=True, check=True, text=True).stdout
    assert {"asyncio", "httptools"} <= {*told.split()}
    assert {"ssl", "hashlib", "tempfile", "http_sf", "pydantic", "typer", "prometheus_client"}.isdisjoint(told.split())
