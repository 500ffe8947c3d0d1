"""Small requests, handled without a task: the same bytes to both sides as by a task, whatever either side does."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from tests.process.relayed import Client, Got, Relayed, relaying
from tests.unit.http1.reading import Seen, _Reader, cuts, pieces_of, streams
from tests.unit.http1.test_head import REFUSED, STARTS

from changeover.relay.config import RelayTiming, RoutePattern
from changeover.relay.paths import small
from changeover.relay.paths.request import CONTINUE
from changeover.relay.paths.small import WHOLE, SmallRequests
from changeover.relay.process.client_connection import ClientConnection
from changeover.relay.process.server import BUFFER

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WARM = b"GET /warm HTTP/1.1\r\nHost: a\r\n\r\n"
"""The first request of a connection: its task handles it, and leaves an idle connection to the upstream."""
GET = b"GET /x?y=1 HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nX-Two: 1\r\nx-two: 2\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
PUT = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
HEAD = b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
PAUSE, CLOSE, RESET = "pause", "close", "reset"


class Upstream:
    """Does the next of `reactions` after each request: bytes are sent, and a word says what else happens."""

    def __init__(self, *reactions: tuple[bytes | str, ...]) -> None:
        self.received: list[bytes] = []
        self.answers = asyncio.Event()
        """Set it for requests without a reaction of their own to be answered."""
        self.ended = asyncio.Event()
        """A connection of the relay has ended."""
        self._reactions = iter(((OK,), *reactions))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lower = head.lower()
                size = int(lower.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
                self.received.append(head + await reader.readexactly(size))
                reaction = next(self._reactions, None)
                if reaction is None:
                    ended = asyncio.ensure_future(reader.read(1))
                    answers = asyncio.ensure_future(self.answers.wait())
                    await asyncio.wait([ended, answers], return_when=asyncio.FIRST_COMPLETED)
                    if ended.done():
                        answers.cancel()
                        break
                    ended.cancel()
                    await asyncio.wait([ended])
                    reaction = (OK,)
                for each in reaction:
                    if each == PAUSE:
                        await asyncio.sleep(0.02)  # the pieces are to arrive apart; what is asserted does not need it
                    elif each == CLOSE:
                        writer.close()
                        return
                    elif each == RESET:
                        writer.transport.abort()
                        return
                    elif isinstance(each, bytes):
                        writer.write(each)
        self.ended.set()


@contextlib.asynccontextmanager
async def scene(upstream: Upstream, **config: Any) -> AsyncIterator[tuple[Relayed, Client]]:
    """A client whose connection to the relay has carried one request."""
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    where = server.sockets[0].getsockname()[:2]
    async with server, relaying(where, via=b"1.1 changeover-x", **config) as relayed:
        relayed.server.listeners[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # as its process does
        async with _warm(relayed) as client:
            upstream.received.clear()
            yield relayed, client


@contextlib.asynccontextmanager
async def _warm(relayed: Relayed) -> AsyncIterator[Client]:
    async with relayed.client() as client:
        await client.send(WARM)
        assert (await client.got()).status == 200
        yield client


@dataclass(frozen=True)
class Outcome:
    """What both sides saw, and what the relay counted."""

    got: Got
    rest: bytes
    received: list[bytes]
    counted: dict[str, int]


async def outcome(data: bytes, *reactions: tuple[bytes | str, ...]) -> Outcome:
    upstream = Upstream(*reactions)
    async with scene(upstream) as (relayed, client):
        await client.send(data)
        status, headers = await client.head()
        client.half_close()
        rest = await client.rest()
        counted = asdict(relayed.server.counters)
        return Outcome(Got(status, headers, b""), rest, upstream.received, counted)


def by_both(monkeypatch: pytest.MonkeyPatch, data: bytes, *reactions: tuple[bytes | str, ...]) -> Outcome:
    """The outcome, which must be the same with a task."""
    fast = asyncio.run(outcome(data, *reactions))
    with monkeypatch.context() as patch:
        patch.setattr(SmallRequests, "send", _leave_to_task)
        assert asyncio.run(outcome(data, *reactions)) == fast
    return fast


def _leave_to_task(self: SmallRequests, data: bytes) -> bool:
    self._data = data
    return False


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets of the requests that a task handles."""
    targets: list[bytes] = []
    answer = ClientConnection._answer

    async def seen(self: ClientConnection, head: Any, *more: Any) -> bool:
        targets.append(head.target)
        return await answer(self, head, *more)

    monkeypatch.setattr(ClientConnection, "_answer", seen)
    return targets


