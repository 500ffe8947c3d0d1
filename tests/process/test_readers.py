"""Both servers that read HTTP/1.1, the receiver of uploads and the relay, over sockets: equally strict, and strict
as the room http1 is (tests/unit/http1/reading.py).
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from tests.process.relayed import PATIENCE
from tests.unit.http1.reading import ASKING, CHUNKED, STRICTER, Seen, cuts, pieces_of, read, streams

from changeover.http1.chunked import MAX_LINE
from changeover.http1.head import MAX_HEAD, RequestHead
from changeover.relay.config import RelayConfig, RelayTiming
from changeover.relay.process.server import RelayServer
from changeover.uploads.core.errors import BadRequest
from changeover.uploads.dialects.http import DialectResponse
from changeover.uploads.server.body import ReceiveTiming, RequestBody
from changeover.uploads.server.connection import ReceiverConnection

Address = tuple[str, int]


async def describe(head: RequestHead, body: RequestBody) -> DialectResponse:
    """The request, as JSON."""
    try:
        content = b"".join([bytes(piece) async for piece in body])
    except BadRequest:
        return DialectResponse(400)
    fields = (head.method, head.target, head.fields[b"host"], content)
    return DialectResponse(200, (), json.dumps([each.decode("latin-1") for each in fields]).encode())


@asynccontextmanager
async def receiving() -> AsyncIterator[Address]:
    """The connections of `receive`, without an engine behind them."""
    connections: set[ReceiverConnection] = set()
    timing = ReceiveTiming(linger=0.5)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ReceiverConnection(describe, connections, timing), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()
        for connection in [*connections]:
            connection.leave()
            await connection.closed.wait()


@asynccontextmanager
async def relaying(upstream: Address) -> AsyncIterator[Address]:
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server = RelayServer(RelayConfig(upstream, timing=RelayTiming(linger=0.5)), [listener])
    running = asyncio.ensure_future(server.run())
    try:
        yield address
    finally:
        server.leave()
        await running


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """The receiver, and a relay in front of it."""
    with asyncio.Runner() as runner:
        entered = AsyncExitStack()
        address = runner.run(entered.enter_async_context(receiving()))
        relay = runner.run(entered.enter_async_context(relaying(address)))
        yield Servers(runner, {"receive": address, "relay": relay})
        runner.run(entered.aclose())


@dataclass(frozen=True)
class Servers:
    runner: asyncio.Runner
    addresses: dict[str, Address]

    def outcomes(self, stream: bytes, cuts: Sequence[int] = ()) -> dict[str, Outcome]:
        """What each of them does with a stream."""
        return {name: self.runner.run(outcome(where, stream, cuts)) for name, where in self.addresses.items()}


@dataclass(frozen=True)
class Outcome:
    """What a client sees that sends a stream and then closes its side."""

    requests: list[Seen]
    refused: int
    """The status of the last response, where that is none of a request."""


async def outcome(address: Address, stream: bytes, cuts: Sequence[int] = ()) -> Outcome:
    """The connection is closed by the server, and nothing follows a response that says so."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(PATIENCE):
            for piece in pieces_of(stream, cuts):
                writer.write(piece)
                for _ in range(4):
                    await asyncio.sleep(0)
            writer.write_eof()
            received = await reader.read()
    except ConnectionError as error:
        raise AssertionError("the connection was reset under its client") from error
    finally:
        writer.close()
        await writer.wait_closed()
    return parsed(received)


def parsed(received: bytes) -> Outcome:
    requests = list[Seen]()
    closes = False
    while received:
        assert not closes, received
        head, _, received = received.partition(b"\r\n\r\n")
        first, *lines = head.decode().lower().splitlines()
        fields = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        status, size = int(first.split()[1]), int(fields.get("content-length", 0))
        body, received = received[:size], received[size:]
        if status == 100:
            continue
        closes = fields.get("connection") == "close"
        if status != 200:
            assert (closes, received) == (True, b"")
            return Outcome(requests, status)
        requests.append(Seen(*(each.encode("latin-1") for each in json.loads(body))))
    return Outcome(requests, 0)


