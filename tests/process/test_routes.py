"""What a real nginx does at a route: takes a body in or passes it on, sends again or does not, and refuses in words."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from tests.process.balanced import HOST, PATIENCE, started
from tests.unit.hops import contexts

from changeover.hops.nginx.hop import NginxHttp
from changeover.hops.nginx.settings import HttpSettings
from changeover.kit import sockets
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Address

BODY = os.urandom(3_000_000)
"""Half of it is more than nginx keeps in memory."""


class Behind:
    """The tier behind. It cuts the connections of the first `cuts` requests where an answer is due; then 200."""

    def __init__(self) -> None:
        self.cuts = 0
        self.asked: list[tuple[str, int]] = []
        """Method and length of the body of each request that came whole."""
        self.began = asyncio.Event()
        """A first byte of a body is here."""
        self.heads: list[Mapping[str, str]] = []
        """Headers of every request, by lower-case name, health checks too where the balancer in front sends some."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the last request. Only where nothing in front sends health checks."""
        return self.heads[-1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            self.heads.append(headers)
            if length := int(headers.get("content-length", 0)):
                await reader.readexactly(1)
                self.began.set()
                await reader.readexactly(length - 1)
            self.asked.append((line.split()[0], length))
            if len(self.asked) > self.cuts:
                # A connection that is kept and found broken does not count for nginx: it would try once more.
                await self.answer(line.split()[1], writer)

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@dataclass
class Edge:
    """An nginx, and a client for it."""

    at: Address
    behind: Behind
    folder: Path
    client: httpx.AsyncClient

    @property
    def on_disk(self) -> int:
        """Bytes of bodies. Their files have no names any more: nginx's worker alone still has them open."""
        master = (self.folder / "nginx.pid").read_text().strip()
        (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="utf-8").split()
        sizes = []
        for file in Path(f"/proc/{worker}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since
                if "/tmp-client_body/" in str(file.readlink()):
                    sizes.append(file.stat().st_size)
        return sum(sizes)

    @asynccontextmanager
    async def begun(self, path: str, size: int) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """A POST of BODY's beginning, of which half was sent: what is given sends the rest and returns the answer."""
        reader, writer = await asyncio.open_connection(self.at.host, self.at.port)
        head = f"POST {path} HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n"
        writer.write(head.encode() + BODY[: size // 2])
        await writer.drain()

        async def rest() -> bytes:
            writer.write(BODY[size // 2 : size])
            return await reader.read()

        try:
            yield rest
        finally:
            writer.close()


Story = Callable[[Edge], Awaitable[None]]


def run(
    folder: Path,
    story: Story,
    *routes: Mapping[str, Any],
    proxied: bool = False,
    behind: Behind | None = None,
    **more: Any,
) -> None:
    """`more`: of the launch context."""

    async def go(behind: Behind) -> None:
        server = await asyncio.start_server(behind.serve, HOST, 0)
        control = DirectClient()
        async with server, httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            port = sockets.free_port(HOST)
            instance = replace(contexts.instance(port=port, control=sockets.free_port(HOST, {port})), proxied=proxied)
            inner = replace(contexts.INNER, address=Address(*server.sockets[0].getsockname()[:2]))
            context = contexts.launch_context(
                instance=instance, behind=(inner,), lame_duck=str(folder / "lame-duck"), **more
            )
            hop = NginxHttp(control)
            settings = HttpSettings.model_validate({"routes": routes, "headers": {"X-Edge": "here"}})
            launch = hop.launch(settings, context)
            (folder / "nginx.conf").write_text(launch.files["nginx.conf"])
            async with started(folder, *launch.argv), asyncio.timeout(PATIENCE):
                while await hop.not_ready(instance):
                    await asyncio.sleep(0.02)
                await story(Edge(instance.address, behind, folder, client))

    asyncio.run(go(behind or Behind()))


BUFFERED = {"path": "/", "buffering": "buffer", "max_body": "4MB"}


# -- what is sent again ----------------------------------------------------------------------------------------------


TWICE = {**BUFFERED, "path": "/twice", "retries": "idempotent"}
NEVER = {**BUFFERED, "path": "/never", "retries": "none"}


def test_a_request_whose_connection_broke_is_sent_again_once_if_its_method_or_its_route_says_so(tmp_path: Path) -> None:
    cases = [
        # route, method, connections that break, status, times it was sent
        ("/stream", "GET", 1, 200, 2),
        ("/stream", "GET", 2, 502, 2),
        ("/stream", "POST", 1, 502, 1),
        ("/", "GET", 1, 200, 2),
        ("/", "POST", 1, 502, 1),
        ("/", "PATCH", 1, 502, 1),
        ("/", "PUT", 1, 200, 2),
        ("/twice", "POST", 1, 200, 2),
        ("/twice", "POST", 2, 502, 2),
        ("/never", "GET", 1, 502, 1),
        ("/never", "POST", 1, 502, 1),
    ]

    async def story(edge: Edge) -> None:
        for path, method, cuts, status, times in cases:
            body = b"" if method == "GET" else BODY
            edge.behind.cuts, edge.behind.asked = cuts, []
            answer = await edge.client.request(method, f"http://{edge.at}{path}", content=body)
            reported = answer.status_code, edge.behind.asked
            assert reported == (status, [(method, len(body))] * times), (path, method, cuts)

    run(tmp_path, story, {"path": "/stream"}, BUFFERED, TWICE, NEVER)


# -- where a body is meanwhile ---------------------------------------------------------------------------------------


def test_a_streamed_body_passes_on_its_first_byte_before_the_last_has_come(tmp_path: Path) -> None:
    async def story(edge: Edge) -> None:
        async with edge.begun("/", len(BODY)) as rest:
            await edge.behind.began.wait()
            assert edge.on_disk == 0
            assert b" 200 " in await rest()

    run(tmp_path, story, {"path": "/"})


def test_a_buffered_body_passes_on_nothing_before_the_last_byte_has_come(tmp_path: Path) -> None:
    async def story(edge: Edge) -> None:
        async with edge.begun("/", len(BODY)) as rest:
            while edge.on_disk == 0 and not edge.behind.began.is_set():
                await asyncio.sleep(0)
            assert not edge.behind.began.is_set()
            assert b" 200 " in await rest()
        assert edge.behind.asked == [("POST", len(BODY))]

    run(tmp_path, story, BUFFERED)


def test_a_body_that_is_too_large_is_refused_with_a_text_whether_its_length_is_sent_or_not(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield BODY

    async def story(edge: Edge) -> None:
        for content in (BODY, chunks()):
            answer = await edge.client.post(f"http://{edge.at}/", content=content)
            assert (answer.status_code, answer.text) == (413, "The body is too large: / accepts at most 1.0 MB.\n")
            assert answer.headers["x-edge"] == "here"
        assert edge.behind.asked == []

    run(tmp_path, story, {**BUFFERED, "max_body": "1MB"})


def test_requests_over_the_limit_of_a_buffered_route_get_503_and_other_routes_go_on(tmp_path: Path) -> None:
    async def story(edge: Edge) -> None:
        async with edge.begun("/upload", len(BODY)) as first, edge.begun("/upload", len(BODY)) as second:

            async def reported() -> httpx.Response:
                return await edge.client.post(f"http://{edge.at}/upload", content=BODY)

            while (answer := await reported()).status_code == 200:  # until both have begun
                pass
            given = "/upload has reached its limit of 2 requests at once. Try again in 5 s.\n"
            assert (answer.status_code, answer.text) == (503, given)
            assert (answer.headers["retry-after"], answer.headers["x-edge"]) == ("5", "here")
            assert (await edge.client.get(f"http://{edge.at}/")).status_code == 200
            while edge.on_disk < 2 * 1024**2:  # of each, what came after the first MiB or all of it
                await asyncio.sleep(0)
            assert edge.on_disk <= 2 * len(BODY)
            assert b" 200 " in await first()
            assert b" 200 " in await second()
        assert (await reported()).status_code == 200
        while edge.on_disk:
            await asyncio.sleep(0)

    run(tmp_path, story, {"path": "/"}, {**BUFFERED, "path": "/upload", "max_body": "3MB", "disk": "8MB"})


# -- who the client is -----------------------------------------------------------------------------------------------


def test_the_client_that_a_proxy_header_names_is_passed_on_and_one_that_names_itself_is_not(tmp_path: Path) -> None:
    async def story(edge: Edge) -> None:
        reader, writer = await asyncio.open_connection(edge.at.host, edge.at.port)
        with contextlib.closing(writer):
            head = b"GET / HTTP/1.1\r\nHost: edge\r\nX-Forwarded-For: 10.9.9.9\r\nConnection: close\r\n\r\n"
            writer.write(b"PROXY TCP4 10.1.2.3 127.0.0.1 4711 443\r\n" + head)
            assert b" 200 " in await reader.read()
        assert edge.behind.headers["x-forwarded-for"] == "10.1.2.3"

    run(tmp_path, story, {"path": "/"}, proxied=True)
