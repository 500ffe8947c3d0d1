"""The relay when something ends too early, or is not as it should be: nobody gets what is not his, nothing hangs."""

from __future__ import annotations

import asyncio

import pytest
from tests.process.relayed import Harm, relaying, scripted


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
