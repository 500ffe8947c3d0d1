"""The calls of a roll per minute: within the default quota whatever the size of the group."""

from __future__ import annotations

import pytest

from changeover.model.platform import PlatformSettings
from changeover.platforms.gcp.quota import QUOTA, most_calls, slow_enough

LOOK = PlatformSettings.model_fields["look"].default
SMALL = {"groups": 1, "services": 1, "zones": 1, "others": 0}
LARGE = {"groups": 2, "services": 2, "zones": 3, "others": 3}


@pytest.mark.parametrize("machines", [2, 10, 100, 1_000, 2_000])
def test_a_regional_group_of_any_size_behind_two_services_is_within_the_quota(machines: int) -> None:
    assert most_calls(LOOK, groups=1, services=2, zones=3, machines=machines, others=3) <= QUOTA / 2
    assert most_calls(LOOK, groups=2, services=1, zones=3, machines=machines, others=3, maps=1) <= QUOTA


def test_calls_follow_the_looks_and_not_the_vms() -> None:
    few, many = (most_calls(LOOK, machines=machines, **SMALL) for machines in (4, 500))
    assert few == many
    assert most_calls(LOOK / 10, machines=4, **SMALL) == 10 * few


def test_the_pause_that_it_names_fits_the_quota() -> None:
    calls = most_calls(0.2, machines=1_000, **LARGE)
    assert calls > QUOTA
    slower = slow_enough(0.2, calls)
    assert most_calls(slower, machines=1_000, **LARGE) <= QUOTA
    assert most_calls(slower - 0.1, machines=1_000, **LARGE) > QUOTA
