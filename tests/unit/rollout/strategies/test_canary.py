"""A canary's instances, its weights, and when a share counts as reached."""

from __future__ import annotations

import pytest
from tests.unit.rollout.fleets import fleet, target

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.strategies.canary import FULL_WEIGHT, actual_share, arrived, instances, next_actions, weights
from changeover.rollout.strategies.next_actions import NextActions


@pytest.mark.parametrize(
    ("share", "weighed", "new", "old"),
    [
        (0, False, 0, 10),
        (1, False, 1, 9),
        (25, False, 2, 8),
        (100, False, 10, 0),
        (0, True, 0, 10),
        (1, True, 1, 10),
        (25, True, 2, 10),
        (100, True, 10, 0),
    ],
)
def test_a_share_is_one_of_requests_where_the_router_can_weigh_else_one_of_instances(
    share: int, weighed: bool, new: int, old: int
) -> None:
    assert instances(share, target(size=10, surge=2), weighed=weighed) == (new, old)


def weigh(members: Fleet, share: int) -> tuple[int, int]:
    return weights(members, target(size=4), share)


def test_the_weights_give_the_new_instances_their_share_and_the_heaviest_the_full_weight() -> None:
    beside = fleet(*["v1 admitted"] * 4, "v2 admitted")
    assert weigh(beside, 50) == (FULL_WEIGHT, FULL_WEIGHT // 4)
    new, old = weigh(beside, 10)
    assert old == FULL_WEIGHT
    assert 100 * new / (new + 4 * old) == pytest.approx(10, abs=0.1)


def test_no_instance_gets_weight_zero() -> None:
    assert weigh(fleet(*["v1 admitted"] * 4, "v2 admitted"), 0) == (1, FULL_WEIGHT)


def test_the_actual_share_is_computed_from_the_weights_that_routers_were_seen_to_have() -> None:
    members = fleet("v1 admitted", "v1 admitted", "v2 admitted")
    members.see_weight(members.members["web-v2-3"], 200)
    assert actual_share(members, "v2") == 50
    assert actual_share(fleet("v1 draining"), "v2") is None


def test_a_canary_is_created_beside_the_old_instances_within_the_surge() -> None:
    assert next_actions(fleet(*["v1 admitted"] * 4), target(size=4), share=25, weighed=True) == NextActions(create=1)
    full = fleet(*["v1 admitted"] * 4, "v1 draining")
    assert next_actions(full, target(size=4), share=25, weighed=True) == NextActions()


def test_old_instances_make_room_for_a_share_of_instances() -> None:
    served = fleet(*["v1 admitted"] * 4, "v2 admitted")
    assert next_actions(served, target(size=4), share=25, weighed=False).retire == ("web-v1-1",)
    assert next_actions(served, target(size=4), share=25, weighed=True).retire == ()


def test_an_old_instance_that_died_is_replaced_from_the_old_template() -> None:
    assert next_actions(fleet(*["v1 admitted"] * 3, "v2 admitted"), target(size=4), share=25, weighed=True).heal == 1


def test_a_fresh_baseline_replaces_the_oldest_one_by_one_whatever_their_load() -> None:
    members = fleet(*["v1 admitted"] * 4, "v2 admitted")
    made = next_actions(members, target(size=4, by_load=True), share=25, weighed=True, fresh=0)
    assert made.retire == ("web-v1-1",)
    assert next_actions(members, target(size=4), share=25, weighed=True, fresh=1) == NextActions()


def test_a_share_is_reached_when_all_instances_serve_and_none_is_changing_its_phase() -> None:
    def reached(*members: str, fresh: int | None = None) -> bool:
        return arrived(fleet(*members), target(size=2), share=50, weighed=True, fresh=fresh)

    whole = ("v1 admitted", "v1 admitted", "v2 admitted")
    assert reached(*whole)
    assert not reached("v1 admitted", "v1 admitted", "v2 ready")
    assert not reached(*whole, "v1 draining")
    assert not reached(*whole, fresh=0)
    assert reached(*whole, fresh=1)
