"""Hollow machines: VMs without processes, for groups of a thousand. What they would answer, the fake answers for them.

Each has its address and, on the world's `agent_port`, an agent: ready while it is no lame duck, with `requests` in
flight that end one after the other within `drains` seconds once it is one. Health checks see the agent's readiness, no
sooner than their thresholds allow. No traffic goes through such a world; it measures what a controller costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.gcp.fake.balancers.haproxy import Member, Seen
from tests.gcp.fake.machines.vm import Vm
from tests.gcp.fake.wire.errors import Json


@dataclass(frozen=True)
class Hollow:
    """Of a world file."""

    agent_port: int
    token: str = ""
    requests: int = 2
    drains: float = 10
    """Seconds at speed 1."""


class HollowVm(Vm):
    lame_since: float | None = None
    """On the machine's monotonic clock."""

    async def _run(self) -> None:
        """Nothing."""

    def ready(self, since: float = 0) -> bool:
        """Whether it is ready now, or was until less than `since` real seconds ago."""
        up = self.status == "RUNNING"
        return up and (self.lame_since is None or time.monotonic() - self.lame_since < since)

    def passes(self, path: str) -> bool:
        """A health check: of the agent's readiness, or of something that always answers while the VM runs."""
        return self.ready() if path == "/readyz" else self.status == "RUNNING"


class HollowAgents:
    def __init__(self, settings: Hollow, find: Callable[[str], Vm | None], real: Callable[[float], float]) -> None:
        self._settings = settings
        self._find = find
        self._real = real

    async def answer(self, request: Request) -> Response:
        vm = self._find(request.scope["server"][0])
        path = request.url.path
        if not isinstance(vm, HollowVm) or vm.status not in {"RUNNING", "PENDING_STOP"}:
            return JSONResponse({"error": "fake: no VM runs at this address", "next": "Look at /fake/state."}, 404)
        if path == "/readyz":
            return JSONResponse({}) if vm.ready() else JSONResponse({"reason": "lame duck"}, 503)
        if self._settings.token and request.headers.get("Authorization") != f"Bearer {self._settings.token}":
            return JSONResponse({"error": "the token is missing or wrong", "next": "Send it."}, 401)
        if path == "/v1/lame-duck" and request.method == "PUT":
            on = (await request.json())["on"]
            vm.lame_since = (vm.lame_since or time.monotonic()) if on else None
        elif path != "/v1/status":
            return JSONResponse({"error": f"there is no {path}", "next": "Ask for /v1/status."}, 404)
        return JSONResponse(self._status(vm))

    def _status(self, vm: HollowVm) -> Json:
        lame = vm.lame_since is not None
        left = self._settings.requests
        if vm.lame_since is not None:
            passed = (time.monotonic() - vm.lame_since) / max(self._real(self._settings.drains), 1e-9)
            left = max(0, round(left * (1 - passed)))
        counts = {"requests": left, "connections": left, "uploads": []}
        return {
            "format": 1,
            "name": vm.name,
            "ready": vm.ready(),
            "lame_duck": lame,
            "reason": "lame duck" if lame else None,
            "in_flight": counts,
            "unknown": None,
            "witnesses": {"own": counts, "kernel": None},
            "kind": "app",
            "time": time.time(),
            "started": vm.booted,
        }


class HollowProcess:
    """In place of a balancer's HAProxy."""

    def __init__(self, find: Callable[[str], Vm | None], delay: Callable[[], float]) -> None:
        self._find = find
        self._delay = delay
        """Real seconds until a check's result counts."""
        self._members: dict[str, str] = {}

    async def run(self, config: str, members: Any = ()) -> None:
        """Nothing."""

    async def stop(self) -> None:
        """Nothing."""

    async def admit(self, member: Member) -> None:
        self._members[member.name] = member.address

    async def remove(self, name: str) -> None:
        self._members.pop(name, None)

    async def forget(self, name: str, *, ended: bool) -> None:
        self._members.pop(name, None)

    async def seen(self) -> dict[str, Seen]:
        delay, now = self._delay(), time.monotonic()
        found = {}
        for name, address in self._members.items():
            vm = self._find(address)
            up = isinstance(vm, HollowVm) and vm.ready(since=delay) and now - vm.started > delay
            found[name] = Seen(healthy=up, failures=0)
        return found
