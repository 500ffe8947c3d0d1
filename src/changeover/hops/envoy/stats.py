"""Envoy's counters of the requests it sent to each instance of the tier behind it (`/clusters?format=json`).

`rq_error` counts responses with 5xx, resets and failed connections, each attempt by itself. `rq_total` leaves out
failed connections and includes requests in flight, so success and error are added up instead. Health checks are in
neither. A counter at zero comes without its value.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from changeover.hops.envoy.admin import ask_admin
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import NoResponse
from changeover.model.guard import RequestCounts
from changeover.model.instance import Instance
from changeover.ports import Broken, Nodes, Unknown


async def request_counts(client: DirectClient, cluster: str, nodes: Nodes) -> Mapping[str, Mapping[str, RequestCounts]]:
    """Node -> instance -> counts, from every node that carries traffic. Raises Unknown when one does not answer."""
    asked = nodes()
    if not asked:
        raise Unknown(f"no Envoy in front of {cluster} carries traffic")
    answers = await asyncio.gather(*(_ask(client, cluster, node) for node in asked))
    for counts in answers:
        if isinstance(counts, Unknown):
            raise counts
    return {node.name: counts for node, counts in zip(asked, answers, strict=True) if not isinstance(counts, Unknown)}


async def _ask(client: DirectClient, cluster: str, node: Instance) -> Mapping[str, RequestCounts] | Unknown:
    """Its counts, or why not: raised here, the error would leave the other requests running."""
    try:
        answer = await ask_admin(client, "GET", node, "/clusters?format=json")
        if answer.status_code != 200:
            raise Unknown(f"/clusters answered {answer.status_code}")
        return parse(answer.json(), cluster)
    except (NoResponse, ValueError, Unknown) as error:
        return Unknown(f"{node.name}: {error}")


async def broken_counts(
    client: DirectClient, cluster: str, nodes: Nodes, names: frozenset[str]
) -> Mapping[str, Mapping[str, Broken]]:
    """Instance -> node -> what broke in the whole cluster, from every node. Raises Unknown when one does not answer.

    Envoy counts by instance only the attempts that failed before an answer began, and a 500 of the application as well.
    The counters of the cluster have each connection that its instance closed with a request on it.
    """
    asked = nodes()
    if not asked:
        raise Unknown(f"no Envoy in front of {cluster} carries traffic")
    found: dict[str, dict[str, Broken]] = {name: {} for name in names}
    answers = await asyncio.gather(*(_ask_broken(client, cluster, node) for node in asked))
    for node, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Unknown):
            raise answer
        ended, active = answer
        for name in names:
            found[name][node.name] = Broken(ended, active.get(name, 0))
    return found


_BROKE = ("upstream_cx_destroy_remote_with_active_rq", "upstream_rq_pending_failure_eject")
"""Requests on connections that the instance closed (HTTP/1.1 has one on each), and those that got no connection."""
_REPEATED = "upstream_rq_retry"


async def _ask_broken(client: DirectClient, cluster: str, node: Instance) -> tuple[int, Mapping[str, int]] | Unknown:
    """Requests that broke and were not repeated, and those under way on each instance."""
    names = [f"cluster.{cluster}.{counter}" for counter in (*_BROKE, _REPEATED)]
    try:
        text = await ask_admin(client, "GET", node, f"/stats?filter=^({'|'.join(map(re.escape, names))})$")
        hosts = await ask_admin(client, "GET", node, "/clusters?format=json")
        if (text.status_code, hosts.status_code) != (200, 200):
            raise Unknown(f"/stats answered {text.status_code}, /clusters {hosts.status_code}")
        values = dict(line.split(": ") for line in text.text.splitlines())
        *broke, repeated = [int(values[name]) for name in names]
        return sum(broke) - repeated, _active(hosts.json(), cluster)
    except NoResponse:
        return Unknown(f"{node.name} does not answer")
    except (ValueError, KeyError, TypeError, AttributeError, Unknown) as error:
        return Unknown(f"{node.name}: {error!r}")


def _active(document: Any, cluster: str) -> dict[str, int]:
    return {
        host["hostname"]: sum(int(stat.get("value", 0)) for stat in host["stats"] if stat["name"] == "rq_active")
        for status in document["cluster_statuses"]
        if status["name"] == cluster
        for host in status.get("host_statuses", ())
    }


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
