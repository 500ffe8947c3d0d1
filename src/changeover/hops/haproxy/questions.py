"""What an HAProxy is asked at its stats socket. Imports no settings, so that the agent can ask the same.

An HAProxy of a chain on this machine has the socket in its folder; the agent is given its address.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from changeover.haproxy.runtime_api import TIMEOUT, RuntimeApi
from changeover.hops.questions import Questions
from changeover.kit.direct_http import DirectClient, DirectResponse
from changeover.kit.http import NoResponse
from changeover.kit.sockets import open_connections
from changeover.model.instance import InFlight, Instance
from changeover.ports import Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def api(instance: Instance, timeout: float = TIMEOUT) -> RuntimeApi:
    """Its runtime API."""
    if instance.directory:
        return RuntimeApi(str(Path(instance.directory) / SOCKET), timeout)
    at = instance.control
    return RuntimeApi(at.host if at.host.startswith("/") else str(at), timeout)


# -- what the agent asks -------------------------------------------------------------------------------------------

_NO_BACKEND = f"has no backend {READY} with a server up"


async def _answers(
    client: DirectClient, method: str, instance: Instance, path: str, headers: Mapping[str, str] | None = None
) -> DirectResponse:
    """200, as the control address of other software, of one that passes bytes: it needs nothing for its lame duck."""
    await _ask(client, instance, "show info")
    return DirectResponse(200, {}, b"")


async def _can_drain(
    client: DirectClient, method: str, instance: Instance, path: str, headers: Mapping[str, str] | None = None
) -> DirectResponse:
    """The same of one that reads requests, where its lame duck can be switched."""
    servers = await _ask(client, instance, f"show servers state {READY}")
    if f" {READY} " in servers and " up " in servers:
        return DirectResponse(200, {}, b"")
    return DirectResponse(503, {}, _NO_BACKEND.encode())


async def _ask(client: DirectClient, instance: Instance, command: str) -> str:
    try:
        return await api(instance, client.timeout).ask(command)
    except Unknown as error:
        raise NoResponse(str(error)) from error


async def _lame_duck(_client: DirectClient, instance: Instance, on: bool) -> None:
    await lame_duck(instance, on)


async def _in_flight(_client: DirectClient, instance: Instance, _counts_at: str) -> InFlight:
    return await in_flight(instance)


async def _tcp_in_flight(_client: DirectClient, instance: Instance, _counts_at: str) -> InFlight:
    return tcp_in_flight(instance)


HTTP = Questions(READY_PATH, _in_flight, ask=_can_drain, lame_duck=_lame_duck, takes_sockets=True, asked_by_path=False)
STREAM = Questions(READY_PATH, _tcp_in_flight, ask=_answers, takes_sockets=True, asked_by_path=False)
