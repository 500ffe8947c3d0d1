"""Envoy's counters of the requests it sent to each instance of the tier behind it (`/clusters?format=json`).

`rq_error` counts responses with 5xx, resets and failed connections, each attempt by itself. `rq_total` leaves out
failed connections and includes requests in flight, so success and error are added up instead. Health checks are in
neither. A counter at zero comes without its value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from changeover.hops.envoy.admin import ask_admin
from changeover.kit.http import NoResponse
from changeover.model.guard import RequestCounts
from changeover.model.instance import Instance
from changeover.ports import Nodes, Unknown

if TYPE_CHECKING:
    import httpx


async def request_counts(
    client: httpx.AsyncClient, cluster: str, nodes: Nodes
) -> Mapping[str, Mapping[str, RequestCounts]]:
    """Node -> instance -> counts, from every node that carries traffic. Raises Unknown when one does not answer."""
    asked = nodes()
    if not asked:
        raise Unknown(f"no Envoy in front of {cluster} carries traffic")
    answers = await asyncio.gather(*(_ask(client, cluster, node) for node in asked))
    for counts in answers:
        if isinstance(counts, Unknown):
            raise counts
    return {node.name: counts for node, counts in zip(asked, answers, strict=True) if not isinstance(counts, Unknown)}


async def _ask(client: httpx.AsyncClient, cluster: str, node: Instance) -> Mapping[str, RequestCounts] | Unknown:
    """Its counts, or why not: raised here, the error would leave the other requests running."""
    try:
        answer = await ask_admin(client, "GET", node, "/clusters?format=json")
        if answer.status_code != 200:
            raise Unknown(f"/clusters answered {answer.status_code}")
        return parse(answer.json(), cluster)
    except (NoResponse, ValueError, Unknown) as error:
        return Unknown(f"{node.name}: {error}")


def parse(document: Any, cluster: str) -> dict[str, RequestCounts]:
    """Counts by host name, which is the name of the instance. Raises Unknown where the document is something else."""
    try:
        hosts = [
            host
            for status in document["cluster_statuses"]
            if status["name"] == cluster
            for host in status.get("host_statuses", ())
        ]
        return {host["hostname"]: _counts(host["stats"]) for host in hosts}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unknown(f"these are not the statistics of an Envoy: {error!r}") from error


def _counts(stats: Any) -> RequestCounts:
    values = {stat["name"]: int(stat.get("value", 0)) for stat in stats}
    return RequestCounts(ok=values["rq_success"], broken=values["rq_error"])
