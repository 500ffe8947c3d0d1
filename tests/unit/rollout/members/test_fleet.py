"""The indexes of a fleet say what a look at every member would say."""

from __future__ import annotations

import sys
from math import inf
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changeover.model.instance import InFlight
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import EXISTING, STARTING, STAYING, Cause, Phase

steps = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(Cause)), max_size=200)
phases = st.frozensets(st.sampled_from(Phase)) | st.sampled_from([STARTING, STAYING])


def walked(fleet: Fleet, walk: list[tuple[int, Cause]]) -> Fleet:
    for serial in range(10):
        fleet.add(Member(f"web-{serial}", ("v1", "v2", "v3")[serial % 3], serial))
    for at, (serial, cause) in enumerate(walk):
        if (member := fleet.get(f"web-{serial}")) is not None:
            fleet.move(member, cause, float(at))
            member.served = member.served or member.phase is Phase.ADMITTED
    return fleet


@given(steps, phases, st.sampled_from([None, "v1", "v2"]), st.sampled_from([None, "v1", "v3"]))
def test_counts(
    walk: list[tuple[int, Cause]], phases: frozenset[Phase], template: str | None, other: str | None
) -> None:
    fleet = walked(Fleet(), walk)
    other = None if template else other
    wanted = [m for m in fleet if m.phase in phases and template in (None, m.template) and m.template != other]
    assert fleet.count(phases, template, other) == len(wanted)
    assert sorted(m.name for m in fleet.where(*phases, template=template, other_than=other)) == sorted(
        m.name for m in wanted
    )
    assert fleet.existing == sum(m.phase in EXISTING for m in fleet)
    assert fleet.serving == sum(m.phase is Phase.ADMITTED for m in fleet)
    assert fleet.staying("v1") == sum(m.phase in STAYING and m.template == "v1" for m in fleet)
    assert fleet.returning("v1") == sum(m.returns and m.template == "v1" for m in fleet)


loads = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=100)


def load(fleet: Fleet, loads: list[tuple[int, int]]) -> None:
    for serial, requests in loads:
        if (member := fleet.get(f"web-{serial}")) is not None:
            fleet.see(member, InFlight(requests, requests))


@pytest.mark.parametrize("by_load", [False, True])
@given(walk=steps, limit=st.integers(-1, 12), loads=st.tuples(loads, loads))
def test_who_goes_first(
    by_load: bool, walk: list[tuple[int, Cause]], limit: int, loads: tuple[list[tuple[int, int]], list[tuple[int, int]]]
) -> None:
    fleet = walked(Fleet(), walk)
    for seen in loads:
        load(fleet, seen)
        serving = sorted(fleet.where(Phase.ADMITTED), key=lambda m: (m.load if by_load else 0, m.serial))
        for template, other in ((None, None), ("v1", None), (None, "v1")):
            fitting = [m for m in serving if template in (None, m.template) and m.template != other]
            for _ in range(2):  # asking changes nothing
                first = fleet.first(limit, by_load=by_load, template=template, other_than=other)
                assert first == fitting[: max(0, limit)]


@pytest.mark.parametrize("by_load", [False, True])
@pytest.mark.parametrize("large", [1_000, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_who_goes_first_costs_the_same_in_a_fleet_of_thousands(large: int, by_load: bool) -> None:
    def calls(size: int) -> int:
        fleet = Fleet(Member(f"web-{n}", "v1", n, phase=Phase.ADMITTED) for n in range(size))
        fleet.first(1, by_load=by_load)
        counted = 0

        def count(frame: FrameType, event: str, _: object) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            for n in range(3 * size):  # so many different loads that most of what is queued has to be thrown away
                fleet.see(fleet.members[f"web-{n % size}"], InFlight(n % 7, 0))
                if n % 100 == 0:
                    fleet.first(2, by_load=by_load)
        finally:
            sys.setprofile(None)
        return counted // size

    assert calls(large) < 1.5 * calls(100)


@given(steps, steps, st.dictionaries(st.sampled_from(Phase), st.integers(0, 50), max_size=10))
def test_who_is_due(first: list[tuple[int, Cause]], then: list[tuple[int, Cause]], waits: dict[Phase, int]) -> None:
    def when(member: Member) -> float:
        return member.since + waits[member.phase] if member.phase in waits else inf

    fleet = walked(Fleet(), first)
    for at in (0.0, 10.0, 60.0):
        due = fleet.due(at, when)
        assert due == sorted((m for m in fleet if when(m) <= at), key=lambda m: m.serial)
    for at, (serial, cause) in enumerate(then):
        if (member := fleet.get(f"web-{serial}")) is not None:
            fleet.move(member, cause, 60.0 + at)
        assert fleet.due(60.0 + at, when) == sorted((m for m in fleet if when(m) <= 60.0 + at), key=lambda m: m.serial)
