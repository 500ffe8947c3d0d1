"""Prometheus metrics of the uploads of this process.

The application chooses the registry, and exposes it: `prometheus_client.make_asgi_app()` is one way. The library counts
once for each upload, request or commit, and never for each piece of a body.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

_NAME = "changeover_uploads"
_COMMIT_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class UploadMetrics:
    """The metrics in one registry. Several engines of a process may share them: see `metrics_in`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            f"{_NAME}_events",
            "Uploads by event: created, completed, handled, cancelled, expired",
            ["event", "dialect"],
            registry=registry,
        )
        self.active_requests = Gauge(
            f"{_NAME}_active_requests",
            "Requests whose body is being received",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.committed = Counter(f"{_NAME}_committed_bytes", "Bytes made durable and acknowledged", registry=registry)
        self.discarded = Counter(
            f"{_NAME}_discarded_bytes", "Bytes received and not kept; the client sends them again", registry=registry
        )
        self.commit = Histogram(
            f"{_NAME}_commit_seconds",
            "Time to make bytes durable and to enter them in the manifest",
            buckets=_COMMIT_SECONDS,
            registry=registry,
        )
        self.takeovers = Counter(
            f"{_NAME}_takeovers",
            "Requests ended by a newer request for the same upload: in_process, or fenced (of another process)",
            ["kind"],
            registry=registry,
        )
        self.store_errors = Counter(
            f"{_NAME}_store_errors",
            "Failed calls to the store, by reason: full, unavailable",
            ["reason"],
            registry=registry,
        )
        self.unreadable_records = Counter(
            f"{_NAME}_unreadable_records",
            "Reads of records that this release cannot read, by reason: damaged, newer",
            ["reason"],
            registry=registry,
        )
        self.handler_calls = Counter(
            f"{_NAME}_handler_calls",
            "Calls to the handler, by outcome: succeeded, failed",
            ["outcome"],
            registry=registry,
        )


_METRICS: WeakKeyDictionary[CollectorRegistry, UploadMetrics] = WeakKeyDictionary()
"""A registry refuses a second metric of the same name, so that engines share what it has."""


def metrics_in(registry: CollectorRegistry | None) -> UploadMetrics:
    """The metrics in that registry, registered at the first call. None: Prometheus' default registry."""
    registry = registry or REGISTRY
    if (found := _METRICS.get(registry)) is None:
        found = _METRICS[registry] = UploadMetrics(registry)
    return found
