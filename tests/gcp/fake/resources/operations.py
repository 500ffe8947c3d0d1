"""Operations: RUNNING at once, DONE after a while, and the same operation for the same request id.

The effect of a change comes with DONE, not with the answer. For a group it is no more than a schedule: each method's
description says that it is "marked as DONE when the action is scheduled".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping

from tests.gcp.fake.clock import Clock
from tests.gcp.fake.resources.links import link
from tests.gcp.fake.resources.store import Store
from tests.gcp.fake.wire.discovery import Call
from tests.gcp.fake.wire.errors import ApiError, Json
from tests.gcp.fake.wire.faults import Faults


class Operations:
    def __init__(self, clock: Clock, store: Store, faults: Faults) -> None:
        self._clock = clock
        self._store = store
        self._faults = faults
        self._by_request: dict[tuple[str, str], str] = {}
        self._done: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def repeated(self, call: Call, query: Mapping[str, str]) -> Json | None:
        """The operation that the same request began earlier.

        requestId: "If you make the request again with the same request ID, the server can check if original operation
        with the same request ID was received, and if so, will ignore the second request."
        """
        path = self._by_request.get((call.method, query.get("requestId", "")))
        return self._store.get(path) if path else None

    def start(self, call: Call, query: Mapping[str, str], target: Json, effect: Callable[[], Awaitable[None]]) -> Json:
        """Answer with a running operation; `effect` comes when it is done, and its ApiError is the operation's."""
        scope = scope_of(call.args)
        number = self._store.number()
        path = f"projects/{call.args['project']}/{scope}/operations/operation-{number}"
        operation = self._store.add(
            path, {"name": f"operation-{number}"}, kind="compute#operation", fingerprint=False
        ) | {
            "id": number,
            "operationType": _type(call),
            "targetLink": target["selfLink"],
            "targetId": target.get("id", number),
            "status": "RUNNING",
            "progress": 0,
            "user": "someone@example.com",
            "insertTime": self._clock.stamp(),
            "startTime": self._clock.stamp(),
        }
        del operation["creationTimestamp"]  # "This field is deprecated": no recorded operation has it
        where, _, name = scope.rpartition("/")
        if where:
            operation[where.removesuffix("s")] = link(f"projects/{call.args['project']}/{where}/{name}")
        if request_id := query.get("requestId"):
            operation["clientOperationId"] = request_id
            self._by_request[call.method, request_id] = path
        stored = self._store.get(path)
        stored.clear()
        stored.update(operation)
        self._done[stored["name"]] = asyncio.Event()
        task = asyncio.get_running_loop().create_task(self._carry_out(stored, effect, unscoped(call.method)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return dict(stored)

    async def _carry_out(self, operation: Json, effect: Callable[[], Awaitable[None]], method: str) -> None:
        fault = self._faults.operation(method)
        await self._clock.sleep(self._faults.slow(method) or self._clock.delays.operation)
        try:
            if fault is None:
                await effect()
            else:
                _fail(operation, fault)
        except ApiError as error:
            operation["error"] = {"errors": [{"code": error.reason.upper(), "message": error.message}]}
            operation["httpErrorStatusCode"] = error.code
            operation["httpErrorMessage"] = error.reason
        operation.update(status="DONE", progress=100, endTime=self._clock.stamp())
        self._done[operation["name"]].set()

    async def wait(self, operation: Json, *, early: bool) -> Json:
        """operations.wait: at most two minutes, and it may return before the operation is DONE: `early`, at once.

        "In uncommon cases, when the server is overloaded, the request might return before the default deadline is
        reached, or might return after zero seconds."
        """
        if not early:
            deadline = self._clock.real(self._clock.delays.wait)
            try:
                async with asyncio.timeout(deadline):
                    await self._done[operation["name"]].wait()
            except TimeoutError:
                pass
        return dict(operation)


def _fail(operation: Json, fault: Json) -> None:
    """Recorded failures carry a status; clients must not rely on it (`bare`)."""
    operation["error"] = {"errors": [{"code": fault["code"], "message": f"fake: {fault['code']}"}]}
    if not fault.get("bare"):
        operation.update(httpErrorStatusCode=403, httpErrorMessage="FORBIDDEN")


def scope_of(args: Mapping[str, str]) -> str:
    """`zones/z`, `regions/r` or `global`."""
    for kind in ("zone", "region"):
        if kind in args:
            return f"{kind}s/{args[kind]}"
    return "global"


def unscoped(method: str) -> str:
    """`instanceGroupManagers.get` of `regionInstanceGroupManagers.get`: one name for every scope."""
    plain = re.sub(r"^(region|zone|global)(?=[A-Z])", "", method)
    return plain[0].lower() + plain[1:]


def _type(call: Call) -> str:
    """operationType, as in recorded answers: long for methods of groups that schedule, plain for patches."""
    resource, _, method = call.method.partition(".")
    if unscoped(resource) == "instanceGroupManagers" and method not in {"patch", "update", "delete"}:
        return f"compute.instanceGroupManagers.{method}"
    return method
