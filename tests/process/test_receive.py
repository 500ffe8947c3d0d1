"""The receiver of uploads over real connections. test_readers.py has the malformed requests that it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.process.received import PARTIAL, PATIENCE, Client, serving

from changeover.uploads import Limits
from changeover.uploads.server.body import BUFFER
from changeover.uploads.server.connection import HEAD

Run = Callable[[Any], Any]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Both loops: what a buffered protocol is given, and when, is not the same."""
    return request.param  # type: ignore[no-any-return]


async def content(client: Client, id: str) -> bytes:
    return (await client.ask("GET", f"/files/{id}/content")).body


def test_bodies_of_every_size_arrive_one_after_the_other_on_one_connection(tmp_path: Path, run: Run) -> None:
    sizes = [0, 1, 1000, HEAD, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 7, 5_000_000]

    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            for size in sizes:
                body = os.urandom(size)
                got = await client.ask("POST", "/files/", body)
                assert got.status == 201
                assert await content(client, server.finished[-1].id) == body
        assert [one.size for one in server.finished] == sizes

    run(go())


def test_a_body_that_comes_with_its_head_or_byte_by_byte_is_the_same(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        body = b"0123456789"
        async with serving(tmp_path) as server, server.client() as client:
            await client.send(b"POST /files/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + body)
            assert (await client.got()).status == 201
            await client.begin("POST", "/files/", content_length=10)
            for byte in body:
                await client.send(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.got()).status == 201
            for one in server.finished:
                assert await content(client, one.id) == body

    run(go())


def test_a_body_in_chunks_arrives_too(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            await client.begin("POST", "/files/", transfer_encoding="chunked")
            for _ in range(20):
                await client.send(b"10000\r\n", bytes(65536), b"\r\n")
            await client.send(b"0\r\n\r\n")
            assert (await client.got()).status == 201
            assert server.finished[0].size == 20 * 65536

    run(go())


def test_a_client_that_asks_whether_to_go_on_is_told_to_and_one_that_is_refused_is_not(
    tmp_path: Path, run: Run
) -> None:
    async def go() -> None:
        async with serving(tmp_path, Limits(max_size=100)) as server:
            async with server.client() as client:
                await client.begin("POST", "/files/", content_length=5, expect="100-continue")
                assert (await client.got()).status == 100
                await client.send(b"hello")
                assert (await client.got()).status == 201
            async with server.client() as client:
                await client.begin("POST", "/files/", content_length=500, expect="100-continue")
                assert (await client.got()).status == 413
                assert await client.is_closed()

    run(go())


def test_who_is_refused_in_the_midst_of_a_body_gets_to_see_why(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path, Limits(max_size=100_000)) as server, server.client() as client:
            await client.begin("POST", "/files/", transfer_encoding="chunked")
            sending = asyncio.create_task(client.send(*[b"10000\r\n" + bytes(65536) + b"\r\n"] * 100))
            assert (await client.got()).status == 413
            await sending  # the server goes on listening for a while, and resets nobody
            assert await client.is_closed()
            assert not server.finished

    run(go())


def test_what_a_client_that_hung_up_had_sent_is_kept_and_gone_on_with(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        body = os.urandom(1_000_000)
        async with serving(tmp_path) as server:
            async with server.client() as client:
                place = (await client.ask("POST", "/files/", upload_complete="?0")).headers["location"]
            async with server.client() as client:
                more = {"upload_offset": 0, "upload_complete": "?1", "content_type": PARTIAL}
                await client.begin("PATCH", place, content_length=len(body), **more)
                await client.send(body[:600_000])
                async with asyncio.timeout(PATIENCE):  # what is still in a socket when its client resets it is lost
                    while (await server.receiver.engine.find(place.rpartition("/")[2], "")).offset < 600_000:
                        await asyncio.sleep(0.01)
                client.hang_up()
            async with server.client() as client:
                start = int((await client.ask("HEAD", place)).headers["upload-offset"])
                assert start == 600_000
                more = {"upload_offset": start, "upload_complete": "?1", "content_type": PARTIAL}
                assert (await client.ask("PATCH", place, body[start:], **more)).status == 201
                assert await content(client, server.finished[0].id) == body

    run(go())


def test_many_bodies_that_hardly_come_hold_up_nobody(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server, contextlib.AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(server.client()) for _ in range(100)]
            for each in slow:
                await each.begin("POST", "/files/", content_length=5)
                await each.send(b"h")
            async with server.client() as client:
                assert (await client.ask("POST", "/files/", bytes(1_000_000))).status == 201
            for each in slow:
                await each.send(b"ello")
            assert [(await each.got()).status for each in slow] == [201] * 100

    run(go())


def test_no_path_is_a_way_out_of_the_store(tmp_path: Path, run: Run) -> None:
    (tmp_path / "secret").write_bytes(b"private key")
    tricks = (
        "..",
        "../secret",
        "%2e%2e/secret",
        "..%2fsecret",
        "//secret",
        "x/../../secret",
        "%00",
        "a" * 5000,
        "\xff",
    )

    async def go() -> None:
        async with serving(tmp_path / "store") as server:
            for trick in tricks:
                for method in ("GET", "HEAD", "DELETE"):
                    for path in (f"/files/{trick}", f"/files/{trick}/content", f"/files/../{trick}"):
                        async with server.client() as client:
                            got = await client.ask(method, path)
                            assert 400 <= got.status < 500, (method, path)
                            assert b"private key" not in got.body
        assert (tmp_path / "secret").read_bytes() == b"private key"

    run(go())


def test_a_body_is_checked_against_its_digests(tmp_path: Path, run: Run) -> None:
    body = os.urandom(3 * BUFFER + 7)
    right, wrong = (f"sha-256=:{b64encode(sha256(each).digest()).decode()}:" for each in (body, body[1:]))

    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            place = (await client.ask("POST", "/files/", upload_complete="?0")).headers["location"]
            more = {"upload_offset": 0, "upload_complete": "?1", "content_type": PARTIAL}
            got = await client.ask("PATCH", place, body, content_digest=wrong, **more)
            assert (got.status, got.headers["upload-offset"]) == (400, "0")
            got = await client.ask("PATCH", place, body, content_digest=right, repr_digest=right, **more)
            assert (got.status, got.body.decode()) == (201, sha256(body).hexdigest())
            assert (await client.ask("POST", "/files/", body, repr_digest=wrong)).status == 400
            assert len(server.finished) == 1

    run(go())


@pytest.mark.parametrize("framing", [{"content_length": 50_000_000}, {"transfer_encoding": "chunked"}])
def test_a_body_that_comes_faster_than_it_may_is_left_in_the_socket(
    tmp_path: Path, run: Run, framing: dict[str, object]
) -> None:
    piece = bytes(1_000_000) if "content_length" in framing else b"f4240\r\n" + bytes(1_000_000) + b"\r\n"

    async def go() -> None:
        async with serving(tmp_path, Limits(rate=1.0)) as server, server.client() as client, server.client() as other:
            place = (await client.ask("POST", "/files/", upload_complete="?0")).headers["location"]
            more = {"upload_offset": 0, "upload_complete": "?1", "content_type": PARTIAL}
            await client.begin("PATCH", place, **framing, **more)
            sending = asyncio.create_task(client.send(*[piece] * 50))
            async with asyncio.timeout(PATIENCE):
                while not (await server.receiver.engine.find(place.rpartition("/")[2], "")).offset:
                    await asyncio.sleep(0.01)
            assert not sending.done()
            assert int((await other.ask("HEAD", place)).headers["upload-offset"]) <= BUFFER
            assert (await client.got()).status == 503
            sending.cancel()
            await asyncio.wait([sending])

    run(go())


def test_an_application_may_answer_with_a_status_that_has_no_name(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path, status=299) as server, server.client() as client:
            assert (await client.ask("POST", "/files/", b"hello")).status == 299

    run(go())


def test_a_fault_of_the_program_is_answered_and_logged(
    tmp_path: Path, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            server.receiver.engine.store.read = None  # type: ignore[assignment,method-assign]
            assert (await client.ask("HEAD", "/files/" + "a" * 32)).status == 500
            assert "a" * 32 in caplog.text

    run(go())


def test_requests_that_follow_at_once_are_answered_in_their_order(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        plain = b"POST /files/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
        chunked = b"POST /files/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
        async with serving(tmp_path) as server, server.client() as client:
            await client.send((plain + chunked + b"\r\n") * 3)
            assert [(await client.got()).status for _ in range(6)] == [201] * 6
            assert [one.size for one in server.finished] == [5, 2] * 3

    run(go())


def test_a_chunked_body_beside_an_upgrade_is_stored_whole(tmp_path: Path, run: Run) -> None:
    """RFC 9110, section 7.8: a server may ignore Upgrade. A parser that follows it would lose the body."""

    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAAQAoAAA"}
            await client.begin("POST", "/files/", transfer_encoding="chunked", **upgrade)
            await client.send(b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n")
            assert (await client.got()).status == 201
            assert [(one.size, await content(client, one.id)) for one in server.finished] == [(5, b"hello")]

    run(go())


def test_chunks_that_break_off_or_are_malformed_are_no_upload(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server:
            async with server.client() as client:
                await client.begin("POST", "/files/", transfer_encoding="chunked")
                await client.send(b"5\r\nhello\r\n5\r\nhello!\r\n0\r\n\r\n")
                got = await client.got()
                assert (got.status, got.headers["connection"]) == (400, "close")
                assert await client.is_closed()
            async with server.client() as client:
                await client.begin("POST", "/files/", transfer_encoding="chunked")
                await client.send(b"5\r\nhello\r\n")
                client.half_close()
                assert await client.is_closed()
            assert not server.finished
            assert not [*tmp_path.glob("*/*")]

    run(go())


def test_a_client_of_http_1_0_that_asks_for_it_learns_that_its_connection_stays(tmp_path: Path, run: Run) -> None:
    async def go() -> None:
        async with serving(tmp_path) as server, server.client() as client:
            for option, kept in ((b"Keep-Alive", "keep-alive"), (b"x", "close")):
                await client.send(b"POST /files/ HTTP/1.0\r\nConnection: %b\r\nContent-Length: 2\r\n\r\nhi" % option)
                got = await client.got()
                assert (got.status, got.headers["connection"]) == (201, kept)
            assert await client.is_closed()

    run(go())


def test_the_command_takes_uploads_hands_them_on_and_ends_politely(tmp_path: Path) -> None:
    async def go() -> None:
        argv = [sys.executable, "-m", "changeover", "receive", "--port", "0", "--folder", str(tmp_path / "uploads")]
        process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
        assert process.stderr is not None
        try:
            async with asyncio.timeout(PATIENCE):
                told = (await process.stderr.readline()).decode()
                port = int(told.rpartition(":")[2].partition("/")[0])
                client = Client(*await asyncio.open_connection("127.0.0.1", port))
                got = await client.ask("POST", "/files/", b"hello")
                assert (got.status, json.loads(got.body)["size"]) == (201, 5)
                assert (await client.ask("GET", json.loads(got.body)["content"])).body == b"hello"
                client.hang_up()
                process.terminate()
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    asyncio.run(go())
