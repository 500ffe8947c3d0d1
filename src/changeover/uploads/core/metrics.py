"""What this process counts of its uploads, in Prometheus' default registry.

How they are shown is left to the application: `prometheus_client.make_asgi_app()` mounts them. Counting happens once
for an upload, a request or a commit, never for a piece of a body.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_NAME = "changeover_uploads"

UPLOADS = Counter(
    f"{_NAME}_events", "Uploads that were created, completed, answered, cancelled, expired", ["event", "dialect"]
)
IN_FLIGHT = Gauge(f"{_NAME}_in_flight", "Requests whose body is being taken", multiprocess_mode="livesum")
COMMITTED = Counter(f"{_NAME}_committed_bytes", "Bytes that became durable and were entered in a manifest")
DISCARDED = Counter(f"{_NAME}_discarded_bytes", "Bytes that came and were not kept, so that they have to come again")
COMMIT = Histogram(
    f"{_NAME}_commit_seconds",
    "Making bytes durable and entering them in the manifest",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0),
)
TAKEOVERS = Counter(
    f"{_NAME}_takeovers",
    "Requests broken off for a newer one: in this process, or fenced out of another one",
    ["how"],
)
STORE_ERRORS = Counter(f"{_NAME}_store_errors", "Calls to the store that it could not do", ["full"])
ATTEMPTS = Counter(f"{_NAME}_handler_attempts", "Questions to the application about a complete upload", ["outcome"])
