"""Blue-green: the new colour complete and ready beside the old, one switch, the old one kept warm, then drained.

It takes twice the instances while it lasts, and nothing less would be it: its ceiling is `2 * size`.
"""

from __future__ import annotations

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies.next_actions import NextActions, Target


def moves(fleet: Fleet, want: Target, *, step: int, hold: bool = False) -> NextActions:
    """The next moves. Until the new colour is whole nobody of it is admitted; then all are, and the old ones leave.

    `step`: 0 until all traffic has gone over, 1 while the old ones are kept warm, 2 after. `hold`: do not switch yet.
    """
    create = max(0, min(want.size - fleet.staying(want.goal), 2 * want.size - fleet.existing))
    heal = 0
    if not begun(fleet, want):  # it may be long until the switch, and the old colour serves everything until then
        missing = want.size - fleet.count(STAYING, other_than=want.goal)
        heal = max(0, min(missing, 2 * want.size - fleet.existing - create))
    switched = fleet.count((Phase.ADMITTED,), want.goal) >= want.size
    retire = [m.name for m in fleet.where(Phase.ADMITTED, other_than=want.goal)] if switched else []
    warm = step == 1 or (step == 0 and switched)
    admit = complete(fleet, want) and not hold
    return NextActions(create=create, heal=heal, retire=tuple(retire), admit=admit, warm=warm)


def complete(fleet: Fleet, want: Target) -> bool:
    """Whether the new colour is whole and ready."""
    return fleet.count((Phase.READY, Phase.ADMITTED), want.goal) >= want.size


def begun(fleet: Fleet, want: Target) -> bool:
    """Whether any of the new colour gets traffic."""
    return fleet.count((Phase.ADMITTED,), want.goal) > 0


def switched(fleet: Fleet, want: Target) -> bool:
    """Whether all traffic goes to the new colour: it serves whole, and no router sends the old one anything."""
    others = fleet.count(
        (Phase.CREATING, Phase.WARMING, Phase.READY, Phase.ADMITTED, Phase.LEAVING), other_than=want.goal
    )
    return others == 0 and fleet.count((Phase.ADMITTED,), want.goal) >= want.size
