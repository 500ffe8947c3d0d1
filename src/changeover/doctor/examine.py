"""Every check over the facts of one tier. A check is one function in the file of its group, and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from changeover.doctor import agents, balancer, group, healing, permissions, second_group, templates, traffic
from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import GroupFacts, TierFacts

OF_ADOPTION: tuple[Callable[[GroupFacts], Iterator[Diagnosis]], ...] = (
    permissions.check,
    group.check,
    group.check_size,
    templates.check_known,
    healing.check_shared,
    balancer.check_backends,
    second_group.check,
    traffic.check,
)
"""Those without which the instances of a tier cannot be recorded or kept as they are."""
OF_ROLL: tuple[Callable[[TierFacts], Iterator[Diagnosis]], ...] = (
    templates.check,
    healing.check,
    balancer.check,
    agents.check,
)
_ORDER = list(Severity)


def examine(facts: TierFacts) -> list[Diagnosis]:
    """What does not hold, the worst first."""
    found = [*_of_adoption(facts), *(one for check in OF_ROLL for one in check(facts))]
    if (idle := facts.idle) is not None:
        found += healing.check(idle)
        found += balancer.check(idle) if facts.url_map_name else ()
    return _sorted(found)


def examine_adoption(facts: GroupFacts) -> list[Diagnosis]:
    """What of it does not hold that adopting the tier needs, the worst first."""
    return _sorted([*_of_adoption(facts)])


def _of_adoption(facts: GroupFacts) -> Iterator[Diagnosis]:
    for check in OF_ADOPTION:
        yield from check(facts)
    if (idle := facts.idle) is not None:
        yield from group.check(idle)
        yield from healing.check_shared(idle)
        yield from balancer.check_backends(idle) if facts.url_map_name else ()


def _sorted(found: list[Diagnosis]) -> list[Diagnosis]:
    return sorted(found, key=lambda one: _ORDER.index(one.severity))
