"""One look at a guard's conditions: each due condition is asked of its source, and no traffic is no sample."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.unit.engine.metrics.probed import BEGAN, FRESH, OLD

from changeover.engine.metrics.source import begin, look, too_young
from changeover.model.guard import Condition, Guard
from changeover.rollout.guard.cohorts import Cohorts
from changeover.rollout.guard.evaluate import GuardRun, Missing, Sample, Seen


@dataclass
class Constant:
    """Answers each condition with the same value."""

    value: float
    begun: list[float] = field(default_factory=list)

    async def begin(self, cohorts: Cohorts, at: float) -> None:
        self.begun.append(at)

    async def measure(self, key: str, condition: Condition, cohorts: Cohorts, at: float) -> Seen:
        return Sample(at, key, self.value)


def condition(name: str, source: str = "probe", **rule: Any) -> Condition:
    base = {"measure": "error_ratio"} if "against_baseline" in rule else {"measure": "error_ratio", "at_most": 0.5}
    return Condition.model_validate(
        {"name": name, "source": source, "interval": "1s", "initial_delay": "0s", **base, **rule}
    )


def run(*conditions: Condition) -> GuardRun:
    return GuardRun((Guard(name="g", conditions=conditions),), BEGAN)


def looked(guards: GuardRun, sources: dict[str, Constant], sides: Cohorts = OLD) -> list[Seen]:
    return asyncio.run(look(guards, dict(sources), sides, BEGAN + 1))


def test_each_condition_is_asked_of_its_source_in_the_order_of_the_guard() -> None:
    guards = run(condition("a"), condition("b", "router"))
    assert looked(guards, {"probe": Constant(1), "router": Constant(2)}) == [
        Sample(BEGAN + 1, "g/a", 1),
        Sample(BEGAN + 1, "g/b", 2),
    ]


def test_a_condition_that_is_not_due_is_not_asked() -> None:
    assert looked(run(condition("a", interval="5s")), {"probe": Constant(1)}) == []


def test_a_condition_without_its_source_is_missing() -> None:
    assert looked(run(condition("a")), {}) == [Missing(BEGAN + 1, "g/a", "there is no source probe")]


@pytest.mark.parametrize(
    ("sides", "rule", "reason"),
    [
        (replace(OLD, canary=()), {}, "no instance of v2 gets traffic yet"),
        (replace(OLD, baseline=()), {"against_baseline": True}, "no instance of v1 gets traffic to compare with"),
    ],
)
def test_a_side_without_traffic_gives_no_sample(sides: Cohorts, rule: dict[str, Any], reason: str) -> None:
    (seen,) = looked(run(condition("a", **rule)), {"probe": Constant(0)}, sides)
    assert isinstance(seen, Missing)
    assert seen.why == reason


def test_while_no_old_instance_serves_a_comparison_is_not_due() -> None:
    guards = run(condition("alone"), condition("compared", against_baseline=True))
    seen = asyncio.run(look(guards, {"probe": Constant(0)}, OLD, BEGAN + 1, comparing=False))
    assert [one.key for one in seen] == ["g/alone"]


def test_broken_requests_count_for_all_instances_even_without_a_canary() -> None:
    broken = condition("a", measure="broken_requests", at_most=0)
    (seen,) = looked(run(broken), {"probe": Constant(0)}, replace(OLD, canary=()))
    assert isinstance(seen, Sample)


def test_only_sources_that_a_condition_uses_begin() -> None:
    used, unused = Constant(0), Constant(0)
    asyncio.run(begin(run(condition("a")), {"probe": used, "router": unused}, OLD))
    assert (used.begun, unused.begun) == ([BEGAN], [])


def test_a_window_that_begins_before_an_instance_got_traffic_is_too_young() -> None:
    assert too_young(FRESH, FRESH.canary, BEGAN, 30) == "app-v2-4 has had traffic for 8.0 s, the interval is 30 s"
    assert too_young(FRESH, FRESH.canary, BEGAN, 8) == ""
