"""The spans of a release: from the journal alone, each below its parent, the same whichever process asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from changeover.engine.journal.records import LogRow, Release, RolloutRow
from changeover.traces.spans import RolloutLog, SpanRecord, span_id, spans_of, trace_id

RELEASE = Release(7, {"runtime": "v2"}, {"runtime": "v1"}, None, 100.0, None, "completed", 131.0)
ROW = RolloutRow(9, "runtime", "v1", "v2", 101.0, 130.0, "completed", None, True)
NEW, OLD = "runtime-v2-3", "runtime-v1-1"
LOG = (
    LogRow(101.0, "", "request", "ann: roll runtime to v2"),
    LogRow(101.0, "", "event", "started: goal v2"),
    LogRow(101.0, NEW, "command", "create instance: template v2"),
    LogRow(103.0, NEW, "phase", "creating -> warming: became ready"),
    LogRow(104.0, NEW, "phase", "warming -> ready: ready for min_ready"),
    LogRow(105.0, NEW, "phase", "ready -> admitted: every router admits it"),
    LogRow(105.0, OLD, "phase", "admitted -> leaving: retired"),
    LogRow(106.0, OLD, "phase", "leaving -> draining: out of every router"),
    LogRow(107.0, "", "hook", "before_step hook check passed"),
    LogRow(120.0, OLD, "phase", "draining -> drained: nothing in flight"),
    LogRow(121.0, OLD, "phase", "drained -> stopping: stop signal sent"),
    LogRow(122.0, OLD, "note", "it stops slowly"),
    LogRow(125.0, OLD, "phase", "stopping -> gone: process ended"),
    LogRow(130.0, "", "command", "finish: outcome completed"),
)


def found(log: Sequence[LogRow] = LOG, row: RolloutRow = ROW, release: Release = RELEASE) -> dict[str, SpanRecord]:
    return {"/".join(one.path[1:]): one for one in spans_of(release, [RolloutLog(row, log)])}


def test_a_release_has_a_span_for_each_tier_each_instance_that_moved_and_each_of_its_phases() -> None:
    assert [(path, one.name, one.start, one.end) for path, one in found().items()] == [
        ("", "roll runtime to v2", 100.0, 131.0),
        ("9", "tier runtime", 101.0, 130.0),
        ("9/runtime-v2-3", "runtime-v2-3", 101.0, 130.0),
        ("9/runtime-v2-3/0 creating", "creating", 101.0, 103.0),
        ("9/runtime-v2-3/1 warming", "warming", 103.0, 104.0),
        ("9/runtime-v2-3/2 ready", "ready", 104.0, 105.0),
        ("9/runtime-v2-3/3 admitted", "admitted", 105.0, 130.0),
        ("9/runtime-v1-1", "runtime-v1-1", 105.0, 125.0),
        ("9/runtime-v1-1/0 leaving", "leaving", 105.0, 106.0),
        ("9/runtime-v1-1/1 draining", "draining", 106.0, 120.0),
        ("9/runtime-v1-1/2 drained", "drained", 120.0, 121.0),
        ("9/runtime-v1-1/3 stopping", "stopping", 121.0, 125.0),
    ]
    assert not any(one.error for one in found().values())


def test_spans_say_what_they_are_about() -> None:
    spans = found()
    assert spans["9"].attributes["changeover.requested_by"] == "ann: roll runtime to v2"
    assert [(one.at, one.name) for one in spans["9"].events] == [(107.0, "hook"), (122.0, "note")]
    assert spans["9"].events[1].message == "runtime-v1-1: it stops slowly"
    assert spans["9/runtime-v2-3"].attributes["changeover.new"] is True
    assert spans["9/runtime-v1-1"].attributes["changeover.template"] == "v1"
    draining = spans["9/runtime-v1-1/1 draining"].attributes
    assert draining["changeover.ended_by"] == "nothing in flight"
    assert draining["changeover.instance"] == OLD


def test_what_broke_requests_and_what_was_undone_are_errors() -> None:
    broke = spans_of(RELEASE, [RolloutLog(ROW, LOG, ("The load balancer ended.", "runtime-v1-1: cut 3."))])[1]
    assert broke.error == "The load balancer ended. runtime-v1-1: cut 3."
    assert broke.attributes["changeover.interrupted"] is True
    undone = found(LOG, replace(ROW, outcome="undone", reason="guard failed"), replace(RELEASE, outcome="undone"))
    assert (undone["9"].error, undone[""].error) == ("guard failed", "the release undone")
    asked = replace(RELEASE, outcome="undone", undo_reason="ann asked to abort")
    assert found(LOG, ROW, asked)[""].error == "ann asked to abort"


def test_an_instance_that_did_not_start_or_died_is_an_error_and_one_that_only_ended_has_no_phases() -> None:
    died = found([LogRow(110.0, OLD, "phase", "admitted -> failed: process ended")])
    assert died["9/runtime-v1-1"].error == "process ended"
    assert (died["9/runtime-v1-1/0 failed"].end, died["9/runtime-v1-1/0 failed"].error) == (130.0, "failed")
    gone = found([LogRow(110.0, OLD, "phase", "draining -> gone: process ended")])
    assert [path for path in gone if OLD in path] == [f"9/{OLD}"]


def test_an_incident_at_an_instance_of_another_tier_is_an_event_of_the_tier_that_is_rolled() -> None:
    (event,) = found([LogRow(110.0, "edge-v1-1", "death", "edge-v1-1 of tier edge died.")])["9"].events
    assert event.name == "death"


def test_a_release_that_was_taken_back_before_any_tier_moved_has_one_span() -> None:
    (only,) = spans_of(replace(RELEASE, outcome="undone"), [])
    assert only.path == ("release",)


def test_identifiers_depend_on_the_release_alone() -> None:
    paths = [one.path for one in found().values()]
    first, again = [[span_id(release, path) for path in paths] for release in (RELEASE, replace(RELEASE))]
    assert first == again
    assert len(set(first)) == len(paths)
    ended_otherwise = replace(RELEASE, outcome="undone", ended=999.0, undo_reason="asked")
    assert trace_id(RELEASE) == trace_id(ended_otherwise) != trace_id(replace(RELEASE, started=100.5))
