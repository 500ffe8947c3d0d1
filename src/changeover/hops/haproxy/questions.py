"""What an HAProxy is asked at its stats socket. No agent asks it: `hops.questions` has no entry for it."""

from __future__ import annotations

from pathlib import Path

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.kit.sockets import open_connections
from changeover.model.instance import InFlight, Instance
from changeover.ports import Unknown

SOCKET = "haproxy.sock"
"""Its stats socket, in the folder of the instance: admin rights without a password, so no port."""
READY_PATH = "/readyz"
READY = "changeover.ready"
"""A backend whose one server is in maintenance while the instance drains: HAProxy reads no file at run time, and this
is a state that its runtime API has set in every version."""


async def lame_duck(instance: Instance, on: bool) -> None:
    """Raises Unknown."""
    try:
        await api(instance).do(f"set server {READY}/up state {'maint' if on else 'ready'}")
    except Unknown as error:
        raise Unknown(f"{instance.name}: {error}") from error


async def in_flight(instance: Instance) -> InFlight:
    """Requests that its backends have, and connections from the kernel. Raises Unknown."""
    try:
        rows = await api(instance).table("show stat -1 2 -1", ",", skip=0, key="pxname")
        if READY not in rows:
            raise Unknown(f"it has no backend {READY}")
        requests = sum(int(row["scur"]) + int(row["qcur"] or 0) for row in rows.values())
    except (Unknown, KeyError, ValueError) as error:
        raise Unknown(f"{instance.name}: {error}") from error
    return InFlight(requests, open_connections(instance.address.port, instance.address.host))


def tcp_in_flight(instance: Instance) -> InFlight:
    """Connections from the kernel: a connection that carries bytes may carry a request."""
    return InFlight(None, open_connections(instance.address.port, instance.address.host))


def api(instance: Instance) -> RuntimeApi:
    """Its runtime API."""
    return RuntimeApi(str(Path(instance.directory) / SOCKET))
