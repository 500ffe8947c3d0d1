from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.answered import Answered
from tests.unit.hops.contexts import instance

from changeover.hops.envoy.stats import broken_counts, parse
from changeover.model.guard import RequestCounts
from changeover.ports import Broken, Unknown

RECORDED: Any = json.loads((Path(__file__).parent / "clusters.json").read_text())
"""Envoy 1.40 after 60 GETs over four instances: good, every fifth a 500, every fifth a reset, not listening."""


def test_every_instance_has_what_ended_on_it_by_its_name() -> None:
    assert parse(RECORDED, "runtime") == {
        "runtime-v1-1": RequestCounts(ok=26, broken=0),
        "runtime-v2-2": RequestCounts(ok=17, broken=4),
        "runtime-v2-3": RequestCounts(ok=13, broken=3),
        "runtime-v2-4": RequestCounts(ok=0, broken=0),
    }


def test_a_cluster_without_members_has_no_counts() -> None:
    assert parse({"cluster_statuses": [{"name": "runtime"}]}, "runtime") == {}
    assert parse(RECORDED, "other") == {}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"cluster_statuses": [{}]},
        {"cluster_statuses": [{"name": "runtime", "host_statuses": [{"stats": []}]}]},
        {"cluster_statuses": [{"name": "runtime", "host_statuses": [{"hostname": "a", "stats": []}]}]},
    ],
)
def test_what_is_no_statistics_is_unknown(document: Any) -> None:
    with pytest.raises(Unknown, match="not the statistics of an Envoy"):
        parse(document, "runtime")


NODE = instance("gateway-v1-1", 21001, 22001)


def broken(stats: str, clusters: Any, *nodes: Any) -> Any:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/clusters":
            return httpx.Response(200, json=clusters)
        return httpx.Response(200, text=stats)

    async def ask() -> Any:
        client = Answered(answer=answer)
        names = frozenset(["runtime-v1-1", "removed"])
        return await broken_counts(client, "runtime", lambda: nodes, names)

    return asyncio.run(ask())


STATS = """cluster.runtime.upstream_cx_destroy_remote_with_active_rq: 5
cluster.runtime.upstream_rq_pending_failure_eject: 2
cluster.runtime.upstream_rq_retry: 4
"""
"""Envoy 1.40: two uploads and an answer that had begun broke, two GETs were repeated after it, two never connected."""


def test_what_broke_and_was_not_repeated_is_the_count_of_the_whole_cluster() -> None:
    hosts = [{"hostname": "runtime-v1-1", "stats": [{"name": "rq_active", "value": "2"}, {"name": "rq_error"}]}]
    document = {"cluster_statuses": [{"name": "other"}, {"name": "runtime", "host_statuses": hosts}]}
    assert broken(STATS, document, NODE) == {
        "runtime-v1-1": {"gateway-v1-1": Broken(3, 2)},
        "removed": {"gateway-v1-1": Broken(3, 0)},
    }


@pytest.mark.parametrize(("stats", "clusters"), [("", {"cluster_statuses": []}), (STATS, {}), ("no statistics", [])])
def test_an_answer_without_these_counts_is_unknown(stats: str, clusters: Any) -> None:
    with pytest.raises(Unknown, match="gateway-v1-1: "):
        broken(stats, clusters, NODE)


def test_without_a_node_that_carries_traffic_nothing_is_known_of_what_broke() -> None:
    with pytest.raises(Unknown, match="no Envoy in front of runtime carries traffic"):
        broken(STATS, {"cluster_statuses": []})
