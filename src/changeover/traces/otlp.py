"""Sends spans by OTLP over HTTP, as the standard variables OTEL_* say. Refuses to wait longer than WAIT.

opentelemetry-sdk (extra `otel`) encodes and sends them. Its exporter reads OTEL_EXPORTER_OTLP_*: endpoint, headers,
certificates, compression, timeout.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING

from changeover.kit.redact import hide_credentials
from changeover.model.errors import ChangeoverError
from changeover.model.extras import require
from changeover.traces.spans import SpanRecord

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

WAIT = 5.0
"""Seconds that a command whose rollout has ended waits for the collector."""
_LOOK = 0.02
"""Seconds between two looks whether the collector has answered."""
_AT_ONCE = 512
"""Spans of one request, as OTEL_BSP_MAX_EXPORT_BATCH_SIZE has it by default."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PACKAGE = "opentelemetry.exporter.otlp.proto.http"


class NotSent(Exception):
    """The collector did not get the spans, or did not say so."""


def endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """Where spans are to go; empty where the variables name no collector, or switch traces off."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporters = environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    if off or "otlp" not in [one.strip() for one in exporters]:
        return ""
    return hide_credentials(next((found for name in _ENDPOINTS if (found := environ.get(name, ""))), ""))


async def send(
    spans: Sequence[SpanRecord], trace: int, span_id: Callable[[tuple[str, ...]], int], wait: float = WAIT
) -> None:
    """Send the spans of one trace. Raises NotSent, with the reason as a sentence."""
    protocol = next((found for name in _PROTOCOLS if (found := os.environ.get(name, ""))), "http/protobuf")
    if protocol != "http/protobuf":
        raise NotSent(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol}, and only http/protobuf is spoken")
    try:
        require(_PACKAGE, "a trace")
    except ChangeoverError as error:
        raise NotSent(" ".join(str(error).split()).rstrip(".")) from error
    outcome: list[str] = []
    complaints: list[str] = []

    def work() -> None:
        try:
            outcome.append(_export(spans, trace, span_id, wait, complaints))
        except Exception as error:  # a wrong variable, or a fault of the exporter
            outcome.append(f"{type(error).__name__}: {error}")

    # A thread that ends with the process: the executor's threads would hold up its exit.
    threading.Thread(target=work, daemon=True, name="otlp").start()
    deadline = time.monotonic() + wait
    while not outcome and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK)
    reason = outcome[0] if outcome else f"no answer within {wait:g} s" + "".join(f" ({one})" for one in complaints[-1:])
    if reason:
        raise NotSent(hide_credentials(reason))


def _export(
    spans: Sequence[SpanRecord],
    trace: int,
    span_id: Callable[[tuple[str, ...]], int],
    wait: float,
    complaints: list[str],
) -> str:
    """Returns why the spans were not sent; nothing if they were."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import SpanExportResult

    with _heard(complaints):
        exporter = OTLPSpanExporter()
        made = _readable(spans, trace, span_id)
        for first in range(0, len(made), _AT_ONCE):
            if exporter.export(made[first : first + _AT_ONCE]) is not SpanExportResult.SUCCESS:
                return complaints[-1] if complaints else "the collector refused them"
    return ""


def _readable(spans: Sequence[SpanRecord], trace: int, span_id: Callable[[tuple[str, ...]], int]) -> list[ReadableSpan]:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

    version = metadata.version("changeover")
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({"service.version": version} | ({} if named else {"service.name": "changeover"}))
    scope = InstrumentationScope("changeover", version)

    def context(path: tuple[str, ...]) -> SpanContext:
        return SpanContext(trace, span_id(path), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))

    return [
        ReadableSpan(
            name=one.name,
            context=context(one.path),
            parent=context(one.path[:-1]) if one.path[:-1] else None,
            resource=resource,
            attributes=one.attributes,
            events=[Event(event.name, {"message": event.message}, _nanoseconds(event.at)) for event in one.events],
            status=Status(StatusCode.ERROR, one.error) if one.error else Status(StatusCode.OK),
            start_time=_nanoseconds(one.start),
            end_time=_nanoseconds(max(one.start, one.end)),
            instrumentation_scope=scope,
        )
        for one in spans
    ]


def _nanoseconds(at: float) -> int:
    return round(at * 1e6) * 1000


@contextmanager
def _heard(complaints: list[str]) -> Iterator[None]:
    """What the exporter logs is the reason, and not printed beside it."""

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(" ".join(record.getMessage().split()))

    log, collector = logging.getLogger("opentelemetry"), Collector(logging.WARNING)
    log.addHandler(collector)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.propagate = before
        log.removeHandler(collector)
