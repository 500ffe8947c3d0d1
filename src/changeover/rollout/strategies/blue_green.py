"""Blue-green: the new colour complete and ready beside the old, one switch, the old one kept warm, then drained.

It takes twice the instances while it lasts, and nothing less would be it: its ceiling is `2 * size`.
"""

from __future__ import annotations

from typing import Literal

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import STAYING, Phase
from changeover.rollout.strategies.next_actions import NextActions, Target

SwitchPhase = Literal["before", "baking", "after"]
"""`before` all traffic goes to the new instances; `baking`: the old ones are kept running; `after`: no more."""


def next_actions(fleet: Fleet, wanted: Target, *, phase: SwitchPhase, hold: bool = False) -> NextActions:
    """The next actions. All new instances are admitted at once, when they are complete; then the old ones leave.

    `hold`: do not admit any yet.
    """
    create = max(0, min(wanted.size - fleet.staying(wanted.goal), 2 * wanted.size - fleet.existing))
    heal = 0
    if not begun(fleet, wanted):  # it may be long until the switch, and the old colour serves everything until then
        missing = wanted.size - fleet.count(STAYING, other_than=wanted.goal)
        heal = max(0, min(missing, 2 * wanted.size - fleet.existing - create))
    switched = fleet.count((Phase.ADMITTED,), wanted.goal) >= wanted.size
    retire = [m.name for m in fleet.where(Phase.ADMITTED, other_than=wanted.goal)] if switched else []
    warm = phase == "baking" or (phase == "before" and switched)
    admit = complete(fleet, wanted) and not hold
    return NextActions(create=create, heal=heal, retire=tuple(retire), admit=admit, warm=warm)


def complete(fleet: Fleet, wanted: Target) -> bool:
    """Whether the new colour is whole and ready."""
    return fleet.count((Phase.READY, Phase.ADMITTED), wanted.goal) >= wanted.size


def begun(fleet: Fleet, wanted: Target) -> bool:
    """Whether any of the new colour gets traffic."""
    return fleet.count((Phase.ADMITTED,), wanted.goal) > 0


def switched(fleet: Fleet, wanted: Target) -> bool:
    """Whether all traffic goes to the new colour: it serves whole, and no router sends the old one anything."""
    others = fleet.count(
        (Phase.CREATING, Phase.WARMING, Phase.READY, Phase.ADMITTED, Phase.LEAVING), other_than=wanted.goal
    )
    return others == 0 and fleet.count((Phase.ADMITTED,), wanted.goal) >= wanted.size
