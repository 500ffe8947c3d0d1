"""The state of a tier as JSON. The words in the file are the format's own (`schema.FORMAT`), not the fields' names.

Every state is an object with its name in `is`, and with the values that mean something in it. Refuses a name that it
does not know: a journal of an older format has been migrated before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from changeover.rollout.tier.state import (
    AwaitingPermission,
    Baking,
    Failed,
    Finishing,
    Holding,
    Paused,
    Position,
    Prepared,
    Preparing,
    Resting,
    Rolling,
    Rollout,
    State,
    Stepping,
    Switching,
    TierState,
    Undoing,
)

Json = Mapping[str, Any]


def dump_tier(tier: TierState) -> str:
    return json.dumps(
        {
            "goal": tier.goal,
            "state": _dump_state(tier.state),
            "serial": tier.serial,
            "failures": tier.failures,
            "admitted_at": tier.admitted_at,
            "not_before": tier.not_before,
            "undo_to": tier.undo_to,
            "retry_to": tier.retry_to,
        }
    )


def load_tier(text: str) -> TierState:
    stored: dict[str, Any] = json.loads(text)
    return TierState(
        goal=stored["goal"],
        state=_load_state(stored["state"]),
        serial=stored["serial"],
        failures=stored["failures"],
        admitted_at=stored["admitted_at"],
        not_before=stored["not_before"],
        undo_to=stored["undo_to"],
        retry_to=stored["retry_to"],
    )


def _dump_state(state: State) -> Json:
    match state:
        case Resting():
            return {"is": "resting"}
        case Undoing(reason, admissions):
            return {"is": "undoing", "reason": reason, "admissions": admissions}
        case Failed(reason):
            return {"is": "failed", "reason": reason}
        case Paused(reason, resume_to):
            return {"is": "paused", "reason": reason, "resume_to": _dump_state(resume_to)}
        case AwaitingPermission(step, done, resume_to):
            return {"is": "awaiting_permission", "step": step, "done": done, "resume_to": _dump_state(resume_to)}
    return _dump_position(state)


def _dump_position(position: Position) -> Json:
    rollout = _dump_rollout(position.rollout)
    match position:
        case Rolling():
            return {"is": "rolling", "rollout": rollout}
        case Stepping(_, step, since):
            return {"is": "stepping", "rollout": rollout, "step": step, "since": since}
        case Holding(_, step, since):
            return {"is": "holding", "rollout": rollout, "step": step, "since": since}
        case Preparing(_, announced, promoted):
            return {"is": "preparing", "rollout": rollout, "announced": announced, "promoted": promoted}
        case Prepared():
            return {"is": "prepared", "rollout": rollout}
        case Switching():
            return {"is": "switching", "rollout": rollout}
        case Baking(_, since):
            return {"is": "baking", "rollout": rollout, "since": since}
        case Finishing():
            return {"is": "finishing", "rollout": rollout}


def _dump_rollout(rollout: Rollout) -> Json:
    return {
        "previous": rollout.previous,
        "strategy": rollout.strategy,
        "serial_before": rollout.serial_before,
        "admissions": rollout.admissions,
        "deaths": rollout.deaths,
        "longest_drain": rollout.longest_drain,
    }


def _load_state(stored: Json) -> State:
    match stored["is"]:
        case "resting":
            return Resting()
        case "undoing":
            return Undoing(stored["reason"], stored["admissions"])
        case "failed":
            return Failed(stored["reason"])
        case "paused":
            inner = stored["resume_to"]
            awaits = inner["is"] == "awaiting_permission"
            return Paused(stored["reason"], _load_awaiting(inner) if awaits else _load_position(inner))
        case "awaiting_permission":
            return _load_awaiting(stored)
    return _load_position(stored)


def _load_awaiting(stored: Json) -> AwaitingPermission:
    return AwaitingPermission(stored["step"], stored["done"], _load_position(stored["resume_to"]))


def _load_position(stored: Json) -> Position:
    rollout = _load_rollout(stored["rollout"])
    match stored["is"]:
        case "rolling":
            return Rolling(rollout)
        case "stepping":
            return Stepping(rollout, stored["step"], stored["since"])
        case "holding":
            return Holding(rollout, stored["step"], stored["since"])
        case "preparing":
            return Preparing(rollout, stored["announced"], stored["promoted"])
        case "prepared":
            return Prepared(rollout)
        case "switching":
            return Switching(rollout)
        case "baking":
            return Baking(rollout, stored["since"])
        case "finishing":
            return Finishing(rollout)
    raise ValueError(f"the journal holds an unknown tier state: {stored['is']}")


def _load_rollout(stored: Json) -> Rollout:
    return Rollout(
        previous=stored["previous"],
        strategy=stored["strategy"],
        serial_before=stored["serial_before"],
        admissions=stored["admissions"],
        deaths=stored["deaths"],
        longest_drain=stored["longest_drain"],
    )
