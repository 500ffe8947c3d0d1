"""Simulated rollouts as one object and as a table: means over runs, extremes by name, the first reason of a failure."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.cli.rendering.printed import shown

from changeover.cli.rendering.simulation import SimulatedRollouts, assumptions, data, picture
from changeover.rollout.simulation.model import SimulatedTier, SimulationResult
from changeover.rollout.tier.settings import RolloutSettings

SETTINGS = RolloutSettings("runtime", 1000, 10, 2, 1.0, 60.0, 600.0, cut_at_deadline=False)
DONE = SimulationResult("completed", "", 100.0, 80.0, 1010, 997, 0, 0, 1, 2, 3, 3, 5000)
SLOWER = replace(DONE, seconds=140.0, peak=1005, fewest=990, failures=4)
UNDONE = replace(DONE, outcome="undone", reason="errors", lower_bound=None)


def rollouts(*results: SimulationResult) -> SimulatedRollouts:
    return SimulatedRollouts(SETTINGS, results)


def test_figures_are_means_and_extremes_are_over_all_runs() -> None:
    found = data([rollouts(DONE, SLOWER)], SimulatedTier(), seed=3)
    (tier,) = found["tiers"]
    assert (tier["seconds"], tier["min_seconds"], tier["max_seconds"]) == (120, 100, 140)
    assert (tier["max_instances"], tier["min_serving"], tier["failures"]) == (1010, 990, 3.5)
    assert tier["ratio_to_lower_bound"] == 1.5
    assert (found["seed"], found["seconds"], found["clean"], tier["reason"]) == (3, 120, True, None)


def test_a_rollout_that_does_not_complete_has_its_reason_and_makes_the_whole_endless() -> None:
    found = data([rollouts(DONE, UNDONE)], SimulatedTier(), seed=1)
    (tier,) = found["tiers"]
    assert (tier["completed"], tier["runs"], tier["reason"]) == (1, 2, "undone: errors")
    assert (found["seconds"], found["clean"]) == (None, False)
    assert tier["lower_bound_seconds"] == 80  # of the run that has one


def test_a_rollout_that_cuts_a_request_is_not_clean() -> None:
    assert not rollouts(replace(DONE, cut_uploads=1)).clean
    assert not rollouts(DONE, replace(DONE, cut_requests=1)).clean
    assert rollouts(DONE).clean


def test_the_table_has_a_column_for_each_tier_and_the_assumptions_below() -> None:
    other = SimulatedRollouts(replace(SETTINGS, tier="edge", strategy="blue-green"), (DONE,))
    text = shown(picture([rollouts(DONE, SLOWER), other], SimulatedTier(), seed=7))
    assert "strategy │ rolling │ blue-green" in text
    assert "instances + surge │ 1,000 + 10 - 2 │ 1,000 + 1,000 - 2" in text
    assert "duration │ 2m (1m40s to 2m20s) │ 1m40s" in text
    assert "ratio to lower bound │ 1.50 │ 1.25" in text
    assert "requests lost with them │ 3 │ 3" in text
    assert "One tier after the other:" in text
    assert text.endswith("--seed 7")


def test_the_assumptions_are_spelled_as_the_options_that_give_them() -> None:
    found = assumptions(SimulatedTier())
    assert (found["start-time"], found["failures"], found["look"]) == ("10s", "0s", "30ms")
    assert assumptions(SimulatedTier(lifetime=3600.0))["failures"] == "1h"