@pytest.mark.parametrize(
    ("data", "response"), [(GET, OK), (POST, OK), (PUT, OK), (HEAD, OK[:-2]), (GET, CHUNKS), (POST, CHUNKS)]
)
def test_a_small_request_needs_no_task(data: bytes, response: bytes, tasks: list[bytes]) -> None:
    seen = asyncio.run(outcome(data, (response,)))
    assert (seen.got.status, tasks) == (200, [b"/warm"])
    assert (seen.counted["requests"], seen.counted["streamed"]) == (2, 2)
    assert seen.counted["received_bytes"] == (5 if b"hello" in data else 0)
    assert len(seen.received) == 1


@pytest.mark.parametrize("size", [70_000, WHOLE])
def test_a_body_of_several_reads_needs_no_task_if_all_of_it_is_here(size: int, tasks: list[bytes]) -> None:
    body = os.urandom(size)

    async def go() -> None:
        upstream = Upstream((OK,))
        async with scene(upstream) as (relayed, client):
            client.send_at_once(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body)
            assert (await client.got()).body == b"ok"
            assert (relayed.server.counters.received_bytes, relayed.server.relay.budget.held) == (size, 0)
        assert [each.partition(b"\r\n\r\n")[2] for each in upstream.received] == [body]

    asyncio.run(go())
    assert tasks == [b"/warm"]


@pytest.mark.parametrize(
    ("path", "size"),
    [(b"/x", WHOLE + 1), (b"/upload", 70_000), (b"/x?incomplete", 70_000)],
    ids=["large", "route", "rest"],
)
def test_a_body_that_is_not_here_whole_or_is_for_segments_is_left_to_the_task(
    path: bytes, size: int, tasks: list[bytes]
) -> None:
    body = os.urandom(size)
    head = b"PUT %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path, size)

    async def go() -> None:
        upstream = Upstream((OK,))
        segmented = (RoutePattern(b"PUT", b"/upload"),)
        async with scene(upstream, segmented=segmented) as (relayed, client):
            part = size // 2 if b"?" in path else size
            client.send_at_once(head + body[:part])
            await relayed.until(lambda: tasks[-1] == path)
            await client.send(body[part:])
            await client.got()
            assert relayed.server.counters.segmented == (path == b"/upload")

    asyncio.run(go())


def test_the_bytes_of_a_small_request_count_until_its_response(tasks: list[bytes]) -> None:
    data = b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + bytes(90_000)

    async def go() -> None:
        upstream = Upstream()
        async with scene(upstream, budget=100_000) as (relayed, client), relayed.client() as other:
            budget = relayed.server.relay.budget
            client.send_at_once(data)
            await relayed.until(lambda: len(upstream.received) == 1)
            assert (budget.held, tasks) == (90_000, [b"/warm"])
            other.send_at_once(data)  # no room for it: the task sends what there is room for
            await relayed.until(lambda: tasks == [b"/warm", b"/x"])
            upstream.answers.set()
            assert [(await each.got()).status for each in (client, other)] == [200, 200]
            await relayed.until(lambda: budget.held == 0)

    asyncio.run(go())


def test_requests_in_a_row_need_no_task_and_reuse_one_connection(tasks: list[bytes]) -> None:
    async def go() -> None:
        async with scene(Upstream(*[(OK,)] * 20)) as (relayed, client):
            for _ in range(20):
                await client.send(POST)
                assert (await client.got()).body == b"ok"
            assert tasks == [b"/warm"]
            assert relayed.toxic.connections == 1

    asyncio.run(go())


