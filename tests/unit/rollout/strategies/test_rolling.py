"""The next actions of a rolling rollout: within the surge, above the floor, the way back first."""

from __future__ import annotations

from tests.unit.rollout.fleets import fleet, target

from changeover.model.instance import InFlight
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies.next_actions import NextActions
from changeover.rollout.strategies.rolling import next_actions

WHOLE = ("v1 admitted", "v1 admitted")


def test_as_many_instances_are_created_as_the_surge_leaves_room_for() -> None:
    assert next_actions(fleet(*WHOLE), target(surge=1)) == NextActions(create=1)
    assert next_actions(fleet(*WHOLE), target(surge=5)) == NextActions(create=2)
    assert next_actions(fleet(*WHOLE, "v1 draining"), target(surge=1)) == NextActions()


def test_old_instances_leave_only_while_enough_serve() -> None:
    assert next_actions(fleet(*WHOLE), target(surge=0)).retire == ()
    assert next_actions(fleet(*WHOLE), target(surge=0, unavailable=1)).retire == ("web-v1-1",)
    assert next_actions(fleet(*WHOLE, "v2 admitted"), target(surge=1)).retire == ("web-v1-1",)


def test_an_old_instance_that_gets_no_traffic_leaves_at_once() -> None:
    assert next_actions(fleet("v1 warming", "v2 admitted", "v2 creating"), target()).retire == ("web-v1-1",)


def test_the_instances_with_the_fewest_requests_leave_first_where_load_decides() -> None:
    members = fleet("v1 admitted", "v1 admitted", "v2 admitted")
    members.see(members.members["web-v1-1"], InFlight(5, 5))
    assert next_actions(members, target(by_load=True)).retire == ("web-v1-2",)
    assert next_actions(members, target()).retire == ("web-v1-1",)


def test_instances_of_the_goal_that_still_drain_come_back_before_any_is_created() -> None:
    assert next_actions(fleet("v2 draining", "v1 admitted"), target()) == NextActions(("web-v2-1",), create=1)
    assert next_actions(fleet("v2 draining", "v2 leaving", "v1 admitted"), target()).create == 0


def test_an_instance_that_did_not_start_in_time_does_not_come_back() -> None:
    given_up = Member("web-v2-1", "v2", 1, Phase.LEAVING, {"leaving": 0.0}, given_up=True)
    assert next_actions(Fleet([given_up]), target()) == NextActions(create=2)


def test_no_instance_leaves_while_one_of_the_goal_is_on_its_way_back() -> None:
    back = Member("web-v2-1", "v2", 1, Phase.WARMING, {"admitted": 1.0, "leaving": 2.0, "warming": 3.0})
    others = [Member(f"web-v1-{n}", "v1", n, Phase.ADMITTED, {"admitted": 0.0}) for n in (2, 3, 4)]
    assert next_actions(Fleet([back, *others]), target()).retire == ()


def test_a_tier_at_its_goal_does_nothing_and_one_that_is_too_large_retires_the_oldest() -> None:
    assert next_actions(fleet("v2 admitted", "v2 admitted"), target()) == NextActions()
    three = fleet("v2 admitted", "v2 admitted", "v2 admitted")
    assert next_actions(three, target()) == NextActions(retire=("web-v2-1",))
