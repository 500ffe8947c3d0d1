"""What an application is asked: at the address that serves requests, and for a count only if it has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from changeover.hops import in_flight_endpoint
from changeover.hops.questions import Questions

if TYPE_CHECKING:
    from changeover.kit.direct_http import DirectClient
    from changeover.model.instance import InFlight, Instance

READY_PATH = "/readyz"


async def in_flight(client: DirectClient, instance: Instance, path: str) -> InFlight | None:
    return await in_flight_endpoint.in_flight(client, instance, path) if path else None


QUESTIONS = Questions(READY_PATH, in_flight, own_control=False)
