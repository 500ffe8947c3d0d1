"""Rolling: replace instances a few at a time, never above `size + surge`, never serving below `size - unavailable`.

Also what keeps a resting tier at its size (with nothing old in it, only missing instances are left to create), and the
way back of every strategy. Surge is the size of a batch.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STARTING, STAYING, Phase
from changeover.rollout.strategies.next_actions import NextActions, Target


def next_actions(fleet: Fleet, wanted: Target) -> NextActions:
    """The next actions; none when there is nothing to do but wait."""
    goal = wanted.goal
    given_up = fleet.given_up(goal)
    missing = wanted.size - fleet.staying(goal) + len(given_up)
    readmit: list[str] = []
    if missing > 0:
        can_return = (m for m in fleet.where(Phase.LEAVING, Phase.DRAINING, template=goal) if not m.given_up)
        readmit = [m.name for m in islice(can_return, missing)]
    room = wanted.size + wanted.surge - fleet.existing
    create = max(0, min(missing - len(readmit), room))

    # What never got traffic can leave at once; what serves leaves only while enough others serve. The old ones
    # that come back on an undo are waited for, so that the new side is never drained before the old one is back. New
    # ones that are about to serve are not: in a large fleet there is always one, and nothing old would ever leave.
    retire: list[str] = []
    if given_up or fleet.count(STARTING, other_than=goal):
        waiting = list(fleet.where(Phase.CREATING, Phase.WARMING, Phase.READY, other_than=goal))
        retire = [m.name for m in waiting if not m.served]
        retire += _unready_to_go(fleet, wanted, [*(m.name for m in waiting if m.served), *given_up], room)
    spare = fleet.serving - (wanted.size - wanted.unavailable)
    if not readmit and not fleet.returning(goal):
        retire += first_to_go(fleet, spare, wanted, other_than=goal)
        if missing < 0:
            surplus = min(-missing, spare - fleet.count((Phase.ADMITTED,), other_than=goal))
            retire += first_to_go(fleet, surplus, wanted, template=goal)
    return NextActions(tuple(readmit), create, retire=tuple(retire))


def _unready_to_go(fleet: Fleet, wanted: Target, unready: list[str], room: int) -> list[str]:
    """Which instances leave that have served and are not ready any more.

    While none of the tier is ready, routers in panic still send requests to them. They then leave only where they take
    the last room for an instance that could get ready, one at a time.
    """
    if fleet.serving:
        return unready
    coming = fleet.count(STARTING, wanted.goal) - len(fleet.given_up(wanted.goal))
    leaving = fleet.existing - fleet.count(STAYING)
    return [] if room > 0 or coming > 0 or leaving > 0 else unready[:1]


def first_to_go(
    fleet: Fleet, limit: int, wanted: Target, *, template: str | None = None, other_than: str | None = None
) -> list[str]:
    """The serving instances that leave first: the oldest, or those with the fewest requests in flight.

    Of a tier that is spread over several places, the first one of the place with the fewest new instances, and of those
    the place with the most in all: the platform creates the next new one where there are fewest, which is then there.
    """
    if limit <= 0:
        return []
    if not fleet.is_spread:
        first = fleet.first(limit, by_load=wanted.by_load, template=template, other_than=other_than)
        return [member.name for member in first]
    queues: dict[str, list[str]] = {}
    for member in fleet.first(len(fleet.members), by_load=wanted.by_load, template=template, other_than=other_than):
        queues.setdefault(member.place, []).append(member.name)
    counts = Counter(member.place for member in fleet.where(*STAYING))
    new = Counter(member.place for member in fleet.where(*STAYING, template=wanted.goal) if template is None)
    names: list[str] = []
    while queues and len(names) < limit:
        place = max(queues, key=lambda one: (-new[one], counts[one]))
        names.append(queues[place].pop(0))
        counts[place] -= 1
        if not queues[place]:
            del queues[place]
    return names
