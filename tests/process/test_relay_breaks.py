"""The relay when something ends too early, or is not as it should be: nobody gets what is not his, nothing hangs."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.process.relayed import PATIENCE, Harm, relaying, request, scripted, storing

from changeover.relay.config import Pooling, RelayTiming
from changeover.relay.io.body_buffer import BodyBuffer, BufferBudget
from changeover.relay.io.epoll import Channel, Epoll, Waker
from changeover.relay.io.pipes import Pipes

MB = 1_000_000


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        _, _, body = await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def test_after_an_early_answer_nobodys_request_becomes_the_rest_of_that_body() -> None:
    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As real servers do: the rest of the body is read, and then the next request."""
        while head := await reader.readuntil(b"\r\n\r\n"):
            if head.startswith(b"POST"):
                writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
                await reader.readexactly(100_000)
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def go() -> None:
        async with scripted(early) as where, relaying(where) as relayed:
            async with relayed.client() as first, relayed.client() as second:
                await first.begin("POST", "/other", content_length=100_000)
                await first.send(b"only the beginning")
                assert (await first.got()).status == 401
                await second.begin("GET", "/")
                assert (await second.got()).status == 200
            assert relayed.toxic.connections == 2

    asyncio.run(go())


@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
def test_what_follows_an_answer_without_content_is_given_to_nobody(status: bytes) -> None:
    async def talkative(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            forged = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nForged: yes\r\n\r\n"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(forged), forged))

    async def go() -> None:
        async with scripted(talkative) as where, relaying(where) as relayed, relayed.client() as client:
            for asked in (1, 2):
                await client.begin("HEAD", "/")
                status_seen, headers = await client.head()
                assert (status_seen, "forged" in headers) == (int(status[:3]), False)
                assert relayed.toxic.connections == asked

    asyncio.run(go())


def test_an_answer_until_the_end_of_the_connection_does_not_look_whole_when_it_was_cut() -> None:
    async def long(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1000))
        writer.close()

    async def go() -> None:
        plan = [None, Harm(outward=500)]
        async with scripted(long) as where, relaying(where, plan.__getitem__) as relayed:
            async with relayed.client() as whole:
                await whole.begin("GET", "/")
                assert (await whole.rest()).endswith(b"\r\n\r\n" + bytes(1000))
            async with relayed.client() as cut:
                await cut.begin("GET", "/")
                with pytest.raises(ConnectionResetError):
                    await cut.rest()

    asyncio.run(go())


def test_a_client_of_http_1_0_that_asks_for_it_hears_that_its_connection_stays() -> None:
    async def go() -> None:
        async with scripted(echo) as where, relaying(where) as relayed, relayed.client() as client:
            for _ in range(2):
                await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert (await client.got()).headers["connection"] == "keep-alive"

    asyncio.run(go())


# -- clients and applications that stand still -----------------------------------------------------------------------


def test_a_client_that_stops_in_the_midst_of_what_is_streamed_is_the_one_who_is_told_so() -> None:
    async def go() -> None:
        async with (
            scripted(echo) as where,
            relaying(where, timing=RelayTiming(body=0.3)) as relayed,
            relayed.client() as client,
        ):
            await client.begin("PUT", "/other", content_length=1000)
            await client.send(b"only the beginning")
            assert (await client.got()).status == 408
            assert relayed.server.counters.replayed == 0

    asyncio.run(go())


def test_an_instance_that_stands_still_is_left_however_slowly_the_client_goes_on(tmp_path: Path) -> None:
    async def go() -> None:
        body = os.urandom(5 * MB)
        stalled = {0: Harm(inward=10_000, stalls=True)}
        async with storing(tmp_path, stalled.get, timing=RelayTiming(body=1.0)) as relayed, relayed.client() as client:
            await client.begin("POST", "/upload", content_length=len(body))
            await client.send(body[: (at := 1_200_000)])
            async with asyncio.timeout(PATIENCE):
                while not relayed.server.counters.resumed:
                    await client.send(body[at : at + 1])
                    at += 1
                    await asyncio.sleep(0.01)
            await client.send(body[at:])
            assert (await client.got()).status == 201
            assert [content for _, content in relayed.finished] == [body]

    asyncio.run(go())


# -- no room ---------------------------------------------------------------------------------------------------------


