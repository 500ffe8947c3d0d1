"""Weights: those of a share while a canary steps, equal ones otherwise, and each given once."""

from __future__ import annotations

from tests.unit.rollout.fleets import fleet

from changeover.rollout.commands import SetWeight
from changeover.rollout.events import WeightSeen
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import DEFAULT_WEIGHT, Member
from changeover.rollout.members.weights import GivenWeights, give, given_before, next_weights, see
from changeover.rollout.tier.context import Context
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import Rollout, Stepping, TierState

STEPS = (CanaryStep("share", 50), CanaryStep("share", 100))
SETTINGS = RolloutSettings("web", 2, 1, 0, 1.0, 60.0, 600.0, False, "canary", STEPS, weighed=True)
EQUAL = GivenWeights("v2", DEFAULT_WEIGHT, DEFAULT_WEIGHT)
HALF = GivenWeights("v2", 256, 128)


def at_step(index: int) -> TierState:
    return TierState("v2", Stepping(Rollout("v1", "canary"), index, 0.0))


def test_a_step_asks_for_the_weights_of_its_share() -> None:
    context = Context(SETTINGS, fleet("v1 admitted", "v1 admitted", "v2 admitted"))
    assert next_weights(context, at_step(0), None) == HALF


def test_all_of_the_traffic_and_a_tier_without_steps_ask_for_equal_weights() -> None:
    context = Context(SETTINGS, fleet("v1 admitted", "v2 admitted"))
    assert next_weights(context, at_step(1), HALF) == EQUAL
    assert next_weights(context, TierState("v2"), EQUAL) is EQUAL


def given(members: Fleet, before: GivenWeights | None, wanted: GivenWeights, *joined: Member) -> list[SetWeight]:
    commands = give(Context(SETTINGS, members), at_step(0), before, wanted, joined, 0.0)
    return [command for command in commands if isinstance(command, SetWeight)]


def test_new_weights_go_to_all_admitted_instances_and_stay_known_for_the_others() -> None:
    members = fleet("v1 admitted", "v1 warming", "v2 admitted")
    assert given(members, EQUAL, HALF) == [SetWeight("web-v1-1", 128), SetWeight("web-v2-3", 256)]
    assert members.members["web-v1-2"].weight == 128


def test_while_the_weights_stay_only_instances_that_joined_get_them() -> None:
    members = fleet("v1 admitted", "v1 admitted", "v2 admitted")
    joined = members.members["web-v2-3"]
    assert given(members, HALF, HALF, joined) == [SetWeight("web-v2-3", 256)]
    assert given(members, HALF, HALF) == []


def test_equal_weights_that_were_given_are_not_given_again() -> None:
    members = fleet("v1 admitted", "v2 admitted")
    assert given(members, EQUAL, EQUAL, *members) == []


def test_after_a_restart_equal_weights_are_known_and_others_are_given_anew() -> None:
    members = fleet("v1 admitted", "v2 admitted")
    assert given_before(TierState("v2"), members) == EQUAL
    members.set_weight(members.members["web-v2-2"], 7)
    assert given_before(TierState("v2"), members) is None


def test_a_weight_is_unseen_until_the_routers_have_it() -> None:
    members = fleet("v1 admitted")
    (member,) = members
    members.set_weight(member, 7)
    assert not members.weights_seen
    see(members, member, WeightSeen(0.0, member.name, 5))
    assert not members.weights_seen
    see(members, member, WeightSeen(1.0, member.name, 7))
    assert members.weights_seen
