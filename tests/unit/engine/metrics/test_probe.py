"""Samples from a ledger: broken requests, latency, shares of errors, and what the shipped guards make of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.metrics.probed import (
    BEGAN,
    BROKEN,
    FRESH,
    LATENCY,
    RATIO,
    get,
    lost,
    probed,
    spread,
    why,
    write,
)
from tests.unit.probe.rows import row

from changeover.engine.metrics.ledger import LedgerReader, Versions
from changeover.engine.metrics.probe import ProbeSource
from changeover.engine.metrics.source import MetricSource, begin, look
from changeover.model.guard import (
    LATENCY_NOT_WORSE,
    NO_BROKEN_REQUESTS,
    Condition,
    Guard,
)
from changeover.probe.records.ledger import Ledger
from changeover.rollout.guard.cohorts import Cohorts
from changeover.rollout.guard.evaluate import GuardRun, GuardVerdict, Sample


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_every_broken_request_since_the_step_began_counts_for_every_instance(path: Path) -> None:
    write(path, [lost(999), *spread(1000, 1009, 50), lost(1001), lost(1002), lost(1003, None)])
    seen = probed(path, **BROKEN)
    assert seen == Sample(1010.0, "g/a", 3, of="of 53 requests (2 status 500 by app-v2-4, 1 status 500)")


def test_a_ledger_that_does_not_grow_is_abandoned(path: Path) -> None:
    write(path, spread(1000, 1009, 50))
    assert isinstance(probed(path, at=1018.0, **BROKEN), Sample)
    assert "is 12 s old: does the probe still run?" in why(probed(path, at=1021.0, **BROKEN))
    assert "is 109 s ahead of this clock" in why(probed(path, at=900.0, **BROKEN))


def test_no_request_is_no_proof(path: Path) -> None:
    write(path, spread(990, 999, 50))
    assert why(probed(path, at=1001.0, **BROKEN)) == "no request has ended since the step began"


def test_latency_against_a_threshold_is_of_the_canary_and_counts_from_when_it_was_due(path: Path) -> None:
    waited = row(scheduled=1004.0, started=1004.9, finished=1005.0, instance="app-v2-4")
    write(path, [*spread(1003.5, 1008, 30), *spread(1003.5, 1008, 30, instance="app-v1-1", ms=500), *[waited] * 4])
    seen = probed(path, **LATENCY)
    assert isinstance(seen, Sample)
    assert seen.value == pytest.approx(1000)
    assert seen.of == "of 34 answers"


def test_a_comparison_counts_from_when_it_was_sent_and_leaves_uploads_out(path: Path) -> None:
    waited = row(scheduled=1004.0, started=1004.98, finished=1005.0, instance="app-v2-4")
    write(
        path,
        [
            *spread(1003.5, 1008, 30),
            *spread(1003.5, 1008, 30, instance="app-v1-1", ms=15),
            *[waited] * 9,
            *spread(1004, 1008, 9, ms=9000, kind="upload"),
        ],
    )
    seen = probed(path, measure="latency", against_baseline=True)
    assert isinstance(seen, Sample)
    assert [seen.value, seen.baseline] == pytest.approx([20, 15])


def test_both_sides_are_looked_at_at_the_same_age(path: Path) -> None:
    """Both were slow for their first 10 s. Of the canary, two seconds younger, the clock would show more of that."""
    rows = []
    for name, admitted in (("app-v2-4", 992.0), ("app-v1-3", 990.0)):
        rows += spread(admitted, admitted + 10, 200, instance=name, ms=80)
        rows += spread(admitted + 10, 1010, 200, instance=name, ms=10)
    write(path, rows)
    rule: dict[str, Any] = {"measure": "latency", "against_baseline": True, "interval": "4s", "percentile": 50}
    ages = probed(path, at=1004.0, sides=FRESH, **rule)
    assert isinstance(ages, Sample)
    assert [ages.value, ages.baseline] == pytest.approx([80, 80])
    clock = probed(path, at=1004.0, sides=Cohorts(BEGAN, "v2", FRESH.canary, "v1", FRESH.baseline, fresh=False), **rule)
    assert isinstance(clock, Sample)
    assert [clock.value, clock.baseline] == pytest.approx([80, 10])


def test_too_few_answers_are_none(path: Path) -> None:
    write(path, [*spread(1003.5, 1008, 9), *spread(1003.5, 1008, 90, instance="app-v1-1")])
    assert why(probed(path, **LATENCY)) == "9 answers of the canary (app-v2-4) in 5 s, 20 are needed"


def test_a_canary_whose_name_is_on_no_answer_cannot_be_measured(path: Path) -> None:
    """As of a tier of proxies: only the application names itself in its answers."""
    write(path, spread(1003.5, 1008, 90, instance="app-v1-1"))
    assert why(probed(path, **RATIO)).startswith("0 answers of the canary")


def test_a_share_of_errors_has_its_worst_case(path: Path) -> None:
    write(path, [*spread(1003.5, 1008, 97), lost(1004), lost(1005, None), lost(1005, None), lost(1005, "app-v1-1")])
    seen = probed(path, **RATIO)
    assert isinstance(seen, Sample)
    assert seen.value == pytest.approx(1 / 98)
    assert seen.at_worst == pytest.approx(3 / 100)
    compared = probed(path, measure="error_ratio", against_baseline=True, min_requests=1)
    assert why(compared) == "2 broken requests of the interval name no instance, so they cannot be compared"


class Traffic:
    """Appends to a ledger what two instances answered in each second, 40 and 40 requests."""

    def __init__(self, path: Path, *, slower: float = 1.0, broken_every: int = 0) -> None:
        self._ledger = Ledger(path)
        self._slower = slower
        self._broken_every = broken_every
        self._sent = 0

    def second(self, start: float) -> None:
        for place in range(40):
            self._sent += 1
            end = start + place / 40
            broken = self._broken_every and self._sent % self._broken_every == 0
            wobble = 1 + (self._sent * 7919 % 97) / 100
            self._ledger.record(get(end, "app-v1-3", 20 * wobble))
            slow = get(end, "app-v2-4", 20 * wobble * self._slower)
            self._ledger.record(lost(end) if broken else slow)
        self._ledger.flush()

    def close(self) -> None:
        self._ledger.close()


def judged(
    guards: Sequence[Guard], path: Path, traffic: Traffic, *, silent_after: float = 1e9
) -> tuple[GuardVerdict, float]:
    """Seconds of traffic, each followed by a look, until there is a verdict; and how many it took."""
    run = GuardRun(guards, BEGAN)
    sources: dict[str, MetricSource] = {"probe": ProbeSource(LedgerReader(path))}

    async def go() -> float:
        await begin(run, sources, FRESH)
        for second in range(120):
            if second < silent_after:
                traffic.second(BEGAN + second)
            for seen in await look(run, sources, FRESH, BEGAN + second + 1):
                run.take(seen)
            if run.verdict.state != "running":
                return second + 1
        raise AssertionError(run.verdict.reason)

    try:
        took = asyncio.run(go())
        return run.verdict, took
    finally:
        traffic.close()


BOTH = (NO_BROKEN_REQUESTS, LATENCY_NOT_WORSE)


def test_a_healthy_canary_passes_both_shipped_guards(path: Path) -> None:
    verdict, took = judged(BOTH, path, Traffic(path))
    assert verdict.state == "passed", verdict.reason
    assert took == 52


def test_a_canary_that_breaks_two_percent_is_caught_within_seconds(path: Path) -> None:
    verdict, took = judged(BOTH, path, Traffic(path, broken_every=50))
    assert verdict.state == "failed"
    assert took <= 4
    assert verdict.reason.startswith("no-broken-requests/broken: 2 broken of ")
    assert "(2 status 500 by app-v2-4), at most 0 allowed" in verdict.reason


def test_a_share_of_errors_is_caught_too(path: Path) -> None:
    rule = {"name": "share", "source": "probe", "at_most": 0.01, "measure": "error_ratio"}
    guard = Guard(name="mine", conditions=(Condition.model_validate(rule),))
    verdict, _ = judged((guard,), path, Traffic(path, broken_every=50))
    assert verdict.state == "failed"
    assert verdict.reason == "mine/share: 2.000% broken of 200 requests, at most 1.000% allowed"


def test_a_slow_canary_is_caught_by_comparison_with_its_baseline(path: Path) -> None:
    verdict, took = judged(BOTH, path, Traffic(path, slower=1.6))
    assert verdict.state == "failed"
    assert took < 52  # before the round is over
    assert verdict.reason.startswith("latency-not-worse/p90: p90 ")
    assert "of the baseline, 1.60 times (medians of " in verdict.reason


def test_a_probe_that_falls_silent_pauses_the_rollout(path: Path) -> None:
    verdict, _ = judged((LATENCY_NOT_WORSE,), path, Traffic(path), silent_after=20)
    assert verdict.state == "inconclusive"
    assert "does the probe still run?" in verdict.reason


def named(end: float, version: str, ms: float = 10.0, **facts: Any) -> Any:
    return get(end, None, ms, version=version, **facts)


def versions(path: Path, **more: str) -> ProbeSource:
    """The source of a chain whose template v2 answers as version 1.5."""
    return ProbeSource(LedgerReader(path), versions=Versions({"v2": "1.5", **more}))


def test_where_no_response_names_its_instance_cohorts_are_told_apart_by_their_version(path: Path) -> None:
    rows = [named(1003.5 + place / 20, version, ms) for place in range(90) for version, ms in (("1.5", 40), ("v1", 10))]
    write(path, rows)
    seen = probed(versions(path), measure="latency", against_baseline=True)
    assert isinstance(seen, Sample)
    assert (seen.value, seen.baseline) == pytest.approx((40, 10))
    broken, other = named(1005.0, "1.5", outcome="lost", reason="status 500"), path.with_name("other.jsonl")
    write(other, [*rows, broken, broken])
    ratio = probed(versions(other), **RATIO)
    assert isinstance(ratio, Sample)
    assert 0 < ratio.value == ratio.at_worst, "both name a version, so neither may be of another cohort"


def test_a_ledger_whose_responses_name_nothing_says_what_the_chain_file_can_name(path: Path) -> None:
    write(path, spread(1003.5, 1008, 60, instance=None, version=None))
    assert "instance_header, version_header or version_pattern" in why(probed(path, **LATENCY))


def test_a_version_that_old_and_new_instances_share_tells_nothing_apart(path: Path) -> None:
    write(path, [named(1003.5 + place / 20, "1.5") for place in range(90)])
    assert why(probed(versions(path, v1="1.5"), **RATIO)).endswith("old and new instances have the version 1.5")
    assert "the fresh baseline has the version of the old instances" in why(
        probed(versions(path), sides=FRESH, **RATIO)
    )
