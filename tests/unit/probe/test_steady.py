from __future__ import annotations

from typing import Any

import pytest
from tests.unit.probe.rows import row

from changeover.model.probe import Get, ProbeSettings
from changeover.probe.steady import SteadyWatch
from changeover.probe.traffic_plan import TrafficPlan

GETS = TrafficPlan("http://x", ProbeSettings(get=(Get(path="/hello"),), rate=10))


def plan(traffic: dict[str, Any]) -> TrafficPlan:
    return TrafficPlan("http://x", ProbeSettings.model_validate(traffic))


BOTH = plan({"get": [{"path": "/hello"}], "post": [{"path": "/in", "time": "10s"}], "rate": 10, "timeout": "5s"})


def ok(at: float, **facts: Any) -> Any:
    return row(scheduled=at, started=at, finished=at, **facts)


def lost(at: float, reason: str = "status 503") -> Any:
    return row(scheduled=at, started=at, finished=at, outcome="lost", reason=reason)


def test_traffic_is_steady_after_that_long_without_a_failure() -> None:
    watch = SteadyWatch(GETS, hold=3, at=100)
    watch.saw(ok(101))
    assert not watch.is_steady(102.9)
    watch.saw(ok(103))
    assert watch.is_steady(103)
    watch.saw(lost(104))
    watch.saw(ok(106))
    assert not watch.is_steady(106.9)
    assert watch.is_steady(107)


def test_silence_is_not_steady() -> None:
    watch = SteadyWatch(GETS, hold=3, at=100)
    assert not watch.is_steady(110)
    watch.saw(ok(101))
    assert watch.is_steady(104)
    assert not watch.is_steady(104.3)


def test_a_success_of_a_request_from_before_counts_for_nothing() -> None:
    watch = SteadyWatch(GETS, hold=3, at=100)
    watch.saw(ok(103))
    watch.begin(110)
    watch.saw(row(started=109.9, finished=112))
    assert not watch.is_steady(114)


def test_every_planned_kind_needs_a_success() -> None:
    watch = SteadyWatch(BOTH, hold=3, at=100)
    for second in range(101, 112):
        watch.saw(ok(second))
    assert not watch.is_steady(111)
    assert watch.why() == "no successful upload"
    watch.saw(ok(111, kind="upload"))
    assert watch.is_steady(111)


def test_a_server_that_never_answers_is_found_after_the_same_time() -> None:
    watch = SteadyWatch(GETS, hold=3, at=100)
    for second in (100.0, 101.0, 102.0):
        watch.saw(lost(second, "connect refused"))
    assert not watch.never_answers(102.9)
    assert watch.never_answers(103)
    assert watch.why() == "3 connect refused; no successful get"


def test_traffic_that_fails_now_and_then_is_given_up_in_the_end() -> None:
    watch = SteadyWatch(BOTH, hold=3, at=100)
    watch.saw(ok(101))
    assert not watch.never_answers(140)
    assert not watch.too_late(167)
    assert watch.too_late(168.3)
    assert watch.limit == pytest.approx(68.2)


def test_uploads_alone_can_be_steady() -> None:
    watch = SteadyWatch(plan({"post": [{"path": "/in"}]}), hold=3, at=100)
    watch.saw(ok(114, kind="upload"))
    assert watch.is_steady(128)


def test_each_path_needs_a_success_and_one_that_never_has_any_is_found_early() -> None:
    gets = {"get": [{"path": "/a"}, {"path": "/b"}], "rate": 10}
    watch = SteadyWatch(TrafficPlan("http://x/app", ProbeSettings.model_validate(gets)), hold=3, at=100)
    watch.saw(ok(103, path="/app/a"))
    assert not watch.is_steady(103)
    assert not watch.never_answers(103)
    watch.saw(row(path="/app/b", outcome="lost", reason="status 404", finished=101))
    assert not watch.never_answers(103.9)
    assert watch.never_answers(104)
    assert watch.why() == "1 status 404; /app/b never succeeded"
    watch.saw(ok(103.5, path="/app/b"))
    assert watch.is_steady(104)
