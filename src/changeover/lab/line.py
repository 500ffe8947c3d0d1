"""A line with latency between a client and a server: a request can be on its way while the server closes."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field


@dataclass
class Line:
    """It begins at `port` and leads to the port `to`. `latency`: seconds in each direction, also for a close."""

    port: int
    to: int
    latency: float
    _server: asyncio.Server | None = None
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.to)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._one_way(reader, far_writer))
                    tasks.create_task(self._one_way(far_reader, writer))
            finally:
                far_writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # no server; or by `close`, and the callback of start_server would report it as a fault
        finally:
            self._running.discard(task)
            writer.close()

    async def _one_way(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()

        def end() -> None:
            writer.close()
            if not ended.done():
                ended.set_result(None)

        with contextlib.suppress(OSError):
            while piece := await reader.read(65536):
                loop.call_later(self.latency, writer.write, piece)
        loop.call_later(self.latency, end)
        await ended