@settings(max_examples=3 * settings().max_examples)
@given(streams(), cuts)
@example(CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n5\r\nhello\r\n0\r\n\r\n", [])
def test_both_servers_read_a_stream_of_requests_as_the_room_does(
    servers: Servers, stream: bytes, cuts: Sequence[int]
) -> None:
    expected = read(stream)
    same = Outcome(expected.requests, expected.refused)
    assert servers.outcomes(stream, cuts) == {"receive": same, "relay": same}


POSTING = b"POST / HTTP/1.1\r\nHost: a\r\n"
MALFORMED = {
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "a second Host": (ASKING + b"Host: a\r\n\r\n", 400),
    "two lengths": (POSTING + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a negative length": (POSTING + b"Content-Length: -1\r\n\r\n", 400),
    "a length before chunks": (POSTING + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a length after chunks": (CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "a coding beside chunked": (POSTING + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "a coding instead of chunked": (POSTING + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "chunked twice": (CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a folded line": (ASKING + b"X: a\r\n b\r\n\r\n", 400),
    "a lone CR": (ASKING + b"X: a\rb\r\n\r\n", 400),
    "a lone LF": (ASKING + b"X: a\nY: b\r\n\r\n", 400),
    "a NUL": (ASKING + b"X: a\0b\r\n\r\n", 400),
    "a space before the colon": (ASKING + b"X : a\r\n\r\n", 400),
    "a line without a colon": (ASKING + b"X\r\n\r\n", 400),
    "two spaces in the request line": (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a target that is no path": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "another version": (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    "an unknown method": (b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "a TLS handshake": (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    "half a head": (ASKING, 400),
    "a head over the bound": (ASKING + b"X: " + b"x" * MAX_HEAD, 431),
    "empty lines over the bound": (b"\r\n" * MAX_HEAD, 431),
    "a chunk size that is no number": (CHUNKED + b"\r\nzz\r\n", 400),
    "a chunk size with a sign": (CHUNKED + b"\r\n+1\r\na\r\n0\r\n\r\n", 400),
    "a chunk size over 60 bits": (CHUNKED + b"\r\n" + b"f" * 16 + b"\r\na", 400),
    "a chunk that is longer than its size": (CHUNKED + b"\r\n1\r\nab\r\n0\r\n\r\n", 400),
    "a chunk that ends with a lone LF": (CHUNKED + b"\r\n1\r\na\n0\r\n\r\n", 400),
    "an extension over the bound": (CHUNKED + b"\r\n1;" + b"a" * MAX_LINE + b"\r\na\r\n0\r\n\r\n", 400),
    "an extension with a lone CR": (CHUNKED + b"\r\n1;a\rb\r\na\r\n0\r\n\r\n", 400),
    "trailers over the bound": (CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * MAX_LINE, 400),
    "a trailer that is no field": (CHUNKED + b"\r\n0\r\nX\r\n\r\n", 400),
    "a trailer that is folded": (CHUNKED + b"\r\n0\r\nX: a\r\n b\r\n\r\n", 400),
}


@pytest.mark.parametrize(("stream", "status"), MALFORMED.values(), ids=MALFORMED)
def test_both_servers_refuse_a_malformed_request_with_the_same_status_and_close(
    servers: Servers, stream: bytes, status: int
) -> None:
    """A request that follows it is not answered: it may be a part of the one that was refused."""
    followed = stream if stream == ASKING else stream + ASKING + b"\r\n"
    assert servers.outcomes(followed) == {"receive": Outcome([], status), "relay": Outcome([], status)}


@pytest.mark.parametrize("name", STRICTER)
def test_both_servers_are_stricter_than_h11_on_purpose(servers: Servers, name: str) -> None:
    refused = Outcome([], read(STRICTER[name][1]).refused)
    assert refused.refused >= 400
    assert servers.outcomes(STRICTER[name][1]) == {"receive": refused, "relay": refused}


WELL_FORMED = {
    "a list of connection options": (ASKING + b"Connection: x, Close\r\n\r\n" + ASKING, Seen(b"GET", b"/", b"a", b"")),
    "HTTP/1.0 without a Host": (b"GET / HTTP/1.0\r\n\r\n" + ASKING, Seen(b"GET", b"/", b"", b"")),
    "a target in absolute form": (b"GET http://b:1/c HTTP/1.1\r\nHost: a\r\n\r\n", Seen(b"GET", b"/c", b"b:1", b"")),
    "trailers": (CHUNKED + b"\r\n1\r\na\r\n0\r\nHost: b\r\nX: y\r\n\r\n", Seen(b"POST", b"/", b"a", b"a")),
    "an upgrade beside a length": (
        POSTING + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
        Seen(b"POST", b"/", b"a", b"hi"),
    ),
    "an upgrade beside chunks": (
        CHUNKED + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        Seen(b"POST", b"/", b"a", b"hi"),
    ),
}


@pytest.mark.parametrize(("stream", "seen"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_both_servers_take_what_the_rfcs_ask_them_to_take(servers: Servers, stream: bytes, seen: Seen) -> None:
    assert servers.outcomes(stream) == {"receive": Outcome([seen], 0), "relay": Outcome([seen], 0)}
