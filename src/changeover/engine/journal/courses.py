"""Tiers of format 1 as tiers of format 2: from 21 values that meant something in some states to one state by name.

Plain JSON in, plain JSON out, and never changed again: see `migrations`.
"""

from __future__ import annotations

from typing import Any


def tier_of(course: dict[str, Any]) -> dict[str, Any]:
    """The tier that a course of format 1 describes."""
    return {
        "goal": course["goal"],
        "state": _state(course),
        "serial": course["serial"],
        "failures": course["failures"],
        "admitted_at": course["admitted_at"],
        "not_before": course["not_before"],
        "undo_to": course["before"],
        "retry_to": course["tried"],
    }


def _state(course: dict[str, Any]) -> dict[str, Any]:
    match course["status"]:
        case "resting":
            return {"is": "resting"}
        case "undoing":
            return {"is": "undoing", "reason": course["reason"], "admissions": course["admissions"]}
        case "failed":
            return {"is": "failed", "reason": course["reason"]}
    state = _position(course)
    if course["asking"]:
        asked = {"step": course["asking"], "done": course["after"]}
        state = {"is": "awaiting_permission", **asked, "resume_to": state}
    if course["paused"]:
        state = {"is": "paused", "reason": course["paused"], "resume_to": state}
    return state


def _position(course: dict[str, Any]) -> dict[str, Any]:
    rollout = {
        "previous": course["previous"],
        "strategy": course["strategy"],
        "serial_before": course["before_first"],
        "admissions": course["admissions"],
        "deaths": course["deaths"],
    }
    if course["previous"] is None or course["strategy"] == "rolling":
        return {"is": "rolling", "rollout": rollout}
    if course["strategy"] == "canary":
        # The number of steps is in the chain file: the machine leaves a step that is beyond the last.
        return {"is": "stepping", "rollout": rollout, "step": course["step"], "since": course["step_at"]}
    match course["step"]:
        case 0:
            # Whether the switch has begun follows from the instances, and the machine finds out.
            facts = {"announced": course["asked"], "promoted": course["promoted"]}
            return {"is": "preparing", "rollout": rollout, **facts}
        case 1:
            return {"is": "baking", "rollout": rollout, "since": course["step_at"]}
    return {"is": "finishing", "rollout": rollout}
