"""What a group of the fake does next, as pure functions of its instances and its policy."""

from __future__ import annotations

from typing import Any

import pytest
from tests.gcp.fake.groups.planning import (
    Member,
    Plan,
    Version,
    next_version,
    outdated,
    shares,
    shrink,
    update,
    zone_for,
)

OLD, NEW, RENAMED = Version("v1", "t/v1"), Version("v2", "t/v2"), Version("0/2026", "t/v1")


def members(*versions: Version, available: bool = True, zone: str = "a") -> list[Member]:
    return [Member(f"{v.name}-{number}", zone, v, available) for number, v in enumerate(versions)]


def policy(surge: int, unavailable: int, **more: Any) -> dict[str, Any]:
    return {"maxSurge": {"fixed": surge}, "maxUnavailable": {"fixed": unavailable}, **more}


def test_a_fixed_or_percentual_version_has_its_share_and_another_the_rest() -> None:
    assert shares([(NEW, {"fixed": 3}), (OLD, None)], 10) == [(NEW, 3), (OLD, 7)]
    assert shares([(OLD, None), (NEW, {"percent": 25})], 10) == [(NEW, 2), (OLD, 8)]
    assert shares([(NEW, {"fixed": 3}), (OLD, None)], 2) == [(NEW, 2), (OLD, 0)]


def test_an_instance_of_no_present_version_is_outdated() -> None:
    assert outdated(members(OLD, OLD), [(NEW, 2)]) == members(OLD, OLD)
    assert outdated(members(OLD, OLD), [(OLD, 2)]) == []


def test_another_name_of_the_same_template_is_another_version() -> None:
    assert len(outdated(members(OLD, OLD), [(RENAMED, 2)])) == 2


def test_a_version_gives_away_only_what_another_lacks() -> None:
    assert len(outdated(members(OLD, OLD, OLD), [(NEW, 1), (OLD, 2)])) == 1
    assert outdated(members(OLD, OLD, OLD), [(OLD, 2)]) == [], "a group that is too large is no update"


def test_a_new_instance_fills_the_version_with_a_size_first() -> None:
    wanted = [(NEW, 1), (OLD, 2)]
    assert next_version(members(OLD, OLD), wanted) == NEW
    assert next_version(members(OLD, NEW), wanted) == OLD


@pytest.mark.parametrize(
    ("policy", "old", "new", "plan"),
    [
        (policy(1, 0), 2, 0, Plan(create=1)),
        (policy(1, 0), 2, 1, Plan(delete=["v1-0"])),
        (policy(0, 1), 2, 0, Plan(delete=["v1-0"])),
        (policy(0, 1), 1, 0, Plan(create=1)),
        (policy(2, 2), 2, 0, Plan(create=2, delete=["v1-0", "v1-1"])),
        (policy(0, 1, replacementMethod="RECREATE"), 2, 0, Plan(recreate=["v1-0"])),
    ],
)
def test_the_updater_keeps_within_its_bounds(policy: dict[str, Any], old: int, new: int, plan: Plan) -> None:
    aged = members(*[OLD] * old)
    assert update([*aged, *members(*[NEW] * new)], aged, 2, policy) == plan


def test_an_instance_that_does_not_serve_goes_first_whatever_the_bounds_are() -> None:
    broken = members(OLD, available=False)
    assert update(broken, broken, 1, policy(1, 0)) == Plan(create=1, delete=["v1-0"])


def test_a_smaller_group_gives_up_what_serves_least() -> None:
    fleet = [*members(NEW), *members(OLD, zone="b"), Member("sick", "b", NEW, available=False)]
    assert shrink(fleet, members(OLD, zone="b"), 2) == ["sick", "v1-0"]


def test_a_new_instance_goes_to_the_emptiest_zone() -> None:
    assert zone_for(members(OLD, zone="a"), ["a", "b"]) == "b"
    assert zone_for([], ["a", "b"]) == "a"
