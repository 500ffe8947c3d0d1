"""Instances of a tier that its platform spreads over zones leave so that the spread stays even."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies.next_actions import Target
from changeover.rollout.strategies.rolling import first_to_go

ZONES = "abc"


def admitted(serial: int, template: str, place: str) -> Member:
    return Member(f"app-{template}-{serial}", template, serial, Phase.ADMITTED, {Phase.ADMITTED: 0.0}, place=place)


def unevenness(members: list[Member]) -> int:
    counts = Counter(member.place for member in members)
    return max(counts[zone] for zone in ZONES) - min(counts[zone] for zone in ZONES)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("size", [3, 4, 5, 6, 9, 11])
def test_a_spread_stays_as_even_as_it_can_be_when_one_after_the_other_is_replaced(size: int, seed: int) -> None:
    chance = random.Random(seed)
    places = [ZONES[number % 3] for number in range(size)]
    chance.shuffle(places)
    members = [admitted(number, "v1", place) for number, place in enumerate(places)]
    for serial in range(size, 2 * size):
        counts = Counter(member.place for member in members)
        fewest = min(counts[zone] for zone in ZONES)
        zone = chance.choice([zone for zone in ZONES if counts[zone] == fewest])  # as Google's EVEN shape does
        members.append(admitted(serial, "v2", zone))
        (leaves,) = first_to_go(Fleet(members), 1, Target("v2", size, 1, 0), other_than="v2")
        members = [member for member in members if member.name != leaves]
        assert unevenness(members) <= 2
    assert {member.template for member in members} == {"v2"}
    assert unevenness(members) == (1 if size % 3 else 0)


def test_within_a_zone_the_oldest_leaves_first_and_without_zones_the_oldest_of_all() -> None:
    wanted = Target("v2", 3, 1, 0)
    spread = Fleet([admitted(1, "v1", "a"), admitted(2, "v1", "b"), admitted(3, "v1", "b"), admitted(4, "v2", "c")])
    assert first_to_go(spread, 2, wanted, other_than="v2") == ["app-v1-2", "app-v1-1"]
    alike = Fleet([admitted(1, "v1", ""), admitted(2, "v1", ""), admitted(3, "v2", "")])
    assert first_to_go(alike, 1, wanted, other_than="v2") == ["app-v1-1"]
