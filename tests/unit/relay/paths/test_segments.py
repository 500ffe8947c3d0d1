"""A body in segments: created, appended by offset, completed; and cancelled when its client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urljoin, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from tests.process.relayed import Relayed, relaying

from changeover.relay.outbound.handover import PLAIN_PATH


class Storing:
    """An upstream that speaks the protocol, as far as one client needs it, and records what it is asked."""

    def __init__(self, location: str = "/uploads/1?a=b") -> None:
        self.asked: list[str] = []
        self.fields: list[dict[str, str]] = []
        self.content = b""
        self._location = location

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            first, *lines = head.strip().splitlines()
            method, target, _ = first.split()
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            self.asked.append(f"{method} {target}")
            self.fields.append(fields)
            writer.write(self._respond(method, fields, body))

    def _respond(self, method: str, fields: dict[str, str], body: bytes) -> bytes:
        if method == "POST":
            return (
                f"HTTP/1.1 201 Created\r\nLocation: {self._location}\r\nUpload-Complete: ?0\r\n"
                "Upload-Offset: 0\r\nContent-Length: 0\r\n\r\n"
            ).encode()
        if method == "DELETE":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        self.content += body
        complete = fields.get("upload-complete") == "?1"
        status = "200 OK" if complete else "204 No Content"
        end = "Content-Length: 4\r\n\r\ndone" if complete else "\r\n"
        return (
            f"HTTP/1.1 {status}\r\nUpload-Complete: {'?1' if complete else '?0'}\r\n"
            f"Upload-Offset: {len(self.content)}\r\n{end}"
        ).encode()


def play(upstream: Storing, story: Callable[[Relayed], Awaitable[None]]) -> None:
    async def go() -> None:
        server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
        async with server, relaying(server.sockets[0].getsockname()[:2], segment_from=10, segment_size=20) as relayed:
            await story(relayed)

    asyncio.run(go())


def test_a_body_arrives_in_segments_and_the_upstreams_last_response_is_the_clients() -> None:
    upstream, body = Storing(), b"0123456789" * 10

    async def story(relayed: Relayed) -> None:
        async with relayed.client() as client:
            got = await client.post(body, Content_Type="text/plain", Authorization="Bearer a")
            assert (got.status, got.body) == (200, b"done")
            assert "upload-offset" not in got.headers
            assert "upload-complete" not in got.headers
        assert relayed.server.counters.segmented == 1
        assert relayed.server.counters.committed_bytes == len(body)

    play(upstream, story)
    assert upstream.content == body
    assert upstream.asked[0] == "POST /upload"
    assert set(upstream.asked[1:]) == {"PATCH /uploads/1?a=b"}


def test_the_creation_describes_the_body_and_each_segment_carries_what_authorises_it() -> None:
    upstream = Storing()

    async def story(relayed: Relayed) -> None:
        async with relayed.client() as client:
            await client.post(bytes(50), Content_Type="text/plain", Authorization="Bearer a")

    play(upstream, story)
    creation, *segments = upstream.fields
    described = {name: creation[name] for name in ("content-type", "upload-length", "content-length")}
    assert described == {"content-type": "text/plain", "upload-length": "50", "content-length": "0"}
    for segment in segments:
        assert segment["authorization"] == "Bearer a"
        assert segment["content-type"] == "application/partial-upload"


def test_the_host_of_the_location_does_not_lead_the_relay_elsewhere() -> None:
    upstream = Storing(location="https://elsewhere.invalid/uploads/2")

    async def story(relayed: Relayed) -> None:
        async with relayed.client() as client:
            assert (await client.post(bytes(50))).status == 200

    play(upstream, story)
    assert upstream.asked[-1] == "PATCH /uploads/2"


@given(st.from_regex(PLAIN_PATH, fullmatch=True), st.sampled_from(["/upload", "/upload?to=x", "//a/b/../c", "*"]))
def test_a_plain_path_is_what_parsing_and_joining_it_results_in(path: str, target: str) -> None:
    assert urlsplit(urljoin(target, path))._replace(scheme="", netloc="").geturl() == path


def test_a_location_with_dot_segments_is_joined_with_the_target_of_the_request() -> None:
    upstream = Storing(location="/uploads/../files/3")

    async def story(relayed: Relayed) -> None:
        async with relayed.client() as client:
            assert (await client.post(bytes(50))).status == 200

    play(upstream, story)
    assert upstream.asked[-1] == "PATCH /files/3"


def test_the_upload_of_a_client_that_is_gone_is_cancelled() -> None:
    upstream = Storing()

    async def story(relayed: Relayed) -> None:
        async with relayed.client() as client:
            await client.begin("POST", "/upload", content_length=100)
            await client.send(bytes(50))
            await relayed.until(lambda: len(upstream.content) >= 20)
            client.hang_up()
            await relayed.until(lambda: upstream.asked[-1] == "DELETE /uploads/1?a=b")
        assert relayed.server.counters.clients_disconnected == 1

    play(upstream, story)


def test_a_small_body_is_not_sent_in_segments() -> None:
    upstream = Storing()

    async def story(relayed: Relayed) -> None:
        async with relayed.client() as client:
            assert (await client.post(bytes(9))).status == 201
        assert relayed.server.counters.segmented == 0

    play(upstream, story)
    assert upstream.asked == ["POST /upload"]
