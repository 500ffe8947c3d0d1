"""Sums over the log's lines, as the controller writes them."""

from __future__ import annotations

from itertools import count

from changeover.engine.journal.records import LogEntry
from changeover.rollout.members.phases import TABLE, Cause, Phase
from changeover.web.metrics.log_counts import _ENDS, LogCounts

_numbers = count(1)


def line(at: float, kind: str, text: str, instance: str = "runtime-v2-3", rollout: int | None = 1) -> LogEntry:
    return LogEntry(next(_numbers), at, rollout, "runtime", instance, kind, text)


def moved(at: float, before: Phase, cause: Cause) -> LogEntry:
    return line(at, "phase", f"{before} -> {TABLE[before, cause]}: {cause}")


def test_a_start_a_drain_and_the_last_progress_are_measured() -> None:
    counts = LogCounts()
    counts.take(
        [
            line(10, "command", "create instance: template v2"),
            line(12, "command", "create instance: template v2"),  # given again without visible effect
            moved(13, Phase.CREATING, Cause.BECAME_READY),
            moved(14, Phase.READY, Cause.ADMISSION_CONFIRMED),
            moved(20, Phase.LEAVING, Cause.REMOVAL_CONFIRMED),
            moved(25.5, Phase.DRAINING, Cause.EMPTIED),
            line(40, "event", "in flight seen"),
        ]
    )
    assert (counts.ready, counts.drains) == ({"runtime": [3]}, {("runtime", "emptied"): [5.5]})
    assert (counts.admissions["runtime"], counts.failures["runtime"]) == (1, 0)
    assert counts.progress == {1: 25.5}


def test_lines_that_come_later_add_to_the_sums() -> None:
    whole, parts = LogCounts(), LogCounts()
    lines = [moved(20, Phase.LEAVING, Cause.REMOVAL_CONFIRMED), moved(80, Phase.DRAINING, Cause.DEADLINE_CUT)]
    whole.take(lines)
    for each in lines:
        parts.take([each])
    assert whole.drains == parts.drains == {("runtime", "deadline"): [60]}
    assert parts.seq == lines[-1].seq


def test_deaths_count_and_a_planned_end_does_not() -> None:
    counts = LogCounts()
    counts.take(
        [
            moved(1, Phase.CREATING, Cause.EXITED),
            moved(2, Phase.ADMITTED, Cause.EXITED),
            moved(3, Phase.DRAINING, Cause.EXITED),
            moved(4, Phase.STOPPING, Cause.EXITED),
        ]
    )
    assert counts.failures["runtime"] == 3


def replacing(*rollouts: int | None) -> LogCounts:
    """v1-1 is created in the first of these, dies in the second, and v1-2 and v1-3 are created in the third."""
    counts, create = LogCounts(), "create instance: template v1"
    before, death, after = rollouts
    counts.take(
        [
            line(1, "command", create, "runtime-v1-1", before),
            line(2, "phase", f"creating -> warming: {Cause.BECAME_READY}", "runtime-v1-1", before),
            line(9, "phase", f"admitted -> failed: {Cause.EXITED}", "runtime-v1-1", death),
            line(10, "command", create, "runtime-v1-2", after),
            line(11, "command", create, "runtime-v1-2", after),  # given again
            line(12, "command", create, "runtime-v1-3", after),
        ]
    )
    return counts


def test_an_instance_in_the_place_of_one_that_died_is_a_replacement_and_another_one_is_none() -> None:
    assert replacing(1, None, None).replacements == {"runtime": 1}
    assert replacing(1, 2, 2).replacements == {"runtime": 1}


def test_what_a_later_rollout_creates_replaces_no_instance_that_died_before_it() -> None:
    assert replacing(1, None, 2).replacements == {}


def test_an_interruption_counts_for_its_tier() -> None:
    counts = LogCounts()
    counts.take([line(1, "interruption", "The load balancer ended, and every connection through it.")])
    assert counts.interruptions == {"runtime": 1}


def test_every_end_of_a_drain_has_a_label() -> None:
    assert {cause for phase, cause in TABLE if phase is Phase.DRAINING} <= set(_ENDS)
