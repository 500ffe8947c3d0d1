"""The least time of a rollout: waves where the limits leave no other way, everything at once where they do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.rollout.simulation.lower_bound import lower_bound
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings

SETTINGS = RolloutSettings("web", 4, 1, 0, 2.0, 60.0, 600.0, cut_at_deadline=False)
STARTS, DRAINS = [8.0] * 4, [30.0] * 4


@pytest.mark.parametrize(("surge", "unavailable", "waves"), [(1, 0, 4), (2, 0, 2), (4, 0, 1)])
def test_each_wave_lasts_a_start_min_ready_and_a_drain(surge: int, unavailable: int, waves: int) -> None:
    settings = replace(SETTINGS, surge=surge, unavailable=unavailable)
    assert lower_bound(settings, STARTS, DRAINS) == waves * (8 + 2 + 30)


def test_instances_that_may_be_missing_drain_while_others_start() -> None:
    assert lower_bound(replace(SETTINGS, surge=4, unavailable=4), STARTS, DRAINS) == 30


def test_the_slowest_instance_decides_where_all_go_at_once() -> None:
    assert lower_bound(replace(SETTINGS, surge=4), [1.0, 1.0, 1.0, 50.0], [0.0] * 4) == 52


def test_an_instance_that_failed_in_place_of_a_drain_takes_no_time() -> None:
    assert lower_bound(replace(SETTINGS, size=2, surge=2), [8.0, 8.0], [30.0]) == 40
    assert lower_bound(replace(SETTINGS, size=2, surge=2), [8.0, 8.0], []) == 10


def test_blue_green_drains_while_it_bakes() -> None:
    settings = replace(SETTINGS, strategy="blue-green", bake=100.0)
    assert lower_bound(settings, STARTS, DRAINS) == 8 + 2 + 100
    assert lower_bound(replace(settings, bake=0.0), STARTS, DRAINS) == 8 + 2 + 30


def test_a_canary_starts_its_first_instances_before_all_others() -> None:
    settings = replace(SETTINGS, surge=4, strategy="canary", steps=(CanaryStep("share", 25),))
    assert lower_bound(settings, STARTS, DRAINS) == 2 * (8 + 2 + 30)
    assert lower_bound(replace(settings, steps=()), STARTS, DRAINS) == 8 + 2 + 30


def test_a_tier_that_has_nothing_to_start_or_drain_needs_no_time_for_it() -> None:
    assert lower_bound(replace(SETTINGS, strategy="blue-green"), [], []) == 2
