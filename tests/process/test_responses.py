"""How a real nginx passes responses on: as they come, with large heads, and never by way of its disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.process.test_routes import Behind, Edge, run

LARGE = 30_000_000
COOKIE = "c" * 7_000
WITH_BUFFERING = "X-Accel-Buffering: yes\r\n"


class Responding(Behind):
    """/large: more than any buffer holds; /events: one event, and the next when it is let go; /cookie: a large head."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.let_go = asyncio.Event()

    async def answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
        match path:
            case "/large" | "/large-buffered":
                more = WITH_BUFFERING if path == "/large-buffered" else ""
                writer.write(f"{head}{more}Content-Length: {LARGE}\r\n\r\n".encode())
                with contextlib.suppress(ConnectionError):
                    while self.sent < LARGE:
                        writer.write(bytes(100_000))
                        await writer.drain()
                        self.sent += 100_000
            case "/events":
                writer.write(f"{head}Content-Type: text/event-stream\r\n\r\ndata: 1\n\n".encode())
                await self.let_go.wait()
                writer.write(b"data: 2\n\n")
            case _:
                writer.write(f"{head}Set-Cookie: a={COOKIE}\r\nContent-Length: 2\r\n\r\nok".encode())


@asynccontextmanager
async def asked(edge: Edge, head: str, *, receives: int = 2**16) -> AsyncIterator[asyncio.StreamReader]:
    reader, writer = await asyncio.open_connection(edge.at.host, edge.at.port, limit=receives)
    writer.write(f"{head}\r\n\r\n".encode())
    try:
        yield reader
    finally:
        writer.transport.abort()


def spooled(edge: Edge) -> int:
    """Bytes of the files in nginx's folders of temporary files, named or not."""
    master = (edge.folder / "nginx.pid").read_text().strip()
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="utf-8").split()
    found = 0
    for file in Path(f"/proc/{worker}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += file.stat().st_size if "/tmp-proxy/" in str(file.readlink()) else 0
    return found


def test_what_a_slow_client_has_not_taken_is_not_stored_on_disk(tmp_path: Path) -> None:
    behind = Responding()

    async def story(edge: Edge) -> None:
        for path in ("/large", "/large-buffered"):
            behind.sent = before = 0
            async with asked(edge, f"GET {path} HTTP/1.1\r\nHost: edge", receives=1000) as reader:
                await reader.readuntil(b"\r\n\r\n")
                while behind.sent == 0 or behind.sent > before:  # until it is held up
                    before = behind.sent
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.3):
                            while behind.sent == before:
                                await asyncio.sleep(0)
                assert behind.sent < LARGE - 5_000_000, path
                assert spooled(edge) == 0, path

    run(tmp_path, story, {"path": "/"}, behind=behind)


def test_an_event_arrives_before_the_next_is_sent(tmp_path: Path) -> None:
    behind = Responding()

    async def story(edge: Edge) -> None:
        async with asked(edge, "GET /events HTTP/1.1\r\nHost: edge") as reader:
            await reader.readuntil(b"data: 1\n\n")
            behind.let_go.set()
            await reader.readuntil(b"data: 2\n\n")

    run(tmp_path, story, {"path": "/"}, behind=behind)


def test_a_client_gets_no_answer_from_the_control_paths_of_the_tiers_behind(tmp_path: Path) -> None:
    behind = Responding()

    async def story(edge: Edge) -> None:
        for path in ("/readyz", "/readyz?a=b", "//readyz", "/%72eadyz", "/x/../readyz"):
            async with asked(edge, f"GET {path} HTTP/1.1\r\nHost: edge") as reader:
                assert (await reader.readline()).split()[1] == b"404", path
        assert behind.asked == []
        for path in ("/readyz/x", "/readyzz", "/inflight"):
            assert (await edge.client.get(f"http://{edge.at}{path}")).status_code == 200, path

    routes = {"path": "/"}, {"path": "/inflight"}
    run(tmp_path, story, *routes, behind=behind, hidden_paths=("/inflight", "/readyz"))


def test_a_large_cookie_passes_both_ways(tmp_path: Path) -> None:
    behind = Responding()

    async def story(edge: Edge) -> None:
        first = await edge.client.get(f"http://{edge.at}/")
        assert (first.status_code, first.cookies["a"]) == (200, COOKIE)
        assert (await edge.client.get(f"http://{edge.at}/", headers={"Cookie": f"a={COOKIE}; b={COOKIE}"})).is_success
        assert len(behind.headers["cookie"]) > 14_000

    run(tmp_path, story, {"path": "/"}, behind=behind)


def test_http_1_0_without_a_host_is_passed_on_with_the_address_of_the_listener(tmp_path: Path) -> None:
    behind = Responding()

    async def story(edge: Edge) -> None:
        async with asked(edge, "GET / HTTP/1.0") as reader:
            assert (await reader.readline()).split()[1] == b"200"
        assert behind.headers["host"] == str(edge.at)
        async with asked(edge, "GET / HTTP/1.0\r\nHost: named") as reader:
            await reader.readline()
        assert behind.headers["host"] == "named"

    run(tmp_path, story, {"path": "/"}, behind=behind)
