"""The admin address of a relay: /livez, /readyz, /inflight and /metrics. Refuses every method but GET and HEAD."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from changeover.http1 import head as heads
from changeover.http1.head import BadHead
from changeover.relay.process.server import RelayServer

if TYPE_CHECKING:
    from prometheus_client.core import Metric

TIME = 10.0
"""Seconds for one request."""


class AdminServer:
    """`ready`: whether the relay wants new connections."""

    def __init__(self, server: RelayServer, ready: Callable[[], bool]) -> None:
        self._server = server
        self._ready = ready

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            async with asyncio.timeout(TIME):
                head = heads.read_request(await reader.readuntil(b"\r\n\r\n"))
                status, kind, content = self._answer(head.method, head.path)
        except BadHead as error:
            status, kind, content = error.status, "text/plain", f"{error}\n".encode()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            writer.close()
            return
        fields = [
            (b"Content-Type", kind.encode()),
            (b"Content-Length", b"%d" % len(content)),
            (b"Connection", b"close"),
        ]
        writer.write(heads.format_response(status, b"", fields) + content)
        writer.close()

    def _answer(self, method: bytes, path: bytes) -> tuple[int, str, bytes]:
        if method not in (b"GET", b"HEAD"):
            return 405, "text/plain", b"only GET is supported\n"
        match path:
            case b"/livez":
                return _as_json(200, {"status": "alive"})
            case b"/readyz":
                ready = self._ready()
                return _as_json(200 if ready else 503, {"status": "ready" if ready else "draining"})
            case b"/inflight":
                return _as_json(200, self._server.in_flight())
            case b"/metrics":
                return 200, "text/plain; version=0.0.4; charset=utf-8", self._metrics()
        return 404, "text/plain", b"this address serves /livez, /readyz, /inflight and /metrics\n"

    def _metrics(self) -> bytes:
        # Imported when first requested: a relay without a Prometheus saves the memory.
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, value in asdict(self._server.counters).items():
            yield CounterMetricFamily(f"changeover_relay_{name}", COUNTER_HELP[name], value=value)
        dropped = "Streamed bodies over a bound of their copies, which are not kept for another attempt."
        yield CounterMetricFamily("changeover_relay_spools_dropped", dropped, value=self._server.relay.spools.dropped)
        for name, (text, value) in self._gauges().items():
            yield GaugeMetricFamily(f"changeover_relay_{name}", text, value=value)

    def _gauges(self) -> dict[str, tuple[str, float]]:
        in_flight, relay = self._server.in_flight(), self._server.relay
        return {
            "requests_in_flight": ("Requests without a complete response.", in_flight["requests"]),
            "connections": ("Connections of clients.", in_flight["connections"]),
            "uploads_in_flight": ("Requests with a body among them.", len(in_flight["uploads"])),
            "held_bytes": ("Bytes of bodies that are received and not acknowledged.", relay.budget.held),
            "spooled_bytes": ("Bytes of streamed bodies that are kept for another attempt.", relay.spools.held),
            "pipes": ("Kernel pipes in use or idle.", relay.pipes.open),
            "pipes_refused": ("Pipes that the kernel refused; memory replaces them.", relay.pipes.refused),
        }


COUNTER_HELP = {
    "requests": "Requests of clients.",
    "streamed": "Requests streamed to the upstream.",
    "segmented": "Uploads sent in segments.",
    "segments": "Segments sent to the upstream.",
    "received_bytes": "Bytes of bodies received from clients.",
    "committed_bytes": "Bytes of uploads that the upstream has stored durably.",
    "resent_bytes": "Bytes of uploads that were sent more than once.",
    "resumed": "Upstream requests that failed, after which the upload went on.",
    "replayed": "Streamed requests that were sent again.",
    "given_up": "Uploads that the relay gave up.",
    "clients_disconnected": "Clients that disconnected before the response.",
}


def _as_json(status: int, document: Any) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(document).encode()
