"""Envoy in the joined view: its discovery from files, its pools and timeouts, and how it is stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Effect, Finding, Outcome
from changeover.audit.hops.envoy import Envoy
from changeover.audit.rules import all_rules

_NETWORK = "type.googleapis.com/envoy.extensions.filters.network"
_POOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UVICORN = "[Service]\nExecStart=/usr/bin/uvicorn --host 0.0.0.0 --port 8000 --timeout-keep-alive 75 shop:app\n"


def socket(host: str, port: int) -> Any:
    return {"address": {"socket_address": {"address": host, "port_value": port}}}


def cluster(name: str, **given: Any) -> Any:
    members = {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": socket("10.0.0.5", 8000)}]}]}
    return {"name": name, "load_assignment": members, **given}


def listener(config: Mapping[str, Any], port: int = 8080) -> Any:
    return {"name": "in", **socket("0.0.0.0", port), "filter_chains": [{"filters": [{"typed_config": config}]}]}


def manager(route: Mapping[str, Any], **given: Any) -> Any:
    hosts = [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
    kind = f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager"
    return {"@type": kind, "route_config": {"virtual_hosts": hosts}, **given}


def bootstrap(config: Mapping[str, Any], *clusters: Any) -> str:
    return json.dumps({"static_resources": {"listeners": [listener(config)], "clusters": clusters}}, indent=1)


def findings(rule: str, files: Mapping[str, str], **assume: str) -> list[Finding]:
    only = [one for one in all_rules() if one.id == rule]
    return [one.finding for one in audited(files, {"behind": "clients", **assume}, rules=only).judged]


def pooled(idle: str) -> Any:
    options = {"common_http_protocol_options": {"idle_timeout": idle}}
    return cluster("app", typed_extension_protocol_options={_POOL: options})


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (cluster("app"), Outcome.VIOLATED),  # 1 h
        (pooled("60s"), Outcome.MET),
        (pooled("75s"), Outcome.VIOLATED),
        (pooled("a while"), Outcome.UNKNOWN),
        (cluster("app", common_http_protocol_options={"idle_timeout": "60s"}), Outcome.MET),
        (cluster("other"), Outcome.UNKNOWN),
    ],
)
def test_the_pool_of_a_cluster_is_compared_with_the_server_behind_it(made: Any, outcome: Outcome) -> None:
    files = {"envoy.json": bootstrap(manager({"cluster": "app"}), made), "app.service": UVICORN}
    (found,) = findings("CHN01", files)
    assert found.outcome is outcome


def test_a_cluster_that_uses_a_connection_once_keeps_no_pool() -> None:
    files = {
        "envoy.json": bootstrap(manager({"cluster": "app"}), cluster("app", max_requests_per_connection=1)),
        "app.service": UVICORN,
    }
    assert findings("CHN01", files) == []


@pytest.mark.parametrize(
    ("policy", "effect"),
    [
        ({}, Effect.ERROR),
        ({"retry_on": "connect-failure"}, Effect.ERROR),
        ({"retry_on": "connect-failure,reset"}, Effect.RETRIED),
    ],
)
def test_a_get_is_repeated_only_by_a_policy_for_broken_connections(policy: Any, effect: Effect) -> None:
    route = {"cluster": "app", "retry_policy": policy}
    (found,) = findings("CHN01", {"envoy.json": bootstrap(manager(route), cluster("app")), "app.service": UVICORN})
    assert (found.get, found.post) == (effect, Effect.ERROR)


def test_clusters_endpoints_and_routes_come_from_files_of_discovery() -> None:
    config = "type.googleapis.com/envoy.config"
    routes = manager({"weighted_clusters": {"clusters": [{"name": "app", "weight": 100}]}})["route_config"]
    found_by = {"rds": {"route_config_name": "all"}}
    listed = [
        {"@type": f"{config}.route.v3.RouteConfiguration", "name": "all", **routes},
        {"@type": f"{config}.cluster.v3.Cluster", "name": "app", "eds_cluster_config": {"service_name": "members"}},
        {"@type": f"{config}.endpoint.v3.ClusterLoadAssignment", **cluster("members")["load_assignment"]},
    ]
    kind = {"@type": f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager"}
    files = {
        "envoy.json": bootstrap({**kind, **found_by}),
        "xds.json": json.dumps({"resources": listed}),
        "app.service": UVICORN,
    }
    view = audited(files).view
    assert [(one.front.name, one.inner.software) for one in view.links] == [("Envoy listener in", "uvicorn")]


def test_what_a_discovery_server_sends_is_missing_and_said_so() -> None:
    kind = {"@type": f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager"}
    (found,) = findings("CHN01", {"envoy.json": bootstrap({**kind, "rds": {"route_config_name": "all"}})})
    assert found.outcome is Outcome.UNKNOWN
    assert "discovery server" in found.missing


def test_listeners_of_a_discovery_server_are_unknown_to_every_rule() -> None:
    text = "dynamic_resources:\n  lds_config: {ads: {}}\n  cds_config: {ads: {}}\n"
    found = audited({"envoy.yaml": text}, {"behind": "google"})
    assert {one.rule.id for one in found.of(Outcome.UNKNOWN)} == {"CHN01", "ENV01", "ENV02"}
    assert not found.of(Outcome.MET)


def test_a_buffer_filter_shortens_the_way_behind_it() -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"
    filters = [{"typed_config": {"@type": kind, "max_request_bytes": 64_000_000}}]
    config = manager({"cluster": "app"}, http_filters=filters)
    (hop,) = audited({"a.json": bootstrap(config, cluster("app"))}).view.of(Envoy)
    assert hop.buffers.value is True


def test_the_shortest_idle_time_of_a_listener_counts() -> None:
    one = manager({"cluster": "app"}, common_http_protocol_options={"idle_timeout": "20s"})
    two = {"@type": f"{_NETWORK}.tcp_proxy.v3.TcpProxy", "cluster": "app", "idle_timeout": "0s"}
    made = listener(one)
    made["filter_chains"].append({"filters": [{"typed_config": two}]})
    (hop,) = audited({"a.json": json.dumps({"static_resources": {"listeners": [made]}})}).view.of(Envoy)
    assert hop.idle.value == 20


def unit(stop: str, more: str = "") -> dict[str, str]:
    start = f"ExecStart=/usr/bin/envoy -c /etc/envoy.yaml {more}"
    return {"envoy.service": f"[Service]\n{start}\nTimeoutStopSec=900\n{stop}\n"}


FAIL = "curl -X POST localhost:9901/healthcheck/fail"


@pytest.mark.parametrize(
    ("stop", "outcome", "get"),
    [
        ("", Outcome.VIOLATED, Effect.CUT),
        ("ExecStop=/bin/sleep 460", Outcome.VIOLATED, Effect.ERROR),
        (f"ExecStop={FAIL}", Outcome.VIOLATED, Effect.CUT),
        (f"ExecStop={FAIL}\nExecStop=sleep 120", Outcome.VIOLATED, Effect.OK),
        (f"ExecStop={FAIL}\nExecStop=sleep 460", Outcome.MET, Effect.OK),
        (f'ExecStop=/bin/sh -c "{FAIL} > /dev/null && sleep 460"', Outcome.MET, Effect.OK),
        ("ExecStop=/usr/local/bin/drain-envoy.sh", Outcome.UNKNOWN, Effect.OK),
        (f'ExecStop=/bin/sh -c "{FAIL}; while busy; do sleep 1; done"', Outcome.UNKNOWN, Effect.OK),
    ],
)
def test_a_stop_drains_first_and_waits_for_the_longest_request(stop: str, outcome: Outcome, get: Effect) -> None:
    (found,) = findings("ENV01", unit(stop))
    assert (found.outcome, found.get) == (outcome, get)


def test_an_envoy_that_is_drained_before_may_stop_at_once() -> None:
    (found,) = findings("ENV01", unit(""), drained="yes")
    assert found.outcome is Outcome.MET


@pytest.mark.parametrize(
    ("option", "outcome"), [(" 900", Outcome.MET), ("=60", Outcome.VIOLATED), (" $X", Outcome.UNKNOWN)]
)
def test_a_hot_restart_waits_for_the_longest_request(option: str, outcome: Outcome) -> None:
    _, found = findings("ENV01", unit("", f"--parent-shutdown-time-s{option}"))
    assert found.outcome is outcome


def test_how_an_envoy_stops_is_unknown_where_no_file_says_it() -> None:
    (found,) = findings("ENV01", {"envoy.json": bootstrap(manager({"cluster": "app"}), cluster("app"))})
    assert found.outcome is Outcome.UNKNOWN
