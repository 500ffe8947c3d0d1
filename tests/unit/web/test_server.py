"""The server of `changeover serve` over real sockets: slow clients lose their connection, a signal ends it cleanly."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.types import Receive, Scope, Send
from tests.unit.in_loop import in_loop

from changeover.model.errors import ChangeoverError
from changeover.web import server
from changeover.web.site import Site

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
PATIENCE = 40
"""Seconds that a test waits for what must happen."""


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A server, and a connection to it. It must end by itself at SIGTERM."""
    address: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(
        server.serve(Site(()), "127.0.0.1", 0, lambda host, port: address.set_result((host, port)))
    )
    reader, writer = await asyncio.open_connection(*await asyncio.wait_for(address, PATIENCE))
    try:
        yield reader, writer
    finally:
        writer.close()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.wait_for(task, PATIENCE)


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection, in either way."""
    try:
        return not await asyncio.wait_for(reader.read(), PATIENCE)
    except ConnectionResetError:
        return True


@in_loop
async def test_it_answers_and_a_signal_ends_it_with_an_idle_connection_open() -> None:
    async with serving() as (reader, writer):
        writer.write(REQUEST)
        assert (await asyncio.wait_for(reader.readline(), PATIENCE)) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("sent", [b"", REQUEST[:-4]], ids=["nothing", "half a head"])
def test_a_client_that_does_not_finish_its_head_is_cut(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIME", 0.1)

    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(sent)
            assert await closed(reader)

    run()


def test_a_head_that_trickles_on_a_used_connection_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(REQUEST)
            await asyncio.wait_for(reader.readuntil(b"ok\n"), PATIENCE)
            monkeypatch.setattr(server, "HEAD_TIME", 0.1)
            writer.write(REQUEST[:20])
            assert await closed(reader)

    run()


def test_what_is_no_http_is_refused_in_one_line_with_its_client(caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 400 ")

    run()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["refused a request from 127.0.0.1: 400, it is no HTTP/1.1, or too much of it"]


def test_a_request_for_an_upgrade_is_answered_without_one(caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(REQUEST[:-2] + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"ok\n"), PATIENCE)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")

    run()
    assert caplog.records == []


def test_an_empty_line_holds_no_used_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(REQUEST)
            await asyncio.wait_for(reader.readuntil(b"ok\n"), PATIENCE)
            monkeypatch.setattr(server, "HEAD_TIME", 0.1)
            writer.write(b"\r\n")
            assert await closed(reader)

    run()


def test_a_head_over_the_limit_is_refused() -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(REQUEST[:-2] + b"X: " + b"x" * server.HEAD_LIMIT + b"\r\n")
            assert (await asyncio.wait_for(reader.readline(), PATIENCE)).startswith(b"HTTP/1.1 400 ")

    run()


def test_a_flood_of_refused_requests_is_a_bounded_number_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    refused = REQUEST.replace(b"localhost", b"elsewhere.example")

    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    @in_loop
    async def run() -> None:
        async with serving() as (_, writer):
            for _ in range(200):
                await refused_once(*writer.get_extra_info("peername"))
            async with asyncio.timeout(PATIENCE):
                while told() < 200:
                    await asyncio.sleep(0.01)

    async def refused_once(host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(refused)
        assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 421 ")
        writer.close()

    def told() -> int:
        left_out = [re.match(r"(\d+) more lines", line) for line in lines()]
        return sum(int(found[1]) if found else 1 for found in left_out)

    began = time.monotonic()
    run()
    assert len(lines()) <= (server.LINES + 1) * (time.monotonic() - began + 1)


def test_a_whole_head_over_the_limit_is_refused() -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            fields = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(20))
            writer.write(REQUEST[:-2] + fields + b"\r\n")
            assert (await asyncio.wait_for(reader.read(), PATIENCE)).startswith(b"HTTP/1.1 400 ")

    run()


def test_a_field_after_the_body_is_none_of_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    async def names(scope: Scope, _: Receive, send: Send) -> None:
        found = b",".join(name for name, _ in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": found})

    monkeypatch.setattr(server, "create_app", lambda _: names)

    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head + b"1\r\nx\r\n0\r\nAuthorization: Bearer token\r\n\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), PATIENCE)
            assert b"host,transfer-encoding\r\n" in answer

    run()


def test_requests_that_arrive_at_once_are_all_answered() -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(REQUEST * 20 + REQUEST[:20])
            for _ in range(20):
                await asyncio.wait_for(reader.readuntil(b"ok\n"), PATIENCE)
            writer.write(REQUEST[20:])
            await asyncio.wait_for(reader.readuntil(b"ok\n"), PATIENCE)

    run()


def test_a_client_that_sends_thousands_of_requests_ahead_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0

    async def waits(_: Scope, receive: Receive, __: Send) -> None:
        nonlocal begun
        begun += 1
        while (await receive())["type"] != "http.disconnect":
            pass

    monkeypatch.setattr(server, "create_app", lambda _: waits)

    @in_loop
    async def run() -> None:
        async with serving() as (reader, writer):
            writer.write(REQUEST * 5000)
            assert await closed(reader)

    run()
    assert begun == 1


def test_a_client_that_reads_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, sent = asyncio.Event(), 0

    async def endless(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        gone = asyncio.ensure_future(receive())  # uvicorn reports the client's end here, and sends into the void after
        await send({"type": "http.response.start", "status": 200, "headers": []})
        nonlocal sent
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent += 100_000
        ended.set()

    monkeypatch.setattr(server, "READ_TIME", 0.1)
    monkeypatch.setattr(server, "create_app", lambda _: endless)

    @in_loop
    async def run() -> None:
        async with serving() as (_, writer):
            writer.write(REQUEST)
            await asyncio.wait_for(ended.wait(), PATIENCE)

    run()
    assert sent < 20_000_000, "what it does not read is held in buffers of a bounded size, most of them the kernel's"


def test_an_address_in_use_is_an_error_with_the_next_step() -> None:
    @in_loop
    async def run() -> None:
        async with serving() as (_, writer):
            host, port = writer.get_extra_info("peername")
            with pytest.raises(ChangeoverError, match="--listen"):
                await server.serve(Site(()), host, port, lambda *_: None)

    run()


def test_a_body_does_not_wait_for_the_acknowledgement_of_its_head() -> None:
    with server._listener("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
