"""Faults on demand: each is one object of `POST /fake/faults`, and holds for `times` uses (1; null: until cleared).

| `do` | with | what happens |
|---|---|---|
| `error` | `on`, `error`, `when` | the call is answered with an error, before or `after` its effect |
| `drop` | `on`, `when` | the connection is closed without an answer, before or `after` the effect |
| `operation` | `on`, `code`, `bare`? | the operation has that error, `bare`: without a status, and no effect |
| `kill_client` | `on`, `when`, `pid`, `spare`? | SIGKILL to that process, before or `after` the effect, and no answer |
| `act` | `on`, `verb`, `path`, `body` | somebody else's call is made right before this one |
| `slow` | `on`, `seconds` | the operation takes that long, at speed 1 |
| `hold` | `action`, `instance` | an instance stays in `CREATING`, `RECREATING` or `DELETING` until faults are cleared |
| `creation` | `group`?, `zone`?, `error` | a VM cannot be created: `stockout` or `quota` |
| `unhealthy` | `instance` | a VM that no check finds healthy |
| `health` | `service`, `answer` | getHealth is `empty` or `stale` |
| `wait` | | operations.wait returns at once, whatever the status is |
| `load` | `group`, `size` | the size that the autoscaler recommends |
| `kill` | `instance` | at once: the VM's power fails |
| `preempt` | `instance` | at once: the VM is told that it is preempted, and stopped after the documented notice |

`on` is a pattern of a method, such as `instanceGroupManagers.delete*`, without `region` or `zone`; `skip` lets that
many calls pass first, `spare` all calls of the methods that it lists. `error` is `rateLimitExceeded`,
`tooManyRequests` or a status from 500 on.
"""

from __future__ import annotations

import fnmatch
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tests.gcp.fake.resources.links import name_of
from tests.gcp.fake.wire.errors import ApiError, Json, backend_error, rate_limited, too_many_requests

When = Literal["before", "after"]

CREATION = {
    "stockout": {
        "code": "ZONE_RESOURCE_POOL_EXHAUSTED",
        "message": "The zone '{zone}' does not have enough resources available to fulfill the request.",
    },
    "quota": {"code": "QUOTA_EXCEEDED", "message": "Quota 'CPUS' exceeded.  Limit: 24.0 in region."},
}
KINDS = {
    "error": "on error when?",
    "drop": "on when?",
    "kill_client": "on pid when? spare?",
    "operation": "on code bare?",
    "slow": "on seconds",
    "act": "on verb path body?",
    "hold": "action instance",
    "creation": "error group? zone?",
    "unhealthy": "instance",
    "health": "answer service?",
    "wait": "",
    "load": "group size",
}
"""With the fields of each; those that end in ? may be left out. `do`, `times` and `skip` belong to all."""


@dataclass
class Fault:
    spec: Json
    left: int | None
    skip: int


class Faults:
    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.violations: list[str] = []
        """What broke the contract, of either side: the fake's exit code tells of it."""

    def violation(self, text: str) -> None:
        self.violations.append(text)

    def add(self, spec: Json) -> None:
        """Raises ApiError for one that there is not, or with a field too many or too few."""
        if (fields := KINDS.get(spec.get("do", ""))) is None:
            raise ApiError(400, "invalid", f"fake: no fault {spec.get('do')!r}")
        needed = {field for field in fields.split() if not field.endswith("?")}
        known = {field.rstrip("?") for field in fields.split()} | {"do", "times", "skip"}
        if wrong := (needed - spec.keys()) | (spec.keys() - known):
            raise ApiError(400, "invalid", f"fake: fault {spec['do']}: missing or unknown: {', '.join(sorted(wrong))}")
        self._faults.append(Fault(spec, spec.get("times", 1), spec.get("skip", 0)))

    def clear(self) -> None:
        self._faults.clear()

    def pending(self) -> list[Json]:
        return [fault.spec for fault in self._faults]

    def error(self, method: str, when: When) -> ApiError | None:
        spec = self._use("error", when=when, on=method)
        if spec is None:
            return None
        match spec["error"]:
            case "rateLimitExceeded":
                return rate_limited("Queries")
            case "tooManyRequests":
                return too_many_requests()
            case code:
                return backend_error(int(code))

    def drops(self, method: str, when: When) -> bool:
        """Whether the connection is closed without an answer, for the client's death or without it."""
        if spec := self._use("kill_client", when=when, on=method):
            os.kill(spec["pid"], signal.SIGKILL)
            return True
        return self._use("drop", when=when, on=method) is not None

    def operation(self, method: str) -> Json | None:
        return self._use("operation", on=method)

    def slow(self, method: str) -> float:
        spec = self._use("slow", on=method)
        return float(spec["seconds"]) if spec else 0

    def holds(self, action: str, instance: str) -> bool:
        return any(
            fault.spec["do"] == "hold"
            and fault.spec["action"] == action
            and fnmatch.fnmatchcase(instance, fault.spec["instance"])
            for fault in self._faults
        )

    def acts(self, method: str) -> Iterator[Json]:
        for _ in range(sum(fault.spec["do"] == "act" for fault in self._faults)):
            if spec := self._use("act", on=method):
                yield spec

    def creation(self, group: str, zone: str) -> Json | None:
        """The error that a creation in that zone meets now."""
        spec = self._use("creation", group=name_of(group), zone=zone)
        if spec is None:
            return None
        return {key: text.format(zone=zone) for key, text in CREATION[spec["error"]].items()}

    def unhealthy(self, instance: str) -> bool:
        return any(
            fault.spec["do"] == "unhealthy" and fnmatch.fnmatchcase(instance, fault.spec["instance"])
            for fault in self._faults
        )

    def health(self, service: str) -> str | None:
        spec = self._use("health", service=service)
        return str(spec["answer"]) if spec else None

    def load(self, group: str) -> int | None:
        sizes = [f.spec["size"] for f in self._faults if f.spec["do"] == "load" and f.spec["group"] == name_of(group)]
        return sizes[-1] if sizes else None

    def wait_returns_early(self) -> bool:
        return self._use("wait") is not None

    def _use(self, kind: str, **matching: str) -> Json | None:
        """The first fault of that kind whose patterns match; it is used up by one."""
        for fault in self._faults:
            spec = fault.spec
            defaults = {"when": "before"}
            if spec["do"] != kind or not all(
                fnmatch.fnmatchcase(value, spec.get(key, defaults.get(key, "*"))) for key, value in matching.items()
            ):
                continue
            if matching.get("on") in spec.get("spare", ()):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            if fault.left is not None:
                fault.left -= 1
                if fault.left <= 0:
                    self._faults.remove(fault)
            return spec
        return None
