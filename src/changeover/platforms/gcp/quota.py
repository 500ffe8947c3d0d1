"""Calls per minute of a roll to the Compute API, at most, and the quota that they count against. Pure.

A look costs one list of the group and one question to each backend service. In each look at most one call creates VMs
and one deletes some, however many they are; both cost a few more calls. So the number does not follow the size of the
group, but for the pages of its lists. Refuses to guess at repeated calls: there are none while the API answers.
"""

from __future__ import annotations

from math import ceil

QUOTA = 1500
"""Calls per minute of a project in a region, by default: https://cloud.google.com/compute/api-quota"""
PAGE = 500
"""VMs of one page, where a group pages its list."""
FEW = 4
"""VMs of a zone up to which each is asked for its address, instead of a list of all that the zone has."""
OPERATION = 5
"""Looks at one operation, by the pauses between them: most are done within five seconds."""


def most_calls(
    look: float, *, groups: int, services: int, zones: int, machines: int, others: int, maps: int = 0
) -> int:
    """Calls per minute. `look`: seconds between two; `groups`, `services`, `machines`: of the tier, and VMs of all its
    groups; `others`: groups of the tiers that rest; `maps`: URL maps with weights of the tier.
    """
    pages = max(1, ceil(machines / PAGE))
    watched = groups * pages + groups * services + others
    created = 2 * pages + 2 + OPERATION  # two lists, the group, the call itself, its operation
    addresses = zones * max(FEW, pages)
    deleted = 2 * pages + 1 + OPERATION
    weighed = maps * (2 + 3 + OPERATION)  # read for two questions; read, changed and read again where it differs
    return ceil(60 / look * (watched + created + addresses + deleted + weighed))


def slow_enough(look: float, calls: int) -> float:
    """Seconds between two looks with which as many calls at `look` fit the quota."""
    return ceil(10 * look * calls / QUOTA) / 10
