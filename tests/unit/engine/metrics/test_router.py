"""Samples from routers' counters, with routers that say what a test makes them say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from changeover.engine.metrics.router import ByNode, RouterSource
from changeover.engine.metrics.source import look
from changeover.model.guard import Condition, Guard, RequestCounts
from changeover.ports import Unknown
from changeover.rollout.guard.cohorts import CohortMember, Cohorts
from changeover.rollout.guard.evaluate import GuardRun, Missing, Sample, Seen

SIDES = Cohorts(100.0, "v2", (CohortMember("new", 90.0),), "v1", (CohortMember("old", 10.0),), fresh=False)


def counts(**instances: tuple[int, int]) -> dict[str, RequestCounts]:
    return {name: RequestCounts(*each) for name, each in instances.items()}


def asked(told: Iterable[ByNode | Unknown], **rule: Any) -> list[Seen]:
    """What a condition gets from routers that say these things, the first as the step begins."""
    condition = Condition.model_validate({"name": "a", "source": "router", "min_requests": 10, **rule})
    said = list(told)

    async def read() -> ByNode:
        now = said.pop(0)
        if isinstance(now, Unknown):
            raise now
        return now

    async def go() -> list[Seen]:
        source = RouterSource(read)
        await source.begin(SIDES, 100.0)
        return [await source.measure("g/a", condition, SIDES, 101.0 + number) for number in range(len(said))]

    return asyncio.run(go())


def told(seen: list[Seen]) -> list[float | str | tuple[float, float]]:
    return [
        one.why if isinstance(one, Missing) else one.value if one.baseline is None else (one.value, one.baseline)
        for one in seen
    ]


BROKEN = {"measure": "broken_requests", "at_most": 0}
RATIO = {"measure": "error_ratio", "at_most": 0.5}


def test_broken_requests_count_from_the_beginning_of_the_step_over_all_routers() -> None:
    seen = asked(
        [
            {"e1": counts(old=(500, 7)), "e2": counts(old=(500, 2))},
            {"e1": counts(old=(510, 7), new=(5, 1)), "e2": counts(old=(510, 3), new=(5, 0))},
            {"e1": counts(old=(520, 7), new=(9, 1)), "e2": counts(old=(520, 3), new=(9, 4))},
        ],
        **BROKEN,
    )
    assert told(seen) == [2, 6]
    assert isinstance(seen[0], Sample)
    assert seen[0].of == "of 32 attempts of the routers"


def test_what_an_instance_broke_is_not_forgotten_when_it_is_taken_out() -> None:
    seen = asked(
        [{"e": counts(old=(0, 0))}, {"e": counts(old=(5, 0), new=(1, 3))}, {"e": counts(old=(9, 0))}], **BROKEN
    )
    assert told(seen) == [3, 3]


def test_a_share_is_of_the_canarys_requests_in_the_interval() -> None:
    seen = asked(
        [{"e": counts(new=(0, 0))}, {"e": counts(new=(8, 2), old=(90, 10))}, {"e": counts(new=(17, 3))}], **RATIO
    )
    assert told(seen) == [0.2, 0.1]


def test_a_comparison_has_the_share_of_either_side() -> None:
    rule = {"measure": "error_ratio", "against_baseline": True}
    seen = asked([{"e": counts(new=(0, 0), old=(5, 5))}, {"e": counts(new=(8, 2), old=(95, 15))}], **rule)
    assert told(seen) == [(0.2, 0.1)]
    seen = asked([{"e": counts(new=(0, 0), old=(5, 5))}, {"e": counts(new=(8, 2), old=(6, 5))}], **rule)
    assert told(seen) == ["1 requests to the baseline in this interval, 10 are needed"]


def test_errors_that_one_client_provokes_on_every_instance_do_not_fail_a_comparison() -> None:
    """It sends a third of the requests, all answered with 5xx, and the router spreads them."""
    rule = {"measure": "error_ratio", "against_baseline": True, "margin": 0.01, "interval": "1s"}
    said = [{"e": counts(new=(20 * n, 10 * n), old=(180 * n, 90 * n + n % 3))} for n in range(11)]
    guard = Guard(name="g", conditions=(Condition.model_validate({"name": "a", "source": "router", **rule}),))
    run = GuardRun([guard], began=100.0)
    for sample in asked(said, **rule):
        run.take(sample)
    assert run.verdict.state == "passed"
    counted = asked(said, **BROKEN)[-1]
    assert isinstance(counted, Sample)
    assert counted.value > 900  # so a count with at_most fails


def test_no_traffic_is_no_proof() -> None:
    assert told(asked([{"e": counts(new=(3, 0))}] * 2, **BROKEN)) == [
        "the routers have passed on no request since the step began"
    ]
    assert told(asked([{"e": counts(new=(3, 0))}] * 2, **RATIO)) == [
        "0 requests to the canary in this interval, 10 are needed"
    ]


def test_a_gap_in_the_counters_is_missing_and_not_zero() -> None:
    seen = asked(
        [
            {"e": counts(new=(50, 1))},
            {"e": counts(new=(3, 0))},  # it was restarted
            Unknown("e: no answer"),
            {"e": counts(new=(9, 1)), "f": counts(new=(1, 0))},
            {"e": counts(new=(12, 1))},  # f is gone
            {"e": counts(new=(15, 2))},
        ],
        **BROKEN,
    )
    assert told(seen) == [
        "e reset its counters of new",
        "e: no answer",
        1,
        "f counted before and does not respond any more",
        2,
    ]


def test_a_beginning_that_is_not_known_makes_the_first_sample_missing() -> None:
    seen = asked([Unknown("e: no answer"), {"e": counts(new=(50, 1))}, {"e": counts(new=(70, 1))}], **RATIO)
    assert told(seen) == ["the counters at the beginning of the step are not known: e: no answer", 0]


def looked(sides: Cohorts, rule: dict[str, Any]) -> list[Seen]:
    guard = Guard(name="g", conditions=(Condition.model_validate({"name": "a", "interval": "1s", **rule}),))
    return asyncio.run(look(GuardRun([guard], 100.0), {}, sides, 103.0))


def test_a_source_that_is_not_there_is_missing() -> None:
    assert told(looked(SIDES, {"source": "router", **BROKEN})) == ["there is no source router"]