def test_small_uploads_that_fill_all_room_together_still_come_to_an_end(tmp_path: Path) -> None:
    async def go() -> None:
        body = os.urandom(60_000)
        async with storing(tmp_path, budget=100_000) as relayed, relayed.client() as one, relayed.client() as other:
            for client in (one, other):
                await client.begin("POST", "/upload", content_length=len(body))
                await client.send(body[:50_000])

            def received() -> int:
                return sum(upload["received"] for upload in relayed.server.in_flight()["uploads"])

            await relayed.until(lambda: relayed.finished or received() == 100_000)
            for client in (one, other):
                await client.send(body[50_000:])
            assert [(await client.got()).status for client in (one, other)] == [201, 201]

    asyncio.run(go())


def test_an_upload_without_room_waits_and_does_not_send_nothing(tmp_path: Path) -> None:
    """Appends that carry nothing get nowhere, which would count against the patience with what is behind."""

    async def go() -> None:
        body = os.urandom(MB)
        stalled = {0: Harm(inward=20_000, stalls=True)}
        told: dict[str, Any] = {"budget": 100_000, "timing": RelayTiming(body=1.0)}
        async with storing(tmp_path, stalled.get, **told) as relayed, relayed.client() as one, relayed.client() as two:
            await one.begin("POST", "/upload", content_length=len(body))
            sending = asyncio.ensure_future(one.send(body))
            await relayed.until(lambda: relayed.server.relay.budget.held == 100_000)
            assert (await two.post(body)).status == 201
            await sending
            assert (await one.got()).status == 201
            assert relayed.server.counters.resumed <= 2

    asyncio.run(go())


# -- answers about uploads that make no sense ------------------------------------------------------------------------


@pytest.mark.parametrize("place", [b"http://there", b"/there#1"])
def test_an_upload_at_a_place_that_cannot_be_asked_for_is_given_up_at_once(place: bytes) -> None:
    async def begun(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            answer = b"HTTP/1.1 201 Created\r\nLocation: %b\r\nUpload-Complete: ?0\r\nContent-Length: 0\r\n\r\n"
            writer.write(answer % place)

    async def go() -> None:
        pooling = Pooling(life=0)
        async with scripted(begun) as where, relaying(where, pooling=pooling) as relayed, relayed.client() as client:
            assert (await client.post(bytes(MB))).status == 502
            assert relayed.toxic.connections == 1
            await relayed.until(lambda: not relayed.toxic.open)

    asyncio.run(go())


# -- descriptors -----------------------------------------------------------------------------------------------------


async def receive_into_another_pipe(buffer: BodyBuffer, channel: Channel) -> None:
    """Until the end of the connection."""
    async with asyncio.timeout(PATIENCE):
        while buffer.receive(channel, MB) != 0:
            buffer.segment(100 * MB)  # nothing is added any more to what is there
            await asyncio.sleep(0)  # the kernel's word of the reset has to be heard


def test_a_client_that_is_reset_while_its_bytes_go_into_a_pipe_leaves_no_pipe_behind() -> None:
    async def go() -> None:
        epoll, pipes = Epoll(), Pipes()
        buffer = BodyBuffer(pipes, BufferBudget(100 * MB, MB, 100 * MB))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            sender = socket.create_connection(listener.getsockname())
            channel = epoll.channel(listener.accept()[0], Waker())
        sending = asyncio.ensure_future(asyncio.to_thread(sender.sendall, bytes(8 * MB)))
        while not pipes.open:
            buffer.receive(channel, MB)
            await asyncio.sleep(0)
        while not sending.done():
            buffer.segment(100 * MB)  # sealed: the next bytes need another pipe
            buffer.receive(channel, MB)
            await asyncio.sleep(0)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sender.close()
        with pytest.raises(ConnectionError):
            await receive_into_another_pipe(buffer, channel)
        buffer.close()
        kept_for_the_next_ones = len(pipes._idle)
        assert pipes.open == kept_for_the_next_ones
        pipes.close()
        channel.close()
        epoll.close()

    asyncio.run(go())


def test_without_descriptors_a_relay_waits_for_some_and_then_takes_who_came(capfd: pytest.CaptureFixture[str]) -> None:
    async def go() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with scripted(echo) as where, relaying(where) as relayed:
            with socket.socket() as waiting:
                lowest_free = os.dup(0)
                os.close(lowest_free)
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
                try:
                    waiting.connect(relayed.address)
                    for _ in range(200):  # turns of the loop, each of which finds a connection to be taken
                        await asyncio.sleep(0)
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                assert capfd.readouterr().err.count("could not be accepted") < 10
                await relayed.until(lambda: relayed.server.in_flight()["connections"] == 1)

    asyncio.run(go())
