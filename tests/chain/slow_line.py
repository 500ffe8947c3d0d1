"""A line to the edge on which what a client sends passes at a bounded rate, or not at all, and is counted.

The clients stay what people use: nothing about them is slowed down. What comes back passes at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from tests.chain.chains import PATIENCE

PIECE = 16 << 10


class SlowLine:
    """One client's line. `sent` counts its bytes, TLS and retries included."""

    def __init__(self, edge_port: int, *, rate: float, upto: int | None = None) -> None:
        """`rate` in bytes per second for each connection; `upto`: bytes after which it holds until `release`."""
        self.sent = 0
        self.port = 0
        self._edge_port = edge_port
        self._rate = rate
        self._upto = upto
        self._held = threading.Event()
        self._released = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def wait_until_held(self) -> None:
        assert self._held.wait(PATIENCE), f"only {self.sent} of {self._upto} bytes were sent"

    def release(self) -> None:
        """Let pass what comes, at its rate. From any thread."""
        self._loop.call_soon_threadsafe(self._released.set)

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connected, "127.0.0.1", limit=PIECE)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with closing(to_client), suppress(OSError):
            edge, to_edge = await asyncio.open_connection("127.0.0.1", self._edge_port, limit=PIECE)
            out = asyncio.ensure_future(self._pass(client, to_edge, slow=True))
            back = asyncio.ensure_future(self._pass(edge, to_client, slow=False))
            try:
                await asyncio.wait([out, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                out.cancel()
                await asyncio.wait([out])
                to_edge.close()
                await asyncio.wait([back])

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE):
                if slow:
                    await self._slowed(len(piece))
                writer.write(piece)
                await writer.drain()

    async def _slowed(self, size: int) -> None:
        if self._upto is not None and self.sent >= self._upto:
            self._held.set()
            await self._released.wait()
        self.sent += size
        await asyncio.sleep(size / self._rate)


@contextmanager
def slow_lines(number: int, edge_port: int, *, rate: float, upto: int | None = None) -> Iterator[list[SlowLine]]:
    """So many lines, which an event loop in a thread of its own carries."""
    loop = asyncio.new_event_loop()
    carrying = threading.Thread(target=loop.run_forever)
    carrying.start()

    async def opened() -> list[tuple[SlowLine, asyncio.Server]]:
        lines = [SlowLine(edge_port, rate=rate, upto=upto) for _ in range(number)]
        return [(line, await line.listen()) for line in lines]

    async def closed(servers: list[asyncio.Server]) -> None:
        for server in servers:
            server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    try:
        there = asyncio.run_coroutine_threadsafe(opened(), loop).result(PATIENCE)
        yield [line for line, _ in there]
        asyncio.run_coroutine_threadsafe(closed([server for _, server in there]), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        carrying.join(PATIENCE)
        loop.close()
