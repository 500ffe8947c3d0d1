"""The metadata server of each VM, on the VM's own address: one server tells them apart by the address that was asked.

Page "View and query VM metadata": every request needs `Metadata-Flavor: Google`, `?wait_for_change=true` holds it until
something changes, `last_etag` makes that safe against a change in between, and a path that ends in / lists what is
below.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from tests.gcp.fake.machines.vm import Vm

PREFIX = "/computeMetadata/v1/"
FLAVOR = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}
MOST = 60.0
"""Seconds that a request waits for a change when it gives no `timeout_sec`."""


async def answer(request: Request, find: Callable[[str], Vm | None]) -> Response:
    vm = find(request.scope["server"][0])
    if vm is None:
        return PlainTextResponse("fake: no VM has this address\n", 404, FLAVOR)
    if request.headers.get("Metadata-Flavor") != "Google":
        return PlainTextResponse('Missing required header "Metadata-Flavor": "Google"\n', 403, FLAVOR)
    path = request.url.path.removeprefix(PREFIX)
    query = request.query_params
    if query.get("wait_for_change", "").lower() == "true" and query.get("last_etag") in {None, _etag(_value(vm, path))}:
        try:
            async with asyncio.timeout(float(query.get("timeout_sec", MOST))):
                before = _value(vm, path)
                while _value(vm, path) == before:
                    await vm.changed.wait()
        except TimeoutError:
            pass
    value = _value(vm, path)
    if value is None:
        return PlainTextResponse("404 page not found\n", 404, FLAVOR)
    return PlainTextResponse(value, 200, {**FLAVOR, "ETag": _etag(value), "Content-Type": "application/text"})


def _etag(value: str | None) -> str:
    return hashlib.sha256((value or "").encode()).hexdigest()[:16]


def _value(vm: Vm, path: str) -> str | None:
    values = {
        "instance/id": vm.number,
        "instance/name": vm.name,
        "instance/hostname": f"{vm.name}.{vm.zone}.c.{vm.path.split('/')[1]}.internal",
        "instance/zone": f"projects/1/zones/{vm.zone}",
        "instance/network-interfaces/0/ip": vm.address,
        "instance/preempted": "TRUE" if vm.preempted else "FALSE",
        "instance/maintenance-event": "NONE",
        "instance/attributes/instance-template": vm.template,
        "instance/attributes/created-by": vm.created_by,
        "instance/shutdown-details/stop-state": vm.status if vm.status in {"PENDING_STOP", "STOPPING"} else "",
        "project/project-id": vm.path.split("/")[1],
        **{f"instance/attributes/{key}": value for key, value in vm.attributes.items()},
    }
    values = {key: value for key, value in values.items() if value}
    if path.endswith("/") or not path:
        names = sorted({_first(key.removeprefix(path)) for key in values if key.startswith(path)})
        return "".join(f"{name}\n" for name in names) or None
    return values.get(path)


def _first(rest: str) -> str:
    head, slash, _ = rest.partition("/")
    return head + slash
