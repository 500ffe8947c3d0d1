"""The server of a relay: its listeners and connections, what is in flight, and how it drains.

On SIGTERM it accepts no new connection and finishes the requests in flight, however long they take: the sender of the
signal bounds the drain. An idle client gets one more response, with `Connection: close`: closing its connection could
meet a request that is on its way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from changeover.relay.config import RelayConfig
from changeover.relay.io.body_buffer import BufferBudget
from changeover.relay.io.epoll import Epoll, Waker
from changeover.relay.io.pipes import Pipes
from changeover.relay.io.spool import SpoolBudget
from changeover.relay.outbound.upstream import Upstream
from changeover.relay.paths.request import RelayContext, RelayCounters
from changeover.relay.process.client_connection import ClientConnection

BACKLOG = 2048
"""Connections the kernel may queue while the event loop is busy; a full queue is a refused client."""
AT_ONCE = 64
"""Connections accepted before other tasks get their turn."""
FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors of accept(2) that last until a connection closes."""
BUFFER = 1024 * 1024
"""Bytes of the kernel's receive buffer of a client: larger reads cost up to a tenth less (measured)."""


class RelayServer:
    """Serves from `run` until `leave` is called and the last connection closes."""

    def __init__(self, config: RelayConfig, listeners: Sequence[socket.socket]) -> None:
        self._config = config
        self._listeners = list(listeners)
        for listener in self._listeners:
            listener.setblocking(False)  # here, for `leave` may come before `run`
        self._epoll = Epoll()
        host, port = config.upstream
        upstream = Upstream(host, port, self._epoll, config.pooling)
        budget = BufferBudget(config.budget, config.segment_from, config.max_held)
        self.relay = RelayContext(config, upstream, Pipes(), budget, SpoolBudget(config.max_spool, config.max_spools))
        self._clients: dict[ClientConnection, asyncio.Task[None]] = {}
        self._over = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        for listener in self._listeners:
            self._listen(listener)
        sweeping = asyncio.ensure_future(self._sweep())
        try:
            await self._over.wait()
        finally:
            sweeping.cancel()
            self.stop_listening()
            self.relay.upstream.close()
            self.relay.pipes.close()
            self._epoll.close()

    @property
    def listeners(self) -> Sequence[socket.socket]:
        return self._listeners

    def leave(self) -> None:
        """Accept no new connection; finish the requests in flight."""
        self.relay.leaving = True
        for listener in self._listeners:
            self._accept(listener, BACKLOG)  # closing a listener resets the connections in its queue
        self.stop_listening()
        self._look_whether_over()

    def stop_listening(self) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners.clear()

    def _look_whether_over(self) -> None:
        if self.relay.leaving and not self._clients:
            self._over.set()

    def _listen(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._accept, listener)

    def _accept(self, listener: socket.socket, most: int = AT_ONCE) -> None:
        for _ in range(most):
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors, or the client is gone already
                print(f"relay: a connection could not be accepted: {error.strerror}", file=sys.stderr, flush=True)
                if error.errno in FULL:  # the connection stays in the queue, which would call again at once
                    self._loop.remove_reader(listener.fileno())
                    self._loop.call_later(self._config.timing.sweep, self._listen, listener)
                return
            with contextlib.suppress(OSError):
                if sock.family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = address[0].encode() if isinstance(address, tuple) else b""
            waker = Waker()
            client = ClientConnection(self.relay, self._epoll.channel(sock, waker), waker, peer)
            task = self._loop.create_task(client.run())
            self._clients[client] = task
            task.add_done_callback(lambda done, client=client: self._gone(client, done))  # type: ignore[misc]

    def _gone(self, client: ClientConnection, task: asyncio.Task[None]) -> None:
        del self._clients[client]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.call_exception_handler({"message": "a connection failed", "exception": error})
        self._look_whether_over()

    async def _sweep(self) -> None:
        """Wake every connection: each checks whether it has waited for too long."""
        while True:
            await asyncio.sleep(self._config.timing.sweep)
            self.relay.upstream.sweep(time.monotonic())
            for client in [*self._clients]:
                client.waker.wake_task()

    # -- in flight ---------------------------------------------------------------------------------------------------

    def in_flight(self) -> dict[str, Any]:
        """The requests that would break if the relay stopped now."""
        now = time.monotonic()
        requests = [request for client in self._clients if (request := client.under_way) is not None]
        uploads = []
        for request in requests:
            if not request.head.has_body:
                continue
            seconds, expected = now - request.started, request.head.length
            received, committed, held = request.progress
            rate = received / seconds if seconds else 0.0
            uploads.append(
                {
                    "received": received,
                    "expected": expected,
                    "seconds": round(seconds, 3),
                    "committed": committed,
                    "held": held,
                    "rate": round(rate),
                    "left": None if expected is None or not rate else round((expected - received) / rate, 1),
                }
            )
        return {"requests": len(requests), "connections": len(self._clients), "uploads": uploads}

    @property
    def counters(self) -> RelayCounters:
        return self.relay.counters
