"""The relay's server: it reports what is in flight, accepts what waits in the queue before it leaves, and then ends."""

from __future__ import annotations

import asyncio
import socket

from tests.process.relayed import PATIENCE, Relayed, relaying

SILENT = b""


async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers each request once the whole body of five bytes is there."""
    while await reader.readuntil(b"\r\n\r\n"):
        await reader.readexactly(5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def served(relayed: Relayed) -> None:
    async with relayed.client() as client:
        await client.begin("POST", "/plain", content_length=5)
        await client.send(b"he")
        await relayed.until(lambda: relayed.server.in_flight()["uploads"])
        (upload,) = relayed.server.in_flight()["uploads"]
        assert (upload["expected"], upload["committed"]) == (5, None)
        await client.send(b"llo")
        assert (await client.got()).body == b"ok"
        await relayed.until(lambda: relayed.server.in_flight()["requests"] == 0)
        assert relayed.server.in_flight() == {"requests": 0, "connections": 1, "uploads": []}
        assert relayed.server.counters.requests == 1


def test_a_request_is_in_flight_until_its_response_is_sent() -> None:
    async def go() -> None:
        server = await asyncio.start_server(upstream, "127.0.0.1", 0)
        async with server, relaying(server.sockets[0].getsockname()[:2]) as relayed:
            await served(relayed)

    asyncio.run(go())


def test_a_leaving_relay_answers_who_waits_in_its_queue_and_closes_each_connection() -> None:
    async def go() -> None:
        server = await asyncio.start_server(upstream, "127.0.0.1", 0)
        async with server, relaying(server.sockets[0].getsockname()[:2]) as relayed:
            with socket.create_connection(relayed.address, timeout=PATIENCE) as queued:  # not accepted yet
                relayed.server.leave()
                assert relayed.server.listeners == []
                queued.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(queued, b"POST /plain HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
                received = b""
                async with asyncio.timeout(PATIENCE):
                    while piece := await loop.sock_recv(queued, 1000):
                        received += piece
        assert received.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in received

    asyncio.run(go())
