"""The calls of a roll per minute: within the default quota whatever the size of the group."""

from __future__ import annotations

import pytest

from changeover.model.platform import PlatformSettings
from changeover.platforms.gcp.quota import QUOTA, most_calls, slow_enough

LOOK = PlatformSettings.model_fields["look"].default


@pytest.mark.parametrize("machines", [2, 10, 100, 1_000, 2_000])
def test_a_regional_group_of_any_size_behind_two_services_is_within_the_quota(machines: int) -> None:
    assert most_calls(LOOK, services=2, zones=3, machines=machines, others=3) <= QUOTA / 2


def test_calls_follow_the_looks_and_not_the_vms() -> None:
    few, many = (most_calls(LOOK, 1, 1, machines, 0) for machines in (4, 500))
    assert few == many
    assert most_calls(LOOK / 10, 1, 1, 4, 0) == 10 * few


def test_the_pause_that_it_names_fits_the_quota() -> None:
    calls = most_calls(0.2, 2, 3, 1_000, 3)
    assert calls > QUOTA
    slower = slow_enough(0.2, calls)
    assert most_calls(slower, 2, 3, 1_000, 3) <= QUOTA
    assert most_calls(slower - 0.1, 2, 3, 1_000, 3) > QUOTA
