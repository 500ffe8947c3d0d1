"""Fleets in one line: `fleet("v1 admitted", "v2 ready")`. Names count from 1: `web-v1-1`, `web-v2-2`."""

from __future__ import annotations

from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.strategies.next_actions import Target


def fleet(*members: str) -> Fleet:
    """Each member is its template and its phase; the oldest comes first."""
    made = []
    for serial, (template, phase) in enumerate((member.split() for member in members), start=1):
        made.append(Member(f"web-{template}-{serial}", template, serial, Phase(phase), {phase: 0.0}))
    return Fleet(made)


def target(size: int = 2, surge: int = 1, unavailable: int = 0, *, by_load: bool = False) -> Target:
    """The tier goes to v2."""
    return Target("v2", size, surge, unavailable, by_load)
