"""The next actions of a blue-green rollout: the new colour whole beside the old one, one switch, the old one kept."""

from __future__ import annotations

from tests.unit.rollout.fleets import fleet, target

from changeover.rollout.strategies.blue_green import begun, complete, next_actions, switched
from changeover.rollout.strategies.next_actions import NextActions

BLUE = ("v1 admitted", "v1 admitted")


def test_the_new_colour_is_created_at_once_and_waits_until_it_is_whole() -> None:
    assert next_actions(fleet(*BLUE), target(), phase="before") == NextActions(create=2, admit=False)
    assert not next_actions(fleet(*BLUE, "v2 ready", "v2 warming"), target(), phase="before").admit
    assert next_actions(fleet(*BLUE, "v2 ready", "v2 ready"), target(), phase="before") == NextActions(admit=True)


def test_a_switch_that_is_held_admits_no_instance() -> None:
    assert not next_actions(fleet(*BLUE, "v2 ready", "v2 ready"), target(), phase="before", hold=True).admit


def test_never_more_than_twice_the_instances_exist() -> None:
    crowded = fleet(*BLUE, "v1 draining", "v1 draining")
    assert next_actions(crowded, target(), phase="before").create == 0


def test_the_old_colour_is_healed_until_the_switch_has_begun() -> None:
    assert next_actions(fleet("v1 admitted", "v2 ready", "v2 ready"), target(), phase="before").heal == 1
    assert next_actions(fleet("v1 admitted", "v2 admitted", "v2 ready"), target(), phase="before").heal == 0


def test_the_old_colour_leaves_only_when_the_whole_new_one_serves() -> None:
    assert next_actions(fleet(*BLUE, "v2 admitted", "v2 ready"), target(), phase="before").retire == ()
    done = next_actions(fleet(*BLUE, "v2 admitted", "v2 admitted"), target(), phase="before")
    assert (done.retire, done.warm) == (("web-v1-1", "web-v1-2"), True)


def test_drained_instances_are_kept_warm_while_the_new_colour_is_baked_and_no_longer() -> None:
    green = fleet("v1 drained", "v1 drained", "v2 admitted", "v2 admitted")
    assert next_actions(green, target(), phase="baking").warm
    assert not next_actions(green, target(), phase="after").warm


def test_the_switch_is_done_when_no_router_sends_the_old_colour_any_traffic() -> None:
    green = ("v2 admitted", "v2 admitted")
    assert not switched(fleet("v1 leaving", *green), target())
    assert switched(fleet("v1 draining", *green), target())
    assert not switched(fleet("v1 draining", "v2 admitted"), target())


def test_complete_and_begun_look_at_the_new_colour_alone() -> None:
    assert not complete(fleet(*BLUE, "v2 ready"), target())
    assert complete(fleet("v2 ready", "v2 admitted"), target())
    assert not begun(fleet(*BLUE, "v2 ready"), target())
    assert begun(fleet("v2 admitted"), target())
