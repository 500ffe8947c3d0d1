"""`drain --now`: an operator ends the wait for what is in flight on one instance.

The answer for each phase is data, and docs/actions.md is made from it. Refuses to stop an instance that a router may
still send a request to: only a confirmed removal makes what is lost a known number.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType

from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Cause, Phase
from changeover.rollout.tier.context import Context
from changeover.rollout.tier.state import TierState

DONE = "its drain ends now: what is in flight on it is cut, and named in the outcome"
_SERVES = "it is not draining: a rollout that replaces it begins its drain"
_STOPS = "its drain has ended, and it is being stopped"
_ENDED = "it has ended"

REFUSED: Mapping[Phase, str] = MappingProxyType(
    {
        Phase.CREATING: _SERVES,
        Phase.WARMING: _SERVES,
        Phase.READY: _SERVES,
        Phase.ADMITTED: _SERVES,
        Phase.LEAVING: "a router has not confirmed its removal, and may send it new requests; ask again when it drains",
        Phase.DRAINED: _STOPS,
        Phase.STOPPING: _STOPS,
        Phase.GONE: _ENDED,
        Phase.FAILED: _ENDED,
    }
)
"""Why not, by the phase of the instance. A phase that is missing here is not refused."""
NEEDED = "no instance of its tier is ready, and it may have to serve again"


def end_drain(
    context: Context, tier: TierState, member: Member, event: on.DrainEndRequested
) -> Generator[do.Command, None, bool]:
    """End the drain of an instance whatever is in flight on it, or refuse with the reason; whether it has ended."""
    refused = REFUSED.get(member.phase, "")
    if not refused and (context.keeps_warm(tier, member) or context.needed(member)):
        refused = (
            NEEDED if context.needed(member) else "it is kept for the way back until the rollout has passed its bake"
        )
    if refused:
        yield do.Refuse(refused)
        return False
    left = member.in_flight
    if left is None or left.busy:
        member.cut = str(left or "unknown")
    yield do.Note(
        f"drain ended by {event.requester}: {f'cutting {member.cut}' if member.cut else 'nothing was in flight'}",
        member.name,
        "warning",
    )
    return context.fleet.move(member, Cause.ENDED_BY_OPERATOR, event.at)


def table() -> str:
    """The answers as Markdown."""
    rows = [f"| `{phase}` | {'no' if phase in REFUSED else 'yes'} | {REFUSED.get(phase, DONE)} |" for phase in Phase]
    return "\n".join(["| phase | done | what happens |", "|---|---|---|", *rows])