@pytest.mark.parametrize("line", [line for line, _ in REFUSED.values()], ids=[*REFUSED])
def test_an_ambiguous_head_gets_the_same_refusal_and_nothing_reaches_the_upstream(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"POST /x HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\nhello"
    seen = by_both(monkeypatch, data)
    assert (seen.got.status, seen.got.headers["connection"], seen.received) == (400, "close", [])


@pytest.mark.parametrize(
    ("start", "status"),
    [each for name, each in STARTS.items() if "empty line" not in name],
    ids=[name for name in STARTS if "empty line" not in name],
)
def test_a_request_line_that_asks_for_nothing_here_gets_the_same_refusal(
    start: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = by_both(monkeypatch, start + b"\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
    assert (seen.got.status, seen.received) == (status, [])


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: a\r\nVia: %b\r\n\r\n" % b", ".join([b"1.1 changeover-a"] * 8), 508),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_the_relay_answers_itself_is_the_same(data: bytes, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = by_both(monkeypatch, data)
    assert (seen.got.status, seen.received) == (status, [])


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n" + GET,
        b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: X-Own\r\nX-Own: 1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        b"GET /x HTTP/1.0\r\n\r\n",
        GET + POST,
        POST + b"nonsense\r\n\r\n",
    ],
)
def test_requests_of_every_form_arrive_the_same(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = by_both(monkeypatch, data, (OK,), (OK,))
    assert seen.got.status == 200
    assert seen.received


@pytest.mark.parametrize(
    "reaction",
    [
        (CHUNKS,),
        (CHUNKS + b"more",),
        (CHUNKS[:-3], PAUSE, CHUNKS[-3:]),
        (CHUNKS[:-2] + b"X: trailer\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", CLOSE),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", OK),
        (b"HTTP/1.1 100 Continue\r\n\r\n", PAUSE, OK),
        (OK[:20], PAUSE, OK[20:]),
        (OK[:-1], PAUSE, OK[-1:]),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300_000),),
        (b"HTTP/1.1 204 No Content\r\n\r\n",),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", CLOSE),
        (b"HTTP/1.1 200 OK\r\nKeep-Alive: x\r\nTrailer: y\r\nX: a\r\nX: b\r\nContent-Length: 2\r\n\r\nok",),
        (OK + b"more",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",),
        (b"nonsense\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, CLOSE),
        (CLOSE,),
        (RESET,),
        (b"HTTP/1.1 200", CLOSE),
    ],
)
@pytest.mark.parametrize("data", [POST, PUT])
def test_whatever_the_upstream_does_the_client_sees_the_same(
    data: bytes, reaction: tuple[bytes | str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = by_both(monkeypatch, data, reaction, (OK,))
    assert len(seen.received) == 1 + seen.counted["replayed"]
    if data is POST:
        assert seen.counted["replayed"] == 0


def test_a_request_whose_response_takes_long_is_in_flight_and_leaves_to_its_task(tasks: list[bytes]) -> None:
    async def go() -> None:
        upstream = Upstream()
        async with scene(upstream, timing=RelayTiming(sweep=0.01)) as (relayed, client):
            await client.send(POST)
            await relayed.until(lambda: upstream.received)
            await relayed.until(lambda: relayed.server.in_flight()["requests"] == 1)
            (upload,) = relayed.server.in_flight()["uploads"]
            assert (upload["received"], upload["expected"], upload["held"]) == (5, 5, 0)
            await relayed.until(lambda: tasks == [b"/warm", b"/x"])
            assert relayed.server.in_flight()["requests"] == 1
            upstream.answers.set()
            assert (await client.got()).body == b"ok"
            await relayed.until(lambda: relayed.server.in_flight()["requests"] == 0)
            assert len(upstream.received) == 1

    asyncio.run(go())


def test_a_request_in_flight_without_its_task_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        upstream = Upstream()
        async with scene(upstream, timing=RelayTiming(sweep=600.0)) as (relayed, client):
            await client.send(POST)
            await relayed.until(lambda: upstream.received)
            (upload,) = relayed.server.in_flight()["uploads"]
            assert (upload["received"], upload["expected"], upload["committed"], upload["held"]) == (5, 5, None, 0)
            relayed.server.leave()
            upstream.answers.set()
            assert (await client.got()).headers["connection"] == "close"

    asyncio.run(go())


def test_an_upstream_that_stays_silent_is_given_up() -> None:
    async def go() -> None:
        timing = RelayTiming(body=0.05, sweep=0.01)
        async with scene(Upstream(), timing=timing) as (_, client):
            await client.send(POST)
            assert (await client.got()).status == 504

    asyncio.run(go())


def test_a_client_that_leaves_ends_its_request() -> None:
    async def go() -> None:
        upstream = Upstream()
        async with scene(upstream, timing=RelayTiming(sweep=0.01)) as (relayed, client):
            await client.send(POST)
            await relayed.until(lambda: upstream.received)
            client.hang_up()
            async with asyncio.timeout(40):
                await upstream.ended.wait()
            await relayed.until(lambda: relayed.server.in_flight()["connections"] == 0)
            assert relayed.server.counters.clients_disconnected == 1

    asyncio.run(go())


def test_a_request_that_arrives_before_the_response_to_the_last_is_next(tasks: list[bytes]) -> None:
    async def go() -> None:
        upstream = Upstream()
        async with scene(upstream, timing=RelayTiming(sweep=600.0)) as (relayed, client):
            await client.send(POST)
            await relayed.until(lambda: upstream.received)
            await client.send(GET)
            upstream.answers.set()
            assert [(await client.got()).body for _ in range(2)] == [b"ok"] * 2
            assert [each.split()[0] for each in upstream.received] == [b"POST", b"GET"]
            assert tasks == [b"/warm"]

    asyncio.run(go())


def test_a_client_that_reads_slowly_gets_the_whole_response() -> None:
    async def go() -> None:
        body = bytes(range(256)) * 200
        response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        async with scene(Upstream((response,))) as (relayed, client):
            (connection,) = relayed.server._clients
            connection._channel.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # takes a part at a time
            await client.send(POST)
            assert (await client.got()).body == body
            assert relayed.server.counters.streamed == 2

    asyncio.run(go())


def test_an_error_ends_one_connection_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        errors: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
        async with scene(Upstream()) as (relayed, client), relayed.client() as other:
            with monkeypatch.context() as patch:
                patch.setattr(small, "head_for_upstream", lambda *_: 1 / 0)
                await client.send(GET)
                assert await client.is_closed()
            assert [type(error) for error in errors] == [ZeroDivisionError]
            await other.send(b"GET / HTTP/1.1\r\nHost: a\r\nVia: %b\r\n\r\n" % b", ".join([b"1.1 changeover-a"] * 8))
            assert (await other.got()).status == 508

    asyncio.run(go())


async def answered(stream: bytes, at: list[int]) -> tuple[bytes, list[Seen]]:
    """What a client of a warm connection gets for that stream, cut at these places, and what arrives upstream."""
    arrived: list[Seen] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reading = _Reader()
        while data := await reader.read(65536):
            reading.feed(data)
            for _ in reading.reading.requests:
                writer.write(OK)
            arrived.extend(reading.reading.requests)
            reading.reading.requests.clear()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, relaying(server.sockets[0].getsockname()[:2]) as relayed, relayed.client() as client:
        await client.send(WARM)
        assert (await client.got()).body == b"ok"
        for piece in pieces_of(stream, at):
            with contextlib.suppress(ConnectionError):
                await client.send(piece)
                await asyncio.sleep(0)
        with contextlib.suppress(OSError):
            client.half_close()
        try:
            got = await client.rest()
            return got.replace(CONTINUE, b""), arrived  # of the client's end the relay may hear before the response
        except ConnectionError:
            return b"reset", arrived


@settings(max_examples=40, deadline=None)
@given(streams(), cuts)
def test_a_stream_of_requests_gets_the_same_responses_however_it_is_cut(stream: bytes, at: list[int]) -> None:
    fast = asyncio.run(answered(stream, at))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SmallRequests, "start", lambda *_: None)
        assert asyncio.run(answered(stream, at)) == fast
