"""What a strategy is asked with and what it answers. Words only; nothing is decided here."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    """Where the tier is to go: `size` instances of `goal`, within the limits. `by_load`: retire the idlest first."""

    goal: str
    size: int
    surge: int
    unavailable: int
    by_load: bool = False


class NextActions(NamedTuple):
    """What to do next: bring back, create, retire; by name where there is one.

    `heal`: how many to create from the template it comes from, for those that died. `admit`: whether instances that
    are ready may get traffic now. `warm`: whether what has drained is kept running.
    """

    readmit: tuple[str, ...] = ()
    create: int = 0
    heal: int = 0
    retire: tuple[str, ...] = ()
    admit: bool = True
    warm: bool = False
