"""The indexes of a fleet say what a look at every member would say."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from changeover.rollout.fleet import Fleet, Member
from changeover.rollout.phases import EXISTING, STAYING, Cause, Phase

steps = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(Cause)), max_size=200)
phases = st.sets(st.sampled_from(Phase))


def walked(fleet: Fleet, walk: list[tuple[int, Cause]]) -> Fleet:
    for serial in range(10):
        fleet.add(Member(f"web-{serial}", ("v1", "v2", "v3")[serial % 3], serial))
    for at, (serial, cause) in enumerate(walk):
        if (member := fleet.get(f"web-{serial}")) is not None:
            fleet.move(member, cause, float(at))
            member.served = member.served or member.phase is Phase.ADMITTED
    return fleet


@given(steps, phases, st.sampled_from([None, "v1", "v2"]), st.sampled_from([None, "v1", "v3"]))
def test_counts(walk: list[tuple[int, Cause]], phases: set[Phase], template: str | None, other: str | None) -> None:
    fleet = walked(Fleet(), walk)
    wanted = [m for m in fleet if m.phase in phases and template in (None, m.template) and m.template != other]
    assert fleet.count(phases, template, other) == len(wanted)
    assert sorted(m.name for m in fleet.where(*phases, template=template, other_than=other)) == sorted(
        m.name for m in wanted
    )
    assert fleet.existing == sum(m.phase in EXISTING for m in fleet)
    assert fleet.serving == sum(m.phase is Phase.ADMITTED for m in fleet)
    assert fleet.staying("v1") == sum(m.phase in STAYING and m.template == "v1" for m in fleet)
    assert fleet.returning("v1") == sum(m.returns and m.template == "v1" for m in fleet)


@given(steps, st.integers(-1, 12))
def test_the_oldest(walk: list[tuple[int, Cause]], limit: int) -> None:
    fleet = walked(Fleet(), walk)
    serving = sorted(fleet.where(Phase.ADMITTED), key=lambda m: m.serial)
    for _ in range(2):  # asking changes nothing
        assert fleet.oldest(limit) == serving[: max(0, limit)]
        assert fleet.oldest(limit, template="v1") == [m for m in serving if m.template == "v1"][: max(0, limit)]
        assert fleet.oldest(limit, other_than="v1") == [m for m in serving if m.template != "v1"][: max(0, limit)]


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
