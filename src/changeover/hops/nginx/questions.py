"""What an nginx is asked: stub_status, and the kernel. Imports no settings, so that the agent can ask the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from changeover.hops.questions import Questions
from changeover.kit.http import NoResponse
from changeover.kit.sockets import open_connections
from changeover.model.instance import InFlight, Instance
from changeover.ports import Unknown

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectClient

READY_PATH = "/readyz"
STATUS_PATH = "/status"
_COUNTS = re.compile(r"Reading: (\d+) Writing: (\d+)")


async def in_flight(client: DirectClient, instance: Instance, path: str = STATUS_PATH) -> InFlight:
    """Requests from stub_status, less the one that asks; connections from the kernel."""
    try:
        answer = await client.request("GET", f"http://{instance.control}{path}")
    except NoResponse as error:
        raise Unknown(str(error)) from error
    counts = _COUNTS.search(answer.text)
    if counts is None:
        raise Unknown(f"{instance.name}: {path} is not stub_status: {answer.text[:80]!r}")
    requests = max(0, int(counts[1]) + int(counts[2]) - 1)
    connections = open_connections(instance.address.port, instance.address.host)
    # Without a connection there is no request: the rest are health checks on the control port.
    return InFlight(requests if connections else 0, connections)


def stream_in_flight(instance: Instance) -> InFlight:
    """Connections from the kernel: stream has no status page that is free."""
    return InFlight(None, open_connections(instance.address.port, instance.address.host))


async def _stream_in_flight(_client: DirectClient, instance: Instance, _path: str) -> InFlight:
    return stream_in_flight(instance)


HTTP = Questions(READY_PATH, in_flight, counts_at=STATUS_PATH)
STREAM = Questions(READY_PATH, _stream_in_flight)
