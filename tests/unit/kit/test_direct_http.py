"""The small client for control ports gives what httpx gives: a response with any status, or NoResponse with a cause."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from changeover.kit import direct_http
from changeover.kit.direct_http import DirectClient, DirectResponse, NoResponse
from changeover.kit.http import not_ok

SMALL = ("hops.nginx.questions", "hops.kong.questions", "hops.envoy.questions", "hops.in_flight_endpoint", "ports")


@asynccontextmanager
async def serving(answer: bytes, seen: bytearray | None = None, *, hold: bool = False) -> AsyncIterator[int]:
    """A server that reads a head, sends `answer` and, without `hold`, closes."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = (
            await reader.readexactly(int(head.split(b"Content-Length: ")[1].split()[0])) if b"Length" in head else b""
        )
        if seen is not None:
            seen.extend(head + body)
        writer.write(answer)
        if hold:
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            await ended.wait()


def asked(
    answer: bytes,
    question: Callable[[int], Awaitable[DirectResponse]] | None = None,
    *,
    seen: bytearray | None = None,
    hold: bool = False,
    timeout: float = 5.0,
) -> DirectResponse:
    async def run() -> DirectResponse:
        async with serving(answer, seen, hold=hold) as port:
            if question is not None:
                return await question(port)
            return await DirectClient(timeout).request("GET", f"http://127.0.0.1:{port}/status?x=1")

    return asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.0 503 Busy\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_every_form_of_a_body_is_read(answer: bytes) -> None:
    response = asked(answer)
    assert (response.status_code, response.text) == (503, "hello")


def test_a_response_ends_with_its_body_and_not_with_its_connection() -> None:
    assert asked(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", hold=True).text == "ok"


def test_it_sends_one_plain_request_with_the_query() -> None:
    seen = bytearray()
    asked(b"HTTP/1.1 204 No Content\r\n\r\n", seen=seen)
    head = bytes(seen).decode()
    assert head.startswith("GET /status?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Connection: close" in head


def test_it_sends_headers_and_a_document() -> None:
    seen = bytearray()

    def put(port: int) -> Awaitable[DirectResponse]:
        url = f"http://127.0.0.1:{port}/"
        return DirectClient().request("PUT", url, headers={"Authorization": "Bearer x"}, json={"on": True})

    asked(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: a\r\n\r\n", put, seen=seen)
    head, _, body = bytes(seen).partition(b"\r\n\r\n")
    assert b"Authorization: Bearer x" in head
    assert json.loads(body) == {"on": True}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "without a response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", "peer closed|received 3 bytes"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "illegal"),
    ],
)
def test_what_is_no_whole_response_is_none(answer: bytes, cause: str) -> None:
    with pytest.raises(NoResponse, match=f"^GET http://127.0.0.1:[0-9]+/status\\?x=1: .*({cause})"):
        asked(answer)


def test_a_server_that_hangs_is_waited_for_until_the_timeout() -> None:
    with pytest.raises(NoResponse, match="no response in time"):
        asked(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhel", hold=True, timeout=0.1)


def test_a_refused_connection_says_so() -> None:
    with pytest.raises(NoResponse, match=r"^GET http://127\.0\.0\.1:9/: Connection refused$"):
        asyncio.run(DirectClient().request("GET", "http://127.0.0.1:9/"))
    assert asyncio.run(not_ok(DirectClient(), "http://127.0.0.1:9/"))


def test_a_body_beyond_all_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct_http, "LARGEST", 100)
    with pytest.raises(NoResponse, match="more than 100 bytes"):
        asked(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + b"x" * 200)


def test_a_unix_socket_is_asked_through_its_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)  # a path to it would be too long for a socket
    deep.mkdir()

    async def run() -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
            writer.close()

        opened = tmp_path / "link"
        opened.symlink_to(deep)
        async with await asyncio.start_unix_server(serve, str(opened / "a.sock")):
            return (await DirectClient().request("POST", "http://localhost/ok", socket=f"{deep}/a.sock")).text

    assert asyncio.run(run()).startswith("POST /ok HTTP/1.1\r\n")


def test_a_unix_socket_that_is_not_there_is_no_response(tmp_path: Path) -> None:
    with pytest.raises(NoResponse, match=r"^GET / at .*/a\.sock: No such file"):
        asyncio.run(DirectClient().request("GET", "http://localhost/", socket=f"{tmp_path}/a.sock"))


def test_what_hops_are_asked_needs_neither_pydantic_nor_httpx() -> None:
    imports = "; ".join(f"import changeover.{module}" for module in SMALL)
    shown = f"import sys; {imports}; print([m for m in ('pydantic', 'httpx', 'typer', 'yaml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
