"""Envoy's bootstrap for an instance, as JSON. Pure: settings and a launch context in, text out.

The members of the tier behind come from a file (EDS over the file system): Envoy watches its folder and reads a renamed
file without a reload. That needs no discovery server, which could be down while an Envoy starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from changeover.hops.envoy.admin import SOCKET
from changeover.hops.envoy.member_list import socket_address
from changeover.hops.envoy.questions import CONTROL, INGRESS, READY_PATH
from changeover.hops.envoy.settings import EnvoySettings
from changeover.kit.http import BODY_READ
from changeover.model.affinity import AffinityRule
from changeover.model.chain import Tier
from changeover.model.control_paths import spellings
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.model.instance import Address
from changeover.model.readiness import Readiness
from changeover.ports import InnerTier, LaunchContext

_NO_BREAKER = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), 1_000_000_000)
"""By default Envoy answers 503 to the 1,025th request at once, and to a failed one while three others are repeated."""
# Relative to the folder of the instance: the path of a socket may have 107 characters.
ADMIN = {"address": {"pipe": {"path": SOCKET, "mode": 0o600}}}
_STEPS = {"error_level": 10_000, "warn_level": 10_000}
PATTERNS = {"name": "patterns", "static_layer": {"re2.max_program_size": _STEPS}}
"""For the patterns of `hidden`: by default Envoy refuses those of more than 100 steps."""
_TYPE = "type.googleapis.com/envoy.extensions"
CLIENTS_IDLE = 20.0
"""Seconds after which an idle connection of a client is closed, unless a template says more: a drain waits for it."""


def bootstrap(settings: EnvoySettings, context: LaunchContext) -> str:
    """The whole bootstrap of one instance."""
    if not context.behind:
        raise ValueError(f"{context.tier.name}: an envoy tier needs a tier behind it")
    return json.dumps(
        {
            "node": {"id": context.instance.name, "cluster": context.tier.name},
            "admin": ADMIN,
            "layered_runtime": {"layers": [PATTERNS]},
            "static_resources": {
                "listeners": [_listener(settings, context), control(context.instance.control)],
                "clusters": [cluster(settings, inner, context.tier.size) for inner in context.behind],
            },
        },
        indent=1,
    )


PROXY_HEADER = {
    "name": "proxy",
    "typed_config": {"@type": f"{_TYPE}.filters.listener.proxy_protocol.v3.ProxyProtocol"},
}
"""The listener filter that reads the address of the client."""


def _listener(settings: EnvoySettings, context: LaunchContext) -> dict[str, Any]:
    removes = context.trusted_peers is not None
    return {
        "name": "in",
        "address": socket_address(context.instance.address),
        "listener_filters": [PROXY_HEADER] if context.instance.proxied else [],
        "filter_chains": [
            *([_of_trusted_peers(settings, context)] if context.trusted_peers else []),
            {"filters": [{"name": "http", "typed_config": _manager(settings, context, removes=removes)}]},
        ],
    }


def _of_trusted_peers(settings: EnvoySettings, context: LaunchContext) -> dict[str, Any]:
    """The same for connections of peers that may name the client. A PROXY header names the peer."""
    networks = [ip_network(peer) for peer in context.trusted_peers or ()]
    ranges = [{"address_prefix": str(one.network_address), "prefix_len": one.prefixlen} for one in networks]
    manager = _manager(settings, context, removes=False)
    # One hop in front is trusted: Envoy appends its address to X-Forwarded-For, and leaves X-Forwarded-Proto as it is.
    manager |= {"use_remote_address": True, "xff_num_trusted_hops": 1}
    return {
        "filter_chain_match": {"source_prefix_ranges": ranges},
        "filters": [{"name": "http", "typed_config": manager}],
    }


def _manager(settings: EnvoySettings, context: LaunchContext, *, removes: bool) -> dict[str, Any]:
    """`removes`: requests lose the headers in which a client names itself."""
    return {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": INGRESS,
        "server_header_transformation": "PASS_THROUGH",
        "common_http_protocol_options": {"idle_timeout": seconds(_idle_timeout(settings, context))},
        # HTTP/1.0 knows no Host, and the tier behind gets HTTP/1.1, which needs one.
        "http_protocol_options": {
            "accept_http_10": True,
            "default_host_for_http_10": str(context.instance.address),
        },
        "stream_idle_timeout": seconds(settings.stream_idle_timeout),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "route_config": {
            "response_headers_to_add": [
                # `%` begins a command of Envoy's own
                {"header": {"key": name, "value": value.replace("%", "%%")}}
                for name, value in settings.headers.items()
            ],
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [*hidden(context), *_routes(settings, context)]}
            ],
        },
        "early_header_mutation_extensions": _removals(clients=removes),
        # The address of a PROXY header is the client's: it goes into X-Forwarded-For. Else that is left as it comes.
        "use_remote_address": context.instance.proxied,
        # By default Envoy obeys the x-envoy-* headers of clients with a private address.
        # An empty list would mean all of these, so it has an address that no client has.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]},
        "http_filters": [
            *([_SESSIONS] if any(inner.tier.affinity.by == "cookie" for inner in context.behind) else []),
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}},
        ],
    }


def _idle_timeout(settings: EnvoySettings, context: LaunchContext) -> float:
    if "idle_timeout" in settings.model_fields_set or context.trusted_peers is None:
        return settings.idle_timeout
    return min(CLIENTS_IDLE, context.tier.drain.deadline / 2)


def control(address: Address) -> dict[str, Any]:
    """Readiness for load balancers, and nothing else: 503 after `/healthcheck/fail`."""
    ready = {"name": ":path", "string_match": {"exact": READY_PATH}}
    health = {
        "@type": f"{_TYPE}.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [ready],
    }
    nothing = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    manager = {
        "@type": f"{_TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": CONTROL,
        "route_config": {"virtual_hosts": [{"name": "control", "domains": ["*"], "routes": [nothing]}]},
        "http_filters": [
            {"name": "health", "typed_config": health},
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.filters.http.router.v3.Router"}},
        ],
    }
    return {
        "name": "control",
        "address": socket_address(address),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _removals(*, clients: bool) -> list[dict[str, Any]]:
    """Removes the headers by which a client commands Envoy, and at the first tier those in which it names itself.

    `x-envoy-retry-on` would have Envoy send a POST twice. No tier of a chain sends such headers.
    """
    removed: list[dict[str, Any]] = [{"prefix": "x-envoy-"}]
    if clients:
        # Servers that pass headers in variables take `_` for `-`.
        names = (name.lower().replace("-", "[-_]") for name in FORWARDED_HEADERS)
        removed.append({"safe_regex": {"regex": "|".join(names)}})
    mutation = {
        "@type": f"{_TYPE}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        "mutations": [{"remove_on_match": {"key_matcher": matcher}} for matcher in removed],
    }
    return [{"name": "from-clients", "typed_config": mutation}]


def hidden(context: LaunchContext) -> list[dict[str, Any]]:
    """404 at the control paths of the tiers behind."""
    if not context.hidden_paths:
        return []
    match = {"safe_regex": {"regex": spellings(context.hidden_paths)}}
    return [{"match": match, "direct_response": {"status": 404}}]


_SESSIONS = {
    "name": "sessions",
    "typed_config": {"@type": f"{_TYPE}.filters.http.stateful_session.v3.StatefulSession"},
}
"""Does nothing where a route sets no cookie."""


def _session(affinity: AffinityRule) -> dict[str, Any]:
    """Affinity by cookie. The cookie names the instance, so all nodes agree whatever their lists hold at the moment.

    A hash of the cookie would move other sessions, too, with each new instance, and again between nodes that get the
    new list one after the other.
    """
    if affinity.by != "cookie":
        return {}
    state = {
        "@type": "type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
        "cookie": {"name": affinity.name, "path": "/"},
    }
    session = {"session_state": {"name": "envoy.http.stateful_session.cookie", "typed_config": state}}
    per_route = {
        "@type": f"{_TYPE}.filters.http.stateful_session.v3.StatefulSessionPerRoute",
        "stateful_session": session,
    }
    return {"typed_per_filter_config": {"sessions": per_route}}


def _hashed_by(affinity: AffinityRule) -> str | None:
    """The header that decides, by consistent hashing, where a request goes."""
    return {"header": affinity.name, "client-ip": "x-forwarded-for"}.get(affinity.by)


def _routes(settings: EnvoySettings, context: LaunchContext) -> Iterator[dict[str, Any]]:
    """The first that fits decides, so the longest path comes first."""
    behind = {inner.tier.name: inner.tier for inner in context.behind}
    for route in sorted(settings.routes, key=lambda route: -len(route.path)):
        yield from _route(route.path, behind[route.to] if route.to else context.behind[0].tier)


def _route(path: str, inner: Tier) -> Iterator[dict[str, Any]]:
    # timeout 0: the default of 15 s is for whole answers and would cut a slow one. Repeated once: any request that
    # never reached an instance (connect-failure), and a safe one whose connection broke before an answer.
    to: dict[str, Any] = {"cluster": inner.name, "timeout": "0s"}
    if header := _hashed_by(inner.affinity):
        to["hash_policy"] = [{"header": {"header_name": header}}]
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}}
    retry = {"num_retries": 1}
    yield {
        "match": {"prefix": path, "headers": [safe]},
        "route": {**to, "retry_policy": {**retry, "retry_on": "connect-failure,refused-stream,reset"}},
        **_session(inner.affinity),
    }
    yield {
        "match": {"prefix": path},
        "route": {**to, "retry_policy": {**retry, "retry_on": "connect-failure,refused-stream"}},
        **_session(inner.affinity),
    }


def cluster(settings: EnvoySettings, inner: InnerTier, nodes: int) -> dict[str, Any]:
    """`nodes`: how many Envoys check its endpoints."""
    health = inner.tier.health
    folder, _, _ = inner.membership.rpartition("/")
    return {
        "name": inner.tier.name,
        "type": "EDS",
        "connect_timeout": seconds(settings.connect_timeout),
        # Weighted round robin keeps to a canary's share; least-request would bend it by what is in flight. Of the two
        # hashes, the ring changes its size with its members, and moves 7 % more clients than it must (2 to 3 members).
        "lb_policy": "MAGLEV" if _hashed_by(inner.tier.affinity) else "ROUND_ROBIN",
        "common_lb_config": {
            # Below it Envoy sends to every endpoint; each of them was ready when it was admitted. Envoy's default, 50,
            # also sends to a dead instance beside a ready one.
            "healthy_panic_threshold": {"value": health.panic},
            # Otherwise its workers use new health and weights up to a second after `/clusters` shows them.
            "update_merge_window": "0s",
        },
        "circuit_breakers": {"thresholds": [_NO_BREAKER]},
        # A removed endpoint gets nothing new at once, and not only when its health check fails, too.
        "ignore_health_on_host_removal": True,
        "eds_cluster_config": {
            "eds_config": {
                "path_config_source": {"path": inner.membership, "watched_directory": {"path": folder}},
                "resource_api_version": "V3",
            }
        },
        "health_checks": [
            {
                "interval": seconds(health.pause(nodes)),
                # While a success or a failure is not the last one that `rise` or `fall` asks for.
                "healthy_edge_interval": seconds(health.quick),
                "unhealthy_edge_interval": seconds(health.quick),
                "unhealthy_interval": seconds(health.quick),
                # These hold until the cluster has its first connection.
                "no_traffic_interval": seconds(health.quick),
                "no_traffic_healthy_interval": seconds(health.pause(nodes)),
                "timeout": seconds(health.timeout),
                "healthy_threshold": health.rise,
                "unhealthy_threshold": health.fall,
                **_check(inner.traits.readiness_of(inner.tier)),
            }
        ],
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.upstreams.http.v3.HttpProtocolOptions",
                "common_http_protocol_options": {"idle_timeout": seconds(settings.upstream_idle_timeout)},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


def _check(readiness: Readiness) -> dict[str, Any]:
    if readiness.tcp:
        return {"tcp_health_check": {}}
    found: dict[str, Any] = {
        "path": readiness.path,
        "expected_statuses": [{"start": status, "end": status + 1} for status in readiness.status],
        "request_headers_to_add": [
            {"header": {"key": name, "value": value.replace("%", "%%")}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for name, value in readiness.request_headers.items()
            if name != "Host"  # by default the name of the cluster
        ],
    }
    if readiness.host is not None:
        found["host"] = readiness.host
    if readiness.body:
        found["receive"] = [{"text": readiness.body.encode().hex()}]
        found["response_buffer_size"] = BODY_READ
    return {"http_health_check": found}


def seconds(seconds: float) -> str:
    return f"{seconds:.3f}s"
