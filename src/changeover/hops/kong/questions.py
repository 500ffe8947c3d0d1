"""What a Kong is asked at its status listener. Imports no settings, so that the agent can ask the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from changeover.hops.questions import Questions
from changeover.kit.http import NoResponse
from changeover.kit.sockets import open_connections
from changeover.model.instance import InFlight, Instance
from changeover.ports import Unknown

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectClient, DirectResponse

READY_PATH = "/status/ready"


async def in_flight(client: DirectClient, instance: Instance, headers: Mapping[str, str] | None = None) -> InFlight:
    """Requests from the status listener, less the one that asks; connections from the kernel.

    Each worker holds a connection to the one that spreads events among them, which is counted too.
    """
    try:
        report = (await status(client, "GET", instance, "/status", headers)).json()
        server, workers = report["server"], len(report["memory"]["workers_lua_vms"])
        busy = int(server["connections_reading"]) + int(server["connections_writing"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unknown(f"{instance.name}: /status did not answer as it should: {error!r}") from error
    connections = open_connections(instance.address.port, instance.address.host)
    # Without a connection there is no request: the rest are questions to the other listeners.
    return InFlight(max(0, busy - 1 - workers) if connections else 0, connections)


async def status(
    client: DirectClient,
    method: str,
    instance: Instance,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
) -> DirectResponse:
    """The response of the status listener, with any status. Raises Unknown."""
    try:
        return await client.request(method, f"http://{instance.control}{path}", headers=headers, json=body)
    except NoResponse as error:
        raise Unknown(str(error)) from error


async def _in_flight(client: DirectClient, instance: Instance, _path: str) -> InFlight:
    return await in_flight(client, instance)


# Without a lame duck beyond the file: only a reload ends "draining", and it closes idle connections.
QUESTIONS = Questions(READY_PATH, _in_flight)
