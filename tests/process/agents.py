"""A real agent beside real software, a client for it, and a metadata server that holds requests as Google's does."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.process.balanced import HOST, PATIENCE, started

from changeover.agent.config import CONFIG
from changeover.kit import sockets, tcp
from changeover.kit.direct_http import DirectClient, DirectResponse

TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class RunningAgent:
    port: int
    log: Path
    lame_duck_file: Path
    client: DirectClient = field(default_factory=lambda: DirectClient(10.0))

    async def ask(self, method: str, path: str, document: Any = None, token: str = TOKEN) -> DirectResponse:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.request(method, f"http://{HOST}:{self.port}{path}", headers=headers, json=document)

    async def ready(self) -> str:
        """`ready`, or the reason against it. As a health check asks: without a token."""
        response = await self.ask("GET", "/readyz", token="")
        assert (response.status_code == 200) is response.json()["ready"]
        return "ready" if response.status_code == 200 else str(response.json()["reason"])

    async def until_ready(self) -> None:
        await self.until(lambda status: bool(status["ready"]))

    async def until(self, holds: Any) -> dict[str, Any]:
        """The first status of which this is true."""
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    status = await self.status()
                    if holds(status):
                        return status
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(status) from None

    async def status(self) -> dict[str, Any]:
        response = await self.ask("GET", "/v1/status")
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json()
        return found

    async def put(self, path: str, text: str) -> DirectResponse:
        return await self.ask("PUT", path, json.loads(text))

    async def confirmed(self, tier: str) -> Any:
        """What Envoy does with the members of the tier behind it."""
        return (await self.ask("GET", f"/v1/members/{tier}")).json()["members"]

    async def lame_duck(self, on: bool) -> DirectResponse:
        return await self.ask("PUT", "/v1/lame-duck", {"on": on})


@asynccontextmanager
async def agent(folder: Path, *, metadata: str = "", **config: Any) -> AsyncIterator[RunningAgent]:
    """`metadata`: the address of a metadata server; empty: none is asked."""
    folder.mkdir(exist_ok=True)
    port = sockets.free_port(HOST)
    token = folder / "token"
    token.write_text(TOKEN)
    options = {
        "listen": f"{HOST}:{port}",
        "name": "vm-1",
        "token_file": str(token),
        "lame_duck_file": str(folder / "lame-duck"),
        "metadata": bool(metadata),
        **config,
    }
    environment = [f"GCE_METADATA_HOST={metadata}"] if metadata else []
    command = ["env", f"{CONFIG}={json.dumps(options)}", *environment, sys.executable, "-m", "changeover.agent"]
    async with started(folder, *command):
        running = RunningAgent(port, folder / "log", Path(str(options["lame_duck_file"])))
        async with asyncio.timeout(PATIENCE):
            while "listening on" not in running.log.read_text():
                assert "error:" not in running.log.read_text(), running.log.read_text()
                await asyncio.sleep(0.01)
        yield running


def pids_at(port: int) -> list[int]:
    """The processes that listen at a port."""
    inodes = tcp.listeners(port)
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if not inodes.isdisjoint(tcp.inodes_of([pid]) or ())]


class MetadataServer:
    """Keys below instance/; a request with `wait_for_change` and the last ETag is held until the key changes."""

    def __init__(self) -> None:
        self.values = {"preempted": "FALSE", "maintenance-event": "NONE"}
        self.asked: list[str] = []
        self.flavor = True
        """Whether it says that it is Google's."""
        self.status = ""
        """Answer every request with this instead, such as `503 Service Unavailable`."""
        self.silent = False
        """Accept requests and never answer one."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Condition()
        self._version = 1

    async def set(self, key: str, value: str | None) -> None:
        async with self._changed:
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = value
            self._version += 1
            self._changed.notify_all()

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """While it runs; at its end it resets the requests that it holds, as a server that fails does."""
        server = await asyncio.start_server(self._serve, HOST, port)
        async with server:
            try:
                yield f"{HOST}:{server.sockets[0].getsockname()[1]}"
            finally:
                for writer in self._writers:
                    writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            await self._answer(head, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(head.split()[1])
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key = parts.path.removeprefix("/computeMetadata/v1/instance/")
        self.asked.append(key)
        if "metadata-flavor: google" not in head.lower():
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        if self.silent:
            await asyncio.Event().wait()
        if self.status:
            writer.write(f"HTTP/1.1 {self.status}\r\nMetadata-Flavor: Google\r\nContent-Length: 0\r\n\r\n".encode())
            return
        if query.get("wait_for_change") == "true" and key in self.values:
            async with self._changed:
                seen = self.values[key]
                if query.get("last_etag") == self._etag(key):
                    await self._changed.wait_for(lambda: self.values.get(key) != seen)
        body = self.values.get(key)
        status = "200 OK" if body is not None else "404 Not Found"
        flavor = "Metadata-Flavor: Google\r\n" if self.flavor else ""
        text = body or ""
        etag = f"ETag: {self._etag(key)}\r\n" if body is not None else ""
        writer.write(f"HTTP/1.1 {status}\r\n{flavor}{etag}Content-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()

    def _etag(self, key: str) -> str:
        return f"{abs(hash((key, self.values.get(key)))):x}"
