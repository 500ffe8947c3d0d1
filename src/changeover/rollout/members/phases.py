"""The one table every instance walks.

Rule 1: a phase changes only by a row of TABLE. A cause with no row in a phase changes nothing there.
Rule 2: nothing here knows why a cause arose; `lifecycle` does.

The diagram in ARCHITECTURE.md is `mermaid()`, and a test keeps the two the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Phase(StrEnum):
    """Where an instance is in its life."""

    CREATING = "creating"  # asked for; not ready yet
    WARMING = "warming"  # ready, but not yet for min_ready
    READY = "ready"  # ready long enough; not yet confirmed by every router
    ADMITTED = "admitted"  # every router sends it traffic
    LEAVING = "leaving"  # lame duck; not yet confirmed out of every router
    DRAINING = "draining"  # gets nothing new; finishing what it has
    DRAINED = "drained"  # nothing left (or cut at the deadline); to be stopped
    STOPPING = "stopping"  # the stop signal is sent; the process still runs
    GONE = "gone"  # out of everything
    FAILED = "failed"  # died or never started; still to be taken out of its routers


class Cause(StrEnum):
    """What moves an instance from one phase to the next."""

    BECAME_READY = "became ready"
    BECAME_UNREADY = "became unready"
    READY_LONG_ENOUGH = "ready for min_ready"
    ADMISSION_CONFIRMED = "every router admits it"
    RETIRED = "retired"
    REMOVAL_CONFIRMED = "out of every router"
    READMITTED = "readmitted"
    EMPTIED = "nothing in flight"
    DEADLINE_CUT = "deadline passed, policy cut"
    LONG_LIVED_CUT = "long-lived connections cut"
    ENDED_BY_OPERATOR = "drain ended by an operator"
    STOP_SENT = "stop signal sent"
    EXITED = "process ended"


P, C = Phase, Cause

TABLE: Mapping[tuple[Phase, Cause], Phase] = MappingProxyType(
    {
        (P.CREATING, C.BECAME_READY): P.WARMING,
        (P.WARMING, C.BECAME_UNREADY): P.CREATING,
        (P.WARMING, C.READY_LONG_ENOUGH): P.READY,
        (P.READY, C.BECAME_UNREADY): P.CREATING,
        (P.READY, C.ADMISSION_CONFIRMED): P.ADMITTED,
        # Routers exclude an instance that is not ready: it gets no traffic now, even after a confirmed admission.
        (P.ADMITTED, C.BECAME_UNREADY): P.CREATING,
        # Also what never got traffic leaves by the same road: an admission may have been asked and half performed.
        (P.CREATING, C.RETIRED): P.LEAVING,
        (P.WARMING, C.RETIRED): P.LEAVING,
        (P.READY, C.RETIRED): P.LEAVING,
        (P.ADMITTED, C.RETIRED): P.LEAVING,
        (P.LEAVING, C.REMOVAL_CONFIRMED): P.DRAINING,
        # Undo: an instance without a stop signal can return. It must become ready again first.
        (P.LEAVING, C.READMITTED): P.CREATING,
        (P.DRAINING, C.READMITTED): P.CREATING,
        (P.DRAINING, C.EMPTIED): P.DRAINED,
        (P.DRAINING, C.DEADLINE_CUT): P.DRAINED,
        (P.DRAINING, C.LONG_LIVED_CUT): P.DRAINED,
        (P.DRAINING, C.ENDED_BY_OPERATOR): P.DRAINED,
        (P.DRAINED, C.STOP_SENT): P.STOPPING,
        (P.CREATING, C.EXITED): P.FAILED,
        (P.WARMING, C.EXITED): P.FAILED,
        (P.READY, C.EXITED): P.FAILED,
        (P.ADMITTED, C.EXITED): P.FAILED,
        (P.LEAVING, C.EXITED): P.FAILED,
        (P.DRAINING, C.EXITED): P.GONE,
        (P.DRAINED, C.EXITED): P.GONE,
        (P.STOPPING, C.EXITED): P.GONE,
        (P.FAILED, C.REMOVAL_CONFIRMED): P.GONE,
    }
)

EXISTING = frozenset({P.CREATING, P.WARMING, P.READY, P.ADMITTED, P.LEAVING, P.DRAINING, P.DRAINED, P.STOPPING})
"""Phases in which an instance takes up a machine. Draining ones count: that is what makes surge a true ceiling."""

STARTING = frozenset({P.CREATING, P.WARMING, P.READY})
"""Phases of an instance that is meant to stay and does not serve yet."""

STAYING = STARTING | {P.ADMITTED}
"""Phases of an instance that is meant to stay."""

ALIKE = ({P.CREATING, P.WARMING}, {P.LEAVING, P.DRAINING}, {P.DRAINED, P.STOPPING})
"""Phases that no strategy tells apart."""

UNSETTLED = frozenset(Phase) - {P.ADMITTED, P.GONE}
"""Phases in which something is still to happen."""


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    rows = [f"    {a} --> {b}: {cause}" for (a, cause), b in TABLE.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> creating", *rows, "    gone --> [*]"])
