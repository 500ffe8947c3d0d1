"""The report of the demo: the verdict, each rollout, the uploads that a replacement met, and time to stop."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.rendering.printed import rolled, shown
from tests.unit.probe.rows import row

from changeover.cli.rendering.demo import data, picture
from changeover.probe.records.ledger import Ledger

CLEAN: dict[str, Any] = {
    "summary": "0 lost",
    "clean": True,
    "counts": {"get": {"sent": 1000, "ok": 1000, "lost": 0}},
    "get_latency_ms": {"p50": 1.0},
    "failures_by_reason": {},
    "failures_by_moving_tier": {},
}
BROKEN = {
    **CLEAN,
    "summary": "2 lost",
    "clean": False,
    "failures_by_reason": {"status 502": 2},
    "failures_by_moving_tier": {"runtime": 2},
}


def upload(started: float, finished: float) -> Any:
    return row(kind="upload", scheduled=started, started=started, finished=finished)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Uploads around an instance that leaves at 100 s and is gone at 130.5 s."""
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as written:
        for one in (upload(90.0, 99.0), upload(95.0, 101.0), upload(101.0, 129.0), upload(120.0, 140.0)):
            written.record(one)
        written.record(row(kind="get", scheduled=99.0, started=99.0, finished=101.0))
    return path


def test_an_upload_overlaps_a_replacement_when_an_instance_leaves_or_ends_under_it(ledger: Path) -> None:
    found = data(CLEAN, [rolled()], ledger, time.time())
    assert found["uploads"] == {"sent": 4, "overlapping_a_replacement": 2}


def test_the_time_from_the_last_request_to_the_stop_is_over_instances_that_had_one(ledger: Path) -> None:
    found = data(CLEAN, [rolled(), rolled()], ledger, time.time())
    assert found["seconds_from_last_in_flight_to_stop"] == {"instances": 2, "median": 0.25, "max": 0.25}
    nothing = data(CLEAN, [], ledger, time.time())
    assert nothing["seconds_from_last_in_flight_to_stop"] == {"instances": 0, "median": None, "max": None}


def test_a_clean_run_is_printed_with_its_rollouts(ledger: Path) -> None:
    text = shown(picture(data(CLEAN, [rolled()], ledger, time.time()), naive=False))
    assert "verdict 0 lost" in text
    assert "get 1,000 sent, 1,000 ok, 0 lost" in text
    assert "runtime v1 -> v2 completed in 41.0 s" in text
    assert "last request to stop median 250 ms, at most 250 ms over 1 instances" in text


def test_broken_requests_are_printed_with_their_reasons_and_the_tier_that_moved(ledger: Path) -> None:
    text = shown(picture(data(BROKEN, [], ledger, time.time()), naive=False))
    assert "broken 2 x status 502" in text
    assert "broken while moving 2 x runtime" in text
    assert "control run" not in text


def test_the_control_run_is_named_as_one_only_when_it_broke_requests(ledger: Path) -> None:
    broken = data(BROKEN, [], ledger, time.time())
    assert "It is meant to break requests." in shown(picture(broken, naive=True))
    assert "control run" not in shown(picture(data(CLEAN, [], ledger, time.time()), naive=True))
