"""The example application in lame duck, its count of requests in flight, and its shutdown."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.process.example_apps import App, Raw, memory, refuses, running, until

from changeover.kit.pattern import pattern


@pytest.fixture
def own(tmp_path: Path) -> Iterator[App]:
    """An instance for one test that disturbs it."""
    with running(tmp_path) as started:
        yield started


def test_in_lame_duck_it_is_not_ready_and_sends_clients_away_until_the_file_is_gone(own: App) -> None:
    assert (own.get("/readyz").status_code, own.get("/readyz").json()) == (200, {"status": "ready"})
    assert "connection" not in own.get("/hello").headers

    own.lame_duck_file.touch()
    assert (own.get("/readyz").status_code, own.get("/readyz").json()) == (503, {"status": "draining"})
    assert own.get("/livez").status_code == 200
    for answer in (own.get("/hello"), own.get("/blob/5"), own.get("/nope"), own.post(b"x")):
        assert answer.headers["connection"] == "close"
    for path in ("/livez", "/readyz", "/inflight"):
        assert "connection" not in own.get(path).headers

    own.lame_duck_file.unlink()
    assert own.get("/readyz").status_code == 200
    assert "connection" not in own.get("/hello").headers


def test_in_lame_duck_a_pooled_connection_ends_with_its_next_answer(own: App) -> None:
    with Raw(own) as pooled:
        pooled.ask("/hello")
        own.lame_duck_file.touch()
        assert own.inflight()["connections"] == 1
        assert pooled.ask("/hello")[0] == 200
        assert pooled.socket.recv(1) == b""
    until(lambda: own.inflight()["connections"] == 0)


def test_a_refusal_in_lame_duck_reaches_a_client_that_is_still_sending(own: App) -> None:
    own.lame_duck_file.touch()
    with Raw(own) as raw:
        raw.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        status, headers, _ = raw.answer()
        assert (status, headers["Connection"]) == (405, None)
        raw.send(bytes(2_000_000))
        assert raw.ask("/hello")[1]["Connection"] == "close"


def test_a_slow_upload_is_counted_to_the_byte(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(2_000_000, bytes(700_000))
        until(lambda: [u["received"] for u in own.inflight()["uploads"]] == [700_000])
        seen = own.inflight()
        assert (seen["requests"], seen["gets"], seen["connections"]) == (1, 0, 1)
        assert seen["uploads"][0]["expected"] == 2_000_000
        assert 0 < seen["uploads"][0]["seconds"] < 10

        raw.send(bytes(1_300_000))
        assert raw.answer("POST")[0] == 201
        assert own.inflight() == {"requests": 0, "gets": 0, "uploads": [], "connections": 1}


def test_a_chunked_upload_is_counted_without_knowing_its_end(own: App) -> None:
    with Raw(own) as raw:
        raw.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        until(lambda: [u["received"] for u in own.inflight()["uploads"]] == [5])
        assert own.inflight()["uploads"][0]["expected"] is None
        raw.send(b"0\r\n\r\n")
        assert raw.answer("POST")[0] == 201


def test_a_download_is_counted_until_its_last_byte_is_handed_over(own: App) -> None:
    with Raw(own) as raw:
        raw.send(b"GET /blob/50000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        raw.socket.recv(1)
        assert own.inflight() == {"requests": 1, "gets": 1, "uploads": [], "connections": 1}
    until(lambda: own.inflight()["requests"] == 0)


def test_a_health_checker_does_not_hold_up_a_drain_but_a_pooled_connection_does(own: App) -> None:
    with Raw(own) as checker, Raw(own) as pooled, Raw(own) as silent:
        for path in ("/livez", "/readyz", "/inflight"):
            checker.ask(path)
        pooled.ask("/hello")
        # Silent has sent nothing; its first request may be one of a client.
        assert own.inflight() == {"requests": 0, "gets": 0, "uploads": [], "connections": 2}
        silent.ask("/livez")
        assert own.inflight()["connections"] == 1
        checker.ask("/hello")
        assert own.inflight()["connections"] == 2
        for path in ("/livez", "/readyz", "/inflight"):  # a client asks for a control path, through the pool
            pooled.ask(path)
            assert own.inflight()["connections"] == 2


def test_requests_queued_on_a_lost_connection_are_not_counted_for_ever(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(5, b"hello")
        raw.send(b"GET /blob/90000000 HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        until(lambda: (now := own.inflight())["gets"] == 4 and not now["uploads"])
    until(lambda: own.inflight()["requests"] == 0)


def test_asked_to_stop_it_finishes_the_upload_in_flight_and_takes_nothing_new(own: App) -> None:
    with Raw(own) as raw:
        raw.begin_upload(1_000_000, bytes(400_000))
        until(lambda: own.inflight()["requests"] == 1)
        own.process.send_signal(signal.SIGTERM)
        until(lambda: refuses(own))
        raw.send(bytes(600_000))
        status, _, body = raw.answer("POST")
    assert (status, json.loads(body)["bytes"]) == (201, 1_000_000)
    assert own.process.wait(40) == 0
    assert own.process.stderr is not None
    assert own.process.stderr.read() == "runtime-1 (v1): stopped\n"


def test_an_idle_instance_stops_at_once(own: App) -> None:
    own.get("/hello")
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(40) == 0


def test_eight_large_uploads_at_once_take_little_memory(own: App) -> None:
    size = 50_000_000
    body = pattern(0, size)
    idle = memory(own, "VmRSS")

    def upload() -> dict[str, Any]:
        connection = http.client.HTTPConnection(*own.address, timeout=30)
        connection.request("POST", "/upload", body)
        with connection.getresponse() as answer:
            record: dict[str, Any] = json.loads(answer.read())
        connection.close()
        return record

    with ThreadPoolExecutor(8) as clients:
        records = [future.result() for future in [clients.submit(upload) for _ in range(8)]]

    assert {record["sha256"] for record in records} == {hashlib.sha256(body).hexdigest()}
    assert memory(own, "VmHWM") - idle < 60_000_000
