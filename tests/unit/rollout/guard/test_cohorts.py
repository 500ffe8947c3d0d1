from __future__ import annotations

from changeover.rollout.guard.cohorts import CohortMember, Cohorts, cohorts_of
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase


def member(name: str, template: str, serial: int, created: float, admitted: float) -> Member:
    times = {"created": created, Phase.ADMITTED: admitted}
    return Member(name, template, serial, phase=Phase.ADMITTED, times=times, served=True)


def sides(*members: Member) -> Cohorts:
    return cohorts_of(Fleet(members), template="v2", old_template="v1", step_began=1100.0, serial_before=8)


def test_old_instances_created_for_the_rollout_are_the_baseline() -> None:
    seen = sides(
        member("a-v1-1", "v1", 1, 10, 20),
        member("a-v1-9", "v1", 9, 1001, 1010),
        member("a-v2-10", "v2", 10, 1002, 1012),
    )
    assert seen.fresh
    assert seen.canary == (CohortMember("a-v2-10", 1012),)
    assert seen.baseline == (CohortMember("a-v1-9", 1010),)


def test_without_them_those_that_serve_stand_in() -> None:
    seen = sides(member("a-v1-1", "v1", 1, 10, 20), member("a-v2-10", "v2", 10, 1002, 1012))
    assert not seen.fresh
    assert seen.baseline == (CohortMember("a-v1-1", 20),)


def test_who_gets_no_traffic_is_on_no_side() -> None:
    assert sides(Member("a-v2-10", "v2", 10, phase=Phase.READY)).canary == ()


def test_equal_age_is_that_of_the_youngest() -> None:
    two = Cohorts(1000, "v2", (CohortMember("new", 1012),), "v1", (CohortMember("old", 1010),), fresh=True)
    assert two.window(two.canary, 1030, 5) == {"new": (1025, 1030)}
    assert two.window(two.baseline, 1030, 5) == {"old": (1023, 1028)}


def test_without_a_fresh_baseline_the_clock_is_the_same() -> None:
    two = Cohorts(1000, "v2", (CohortMember("new", 1012),), "v1", (CohortMember("old", 20),), fresh=False)
    assert two.window(two.baseline, 1030, 5) == {"old": (1025, 1030)}
