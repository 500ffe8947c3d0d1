"""What is counted of uploads, as Prometheus would read it."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from base64 import b64encode

from prometheus_client import REGISTRY, CollectorRegistry
from tests.unit.uploads.faulty import Faulty
from tests.unit.uploads.serving import Instance, Sending, settled

from changeover.uploads import CompletedUpload, FileStore, Limits, Response

APPEND = {"upload_complete": "?1", "content_type": "application/partial-upload"}


class Counted:
    """How much a sample has grown since the beginning of the block."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = f"changeover_uploads_{name}", labels
        self._before = self._now()

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0

    @property
    def more(self) -> float:
        return self._now() - self._before


def events(event: str, dialect: str = "ietf") -> Counted:
    return Counted("events_total", event=event, dialect=dialect)


async def test_uploads_are_counted_by_dialect_and_by_what_became_of_them(store: FileStore) -> None:
    now = [1000.0]
    instance = Instance(store, limits=Limits(max_age=60), now=lambda: now[0])
    created, completed, answered = events("created"), events("completed"), events("handled")
    cancelled, expired, plain = events("cancelled"), events("expired"), events("completed", "plain")
    ids = [(await instance.got("POST", "/", upload_complete="?0")).id for _ in range(3)]
    await instance.got("PATCH", f"/{ids[0]}", b"hello", upload_offset="0", **APPEND)
    await instance.got("DELETE", f"/{ids[1]}")
    await instance.got("POST", "/", b"hello")
    now[0] += 61
    await instance.engine.collector.collect()
    assert [each.more for each in (created, completed, answered, cancelled, plain)] == [3, 1, 1, 1, 1]
    assert expired.more == 1  # what the application has answered stays


async def test_bytes_are_counted_when_they_are_kept_and_when_they_are_not(instance: Instance) -> None:
    committed, discarded, commits = (
        Counted("committed_bytes_total"),
        Counted("discarded_bytes_total"),
        Counted("commit_seconds_count"),
    )
    await instance.got("POST", "/", b"hello", upload_complete="?1")
    assert (committed.more, discarded.more) == (5, 0)
    assert commits.more >= 1
    digest = b64encode(hashlib.sha256(b"another").digest()).decode()
    await instance.got("POST", "/", b"hello!", upload_complete="?1", content_digest=f"sha-256=:{digest}:")
    assert (committed.more, discarded.more) == (5, 6)


async def test_requests_that_are_under_way_and_taken_over_are_counted(store: FileStore) -> None:
    a, b = Instance(store), Instance(store)
    flying = Counted("active_requests")
    here, elsewhere = Counted("takeovers_total", kind="in_process"), Counted("takeovers_total", kind="fenced")
    id = (await a.got("POST", "/", upload_complete="?0")).id
    for instance, counted in ((a, here), (b, elsewhere)):
        body = Sending()
        task = asyncio.create_task(a.got("PATCH", f"/{id}", body, upload_offset="0", **APPEND))
        await settled(lambda: flying.more == 1)
        await instance.got("HEAD", f"/{id}")
        assert counted.more == 1
        body.end()
        await task
        assert flying.more == 0
    assert (here.more, elsewhere.more) == (1, 1)


async def test_what_the_application_and_the_store_could_not_do_is_counted(store: FileStore) -> None:
    async def fails_at_first(finished: CompletedUpload) -> Response:
        if finished.attempt == 1:
            raise LookupError("a bug")
        return Response(200)

    failed = Counted("handler_calls_total", outcome="failed")
    answered = Counted("handler_calls_total", outcome="succeeded")
    full = Counted("store_errors_total", reason="full")
    faulty = Faulty(store)
    instance = Instance(faulty, fails_at_first)
    id = (await instance.got("POST", "/", b"hello", upload_complete="?0")).id
    for status in (503, 200):
        assert (await instance.got("PATCH", f"/{id}", upload_offset="5", **APPEND)).status == status
    assert (failed.more, answered.more, full.more) == (1, 1, 0)
    faulty.full = True
    await instance.got("POST", "/", b"hello", upload_complete="?1")
    assert full.more == 1


async def test_metrics_are_registered_in_the_registry_of_the_application_and_shared_by_its_engines(
    store: FileStore,
) -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    for _ in range(2):
        await Instance(store, registry=registry).got("POST", "/", b"hello")
    labels = {"event": "completed", "dialect": "plain"}
    assert registry.get_sample_value("changeover_uploads_events_total", labels) == 2
    assert other.get_sample_value("changeover_uploads_events_total", labels) is None


def test_an_import_registers_no_metric() -> None:
    script = "import changeover.uploads.server.asgi, prometheus_client; print(prometheus_client.generate_latest())"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "changeover_uploads" not in done.stdout
