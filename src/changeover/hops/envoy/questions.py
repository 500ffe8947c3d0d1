"""What an Envoy is asked at its admin interface. Imports no settings, so that the agent can ask the same."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from changeover.hops.envoy.admin import ask_admin
from changeover.hops.envoy.member_list import hosts_of
from changeover.hops.questions import Questions
from changeover.kit.http import NoResponse
from changeover.kit.sockets import open_connections
from changeover.model.instance import InFlight, Instance
from changeover.ports import Unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from changeover.kit.direct_http import DirectClient, DirectResponse

READY_PATH = "/ready"
INGRESS = "ingress"
"""The `stat_prefix` of the listener for clients."""
CONTROL = "control"
"""That of the listener for readiness."""


async def lame_duck(client: DirectClient, instance: Instance, on: bool) -> None:
    """Not ready any more. Every response carries `Connection: close`, which empties the pools in front."""
    await _admin(client, "POST", instance, "/healthcheck/fail" if on else "/healthcheck/ok")


async def in_flight(client: DirectClient, instance: Instance, prefix: str = INGRESS) -> InFlight:
    """Downstream requests and connections of the listener with that `stat_prefix`."""
    name = f"http.{prefix}.downstream"
    text = await _admin(client, "GET", instance, rf"/stats?filter=^{re.escape(name)}_(rq|cx)_active$")
    try:
        values = dict(line.split(": ") for line in text.splitlines())
        return InFlight(int(values[f"{name}_rq_active"]), int(values[f"{name}_cx_active"]))
    except (KeyError, ValueError) as error:
        raise Unknown(f"{instance.name}: no such statistics: {text[:80]!r}") from error


async def all_in_flight(client: DirectClient, instance: Instance) -> InFlight:
    """Downstream requests of every listener but those of Envoy and changeover; connections from the kernel."""
    text = await _admin(client, "GET", instance, r"/stats?filter=^http\..*\.downstream_rq_active$")
    try:
        found = {name: int(value) for name, _, value in (line.rpartition(": ") for line in text.splitlines())}
        found.pop("http.admin.downstream_rq_active")  # every Envoy has it: the rest is complete
        found.pop(f"http.{CONTROL}.downstream_rq_active", None)
    except (KeyError, ValueError) as error:
        raise Unknown(f"{instance.name}: no such statistics: {text[:80]!r}") from error
    connections = open_connections(instance.address.port, instance.address.host)
    return InFlight(sum(found.values()) if found else None, connections)


async def _admin(client: DirectClient, method: str, instance: Instance, path: str) -> str:
    try:
        answer = await ask_admin(client, method, instance, path)
    except NoResponse as error:
        raise Unknown(str(error)) from error
    if answer.status_code != 200:
        raise Unknown(f"{instance.name}: {method} {path} answered {answer.status_code}")
    return answer.text


async def hosts(client: DirectClient, instance: Instance, cluster: str) -> dict[str, tuple[bool, int]]:
    """The members that it sends requests of a cluster to: name -> whether it does, and the weight. Raises Unknown."""
    text = await _admin(client, "GET", instance, "/clusters?format=json")
    try:
        return hosts_of(json.loads(text), cluster)
    except ValueError as error:
        raise Unknown(f"{instance.name}: {error}") from error


async def _ask(
    client: DirectClient, method: str, instance: Instance, path: str, headers: Mapping[str, str] | None = None
) -> DirectResponse:
    """Without the headers: the admin interface reads none, and a socket is asked without."""
    return await ask_admin(client, method, instance, path)


QUESTIONS = Questions(READY_PATH, in_flight, counts_at=INGRESS, ask=_ask, lame_duck=lame_duck, takes_sockets=True)
