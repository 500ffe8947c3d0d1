"""Which instances a guard compares with which.

*Equal age.* An instance's first minutes differ from its later ones: cold caches, empty pools, code not yet
compiled. A canary of two minutes, compared with instances of two weeks, seems slow because it is young. So the
baseline is, if there are any, instances of the old template that were created for this rollout (`update.baseline:
fresh`, or in the place of one that died) and admitted about when the canary was; both sides are then looked at over the
same window *after each one's own admission*. Without fresh instances the old ones stand in, over the same window of the
clock: the canary's youth then counts against it, and what softens that is only the condition's `initial_delay`.
"""

from __future__ import annotations

from dataclasses import dataclass

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase


@dataclass(frozen=True)
class CohortMember:
    """An instance that gets traffic, and the time since when."""

    name: str
    admitted_at: float


@dataclass(frozen=True)
class Cohorts:
    """The instances that a step of a rollout compares. Fixed for the step: later admissions belong to the next one."""

    since: float
    """When the step began."""
    template: str
    canary: tuple[CohortMember, ...]
    old_template: str
    baseline: tuple[CohortMember, ...]
    fresh: bool
    """The baseline was created for this rollout, so ages can be compared."""

    def window(self, side: tuple[CohortMember, ...], at: float, length: float) -> dict[str, tuple[float, float]]:
        """The time window of each instance of a cohort, for the interval that ends at `at`.

        With a fresh baseline it ends, for all, at the age that the youngest of both sides has at `at`.
        """
        if not self.fresh:
            return {one.name: (at - length, at) for one in side}
        age = at - max(one.admitted_at for one in (*self.canary, *self.baseline))
        return {one.name: (one.admitted_at + age - length, one.admitted_at + age) for one in side}


def cohorts_of(fleet: Fleet, *, template: str, old_template: str, step_began: float, serial_before: int) -> Cohorts:
    """The instances with traffic at the start of a step.

    `serial_before`: serial of the last instance from before the rollout.
    """
    baseline = _admitted(fleet, old_template)
    fresh = [member for member in baseline if member.serial > serial_before]
    return Cohorts(
        step_began,
        template,
        _served(_admitted(fleet, template)),
        old_template,
        _served(fresh or baseline),
        bool(fresh),
    )


def _admitted(fleet: Fleet, template: str) -> list[Member]:
    return sorted(fleet.where(Phase.ADMITTED, template=template), key=lambda member: member.serial)


def _served(members: list[Member]) -> tuple[CohortMember, ...]:
    return tuple(CohortMember(member.name, member.times.get(Phase.ADMITTED, 0.0)) for member in members)
