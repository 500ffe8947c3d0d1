"""Canary: a share of the traffic goes to the new template first, in steps, and is analysed before more follows.

Where the router can weigh, the share is one of requests: a few new instances beside all old ones, weighted. Where it
cannot, it is one of instances. After the last step the rest is rolled.

With a fresh baseline as many instances of the old template are created anew, in the place of the oldest: what is as
young as the canary can be compared with it (`guard/cohorts.py`).
"""

from __future__ import annotations

from math import ceil

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies import rolling
from changeover.rollout.strategies.next_actions import NextActions, Target

FULL_WEIGHT = 256
"""The largest weight that every router takes (HAProxy's limit). The heaviest instance gets it, the others less."""


def instances(share: int, wanted: Target, *, weighed: bool) -> tuple[int, int]:
    """How many new and how many old instances a share (percent of traffic) needs: no new one only for none of it.

    Also where the router can weigh there is no old instance beside all of the traffic, nor would there be room.
    """
    exact = wanted.size * share / 100
    if weighed and share < 100:
        return min(max(1, wanted.surge), ceil(exact)), wanted.size
    new = max(1, round(exact)) if share else 0
    return new, wanted.size - new


def next_actions(fleet: Fleet, wanted: Target, *, share: int, weighed: bool, fresh: int | None = None) -> NextActions:
    """The next actions towards that share. `fresh`: how large the fresh baseline is; None where none is wanted."""
    new, kept = instances(share, wanted, weighed=weighed)
    missing = new - fleet.staying(wanted.goal)
    room = wanted.size + wanted.surge - fleet.existing
    create = max(0, min(missing, room))
    old = fleet.count(STAYING, other_than=wanted.goal)
    young = 0 if fresh is None else min(new, kept) - fresh
    heal = max(0, min(max(kept - old, young), room - create))
    too_many = old - kept
    if young > 0 and not heal and too_many == 0:
        too_many = 1  # the canary has taken all the room there is: the oldest makes some
    spare = min(fleet.serving - (wanted.size - wanted.unavailable), too_many)
    if fresh is not None:
        wanted = wanted._replace(by_load=False)  # the fresh instances have the fewest requests, and must stay
    retire = rolling.first_to_go(fleet, spare, wanted, other_than=wanted.goal)
    return NextActions((), create, heal, tuple(retire))


def arrived(fleet: Fleet, wanted: Target, *, share: int, weighed: bool, fresh: int | None = None) -> bool:
    """Whether the share is reached: the instances serve, and none is changing its phase."""
    new, old = instances(share, wanted, weighed=weighed)
    serving = (Phase.ADMITTED,)
    return (
        fleet.count(serving, wanted.goal) == new
        and fleet.count(serving, other_than=wanted.goal) == old
        and len(fleet.members) == new + old
        and (fresh is None or fresh >= min(new, old))
    )


def weights(fleet: Fleet, wanted: Target, share: int) -> tuple[int, int]:
    """The weight of each new and of each old instance, so that the new ones together get `share` percent."""
    new = max(1, fleet.staying(wanted.goal))
    old = max(1, fleet.count(STAYING, other_than=wanted.goal))
    for_new, for_old = share / new, (100 - share) / old
    scale = FULL_WEIGHT / max(for_new, for_old)
    return max(1, round(for_new * scale)), max(1, round(for_old * scale))


def actual_share(fleet: Fleet, goal: str) -> float | None:
    """Percent of the traffic that the weights seen at the router give the new template; None if nothing serves."""
    new = sum(m.weight_seen for m in fleet.where(Phase.ADMITTED, template=goal))
    old = sum(m.weight_seen for m in fleet.where(Phase.ADMITTED, other_than=goal))
    return None if new + old == 0 else 100 * new / (new + old)
