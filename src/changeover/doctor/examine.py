"""Every check over the facts of one tier. A check is one function in the file of its group, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from changeover.doctor import agents, balancer, group, healing, permissions, second_group, templates
from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import TierFacts

CHECKS: tuple[Callable[[TierFacts], Iterator[Diagnosis]], ...] = (
    permissions.check,
    group.check,
    templates.check,
    healing.check,
    balancer.check,
    agents.check,
    second_group.check,
)
OF_IDLE_GROUP: tuple[Callable[[TierFacts], Iterator[Diagnosis]], ...] = (group.check, healing.check)
"""Those for the group of a tier that has no VM yet."""
_ORDER = list(Severity)


def examine(facts: TierFacts) -> list[Diagnosis]:
    """What does not hold, the worst first."""
    found = [one for check in CHECKS for one in check(facts)]
    if facts.idle is not None:
        found += [one for check in OF_IDLE_GROUP for one in check(facts.idle)]
    return sorted(found, key=lambda one: _ORDER.index(one.severity))
