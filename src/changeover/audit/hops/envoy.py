"""Envoy as hops: each listener with its HTTP connection managers or TCP proxies, and the clusters they lead to.

Defaults are those of Envoy 1.36 (envoyproxy.io/docs, API v3). Refuses to guess what a discovery server sends.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from changeover.audit.assumptions import Assumptions
from changeover.audit.setting import Setting, shorter, unknown
from changeover.audit.view import Address, Hop, Target
from changeover.conf.document import Document
from changeover.conf.envoy import EnvoyFile, seconds
from changeover.conf.place import Place
from changeover.conf.tree import Map, Node

_HOUR = 3600.0
_NO_LIMIT = float("inf")
_HTTP = "http_connection_manager.v3.HttpConnectionManager"
_TCP = "tcp_proxy.v3.TcpProxy"
_POOL = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_REPEATS = {"5xx", "gateway-error", "reset", "http3-post-connect-failure", "reset-before-request"}


@dataclass(frozen=True)
class Envoy(Hop):
    """`whole`: limits of a whole request; `stalls`: of a pause in it; `buffered`: of the bytes of its body."""

    http: bool
    whole: tuple[Setting[float], ...]
    stalls: tuple[Setting[float], ...]
    buffered: tuple[Setting[float], ...]
    repeats: bool

    @property
    def sees_requests(self) -> bool:
        return self.http

    @property
    def repeats_gets(self) -> bool:
        return self.repeats


@dataclass(frozen=True)
class _Action:
    """Where a route sends requests; `retries` is the policy that applies, its own or that of its virtual host."""

    body: Map
    retries: Node | None

    @property
    def repeats(self) -> bool:
        """Whether a GET whose connection breaks is sent again."""
        given = (self.retries.text("retry_on") if self.retries is not None else None) or ""
        return bool(_REPEATS & {word.strip() for word in given.split(",")})


@dataclass(frozen=True)
class _Files:
    """Everything that the given files of Envoy define, by name."""

    clusters: Mapping[str, Map]
    endpoints: Mapping[str, Map]
    routes: Mapping[str, Map]


def hops(documents: Sequence[Document], asked: Assumptions) -> Iterator[Hop]:
    """A hop for each listener, wherever it is defined."""
    files = [one for one in documents if isinstance(one, EnvoyFile)]

    def named(kind: str, key: str = "name") -> dict[str, Map]:
        return {one.text(key) or "": one for file in files for one in file.resources.get(kind, ())}

    known = _Files(named("clusters"), named("endpoints", "cluster_name"), named("routes"))
    for file in files:
        for listener in file.resources.get("listeners", ()):
            yield _hop(listener, known, asked)
        if file.asks is not None and not (file.from_file and any(one.resources.get("listeners") for one in files)):
            yield _undisclosed(file.asks, from_file=file.from_file)


def _undisclosed(place: Place, *, from_file: bool) -> Envoy:
    """The listeners that a discovery server sends, or that stand in a file that is not given."""
    lacking: Setting[float]
    if from_file:
        lacking = unknown(place, "a file of discovery has the listeners", "the file that lds_config names")
    else:
        lacking = unknown(place, "a discovery server sends the listeners", "its answer, as files of discovery")
    buffers = Setting(False, place, lacking.text)
    name = f"Envoy listeners of a {'file of discovery' if from_file else 'discovery server'}"
    return Envoy(name, "envoy", place, (), (), lacking, buffers, True, (), (lacking,), (), False)


def _hop(listener: Map, known: _Files, asked: Assumptions) -> Envoy:
    filters = [
        one.get("typed_config")
        for chain in (*listener.maps("filter_chains"), *listener.maps("default_filter_chain"))
        for one in chain.maps("filters")
    ]
    configs = [one for one in filters if isinstance(one, Map)]
    managers = [one for one in configs if (one.text("@type") or "").endswith(_HTTP)]
    proxies = [one for one in configs if (one.text("@type") or "").endswith(_TCP)]
    routes = [found for one in managers if (found := _routes(one, known)) is not None]
    actions = [one for each in routes for one in _actions(each)]
    bodies = [one.body for one in actions]
    buffers = [
        (one.get("typed_config") or one).get("max_request_bytes")
        for manager in managers
        for one in manager.maps("http_filters")
        if (one.text("typed_config", "@type") or "").endswith("filters.http.buffer.v3.Buffer")
    ]
    limits = tuple(_size(one) for one in buffers if one is not None)
    name = listener.text("name") or ", ".join(map(str, _listens(listener))) or f"line {listener.place.line}"
    return Envoy(
        f"Envoy listener {name}",
        "envoy",
        listener.place,
        tuple(_listens(listener)),
        tuple(_targets(managers, proxies, bodies, known)),
        _idle(listener, managers, proxies),
        _buffers(listener, managers, limits, asked),
        bool(managers),
        tuple(_whole(managers, bodies)),
        tuple(_stalls(managers, bodies)),
        limits,
        bool(actions) and all(one.repeats for one in actions),
    )


def _listens(listener: Map) -> Iterator[Address]:
    more = [one.get("address") for one in listener.maps("additional_addresses")]
    for one in (listener.get("address"), *more):
        if one is not None and (found := _address(one)) is not None:
            yield found


def _address(node: Node) -> Address | None:
    if (path := node.text("pipe", "path")) is not None:
        return Address(f"unix:{path}", None)
    host, port = node.text("socket_address", "address"), node.number("socket_address", "port_value")
    return Address(host, int(port)) if host is not None and port is not None else None


def _routes(manager: Map, known: _Files) -> Map | None:
    own = manager.get("route_config")
    found = own if own is not None else known.routes.get(manager.text("rds", "route_config_name") or "")
    return found if isinstance(found, Map) else None


def _actions(routes: Map) -> Iterator[_Action]:
    for host in routes.maps("virtual_hosts"):
        for one in host.maps("routes"):
            if isinstance(action := one.get("route"), Map):
                own = action.get("retry_policy")
                yield _Action(action, own if own is not None else host.get("retry_policy"))


def _targets(
    managers: Sequence[Map], proxies: Sequence[Map], actions: Sequence[Map], known: _Files
) -> Iterator[Target]:
    users: dict[tuple[str, bool], list[Map]] = {}
    for one, http in (*((one, True) for one in actions), *((one, False) for one in proxies)):
        names = [one.text("cluster"), *(each.text("name") for each in one.maps("weighted_clusters", "clusters"))]
        for name in filter(None, names):
            users.setdefault((name, http), []).append(one)
        if not any(names):
            yield _unnamed(one, "which cluster it is: a header of the request names it")
    for (name, http), actions_there in users.items():
        yield _target(name, known, http, actions_there)
    for manager in managers:
        if _routes(manager, known) is None:
            yield _unnamed(manager, "its routes: the file that holds them, or the output of a discovery server")


def _unnamed(node: Map, missing: str) -> Target:
    return Target("its clusters", (), node.place, unknown(node.place, "no cluster is named", missing), _endless(node))


def _endless(node: Node) -> Setting[float]:
    return Setting(_NO_LIMIT, node.place, "max_connection_duration is not set, so no connection ends by its age")


def _target(name: str, known: _Files, http: bool, users: Sequence[Map]) -> Target:
    user = users[0]
    cluster = known.clusters.get(name)
    if cluster is None:
        missing = f"the definition of cluster {name}"
        return Target(
            f"cluster {name}",
            (),
            user.place,
            unknown(user.place, f"cluster {name} is in no given file", missing),
            _endless(user),
        )
    service = cluster.text("eds_cluster_config", "service_name") or name
    assignment = cluster.get("load_assignment") or known.endpoints.get(service)
    members = [
        member
        for locality in (assignment.maps("endpoints") if assignment is not None else ())
        for one in locality.maps("lb_endpoints")
        if (member := one.get("endpoint", "address")) is not None
    ]
    addresses = tuple(found for one in members if (found := _address(one)) is not None)
    common = cluster.get("typed_extension_protocol_options", _POOL, "common_http_protocol_options")
    options = common if common is not None else cluster.get("common_http_protocol_options")
    pool = _pool(cluster, options) if http else Setting(0.0, cluster.place, "a TCP proxy keeps no pool")
    lifetime = _time(options, "max_connection_duration", None, cluster)
    waits: Setting[float] | None = None
    for one in users if http else ():
        waits = shorter(waits, _time(one, "timeout", 15.0, one, "15 s"))
    return Target(f"cluster {name}", addresses, cluster.place, pool, lifetime, waits)


def _pool(cluster: Map, options: Node | None) -> Setting[float]:
    for owner in (options, cluster):
        if isinstance(owner, Map) and owner.number("max_requests_per_connection") == 1:
            return Setting(0.0, owner.keys["max_requests_per_connection"], "max_requests_per_connection: 1")
    return _time(options, "idle_timeout", _HOUR, cluster, "1 h in the pool of a cluster")


def _time(owner: Node | None, key: str, default: float | None, around: Node, shown: str = "") -> Setting[float]:
    """A duration; 0 is no limit, and so is an absent one whose `default` is None."""
    found = owner.get(key) if owner is not None else None
    if found is None or not isinstance(owner, Map):
        what = shown or "without a limit"
        return Setting(_NO_LIMIT if default is None else default, around.place, f"{key} is not set, so it is {what}")
    text = owner.text(key) or ""
    value = seconds(text)
    if value is None:
        return unknown(owner.keys[key], f"{key}: {text}", f"the value of {key} as a duration, such as 30s")
    return Setting(value or _NO_LIMIT, owner.keys[key], f"{key}: {text}")


def _idle(listener: Map, managers: Sequence[Map], proxies: Sequence[Map]) -> Setting[float]:
    """The shortest of the listener's filters: any of them may serve the connection."""
    found = []
    for one in managers:
        common = one.get("common_http_protocol_options")
        owner: Node | None = common if common is not None and common.get("idle_timeout") is not None else one
        found.append(_time(owner, "idle_timeout", _HOUR, one, "1 h"))
    found += [_time(one, "idle_timeout", _HOUR, one, "1 h") for one in proxies]
    if not found:
        return unknown(listener.place, "no filter of it is an HTTP connection manager or a TCP proxy", "what it does")
    unread = [one for one in found if one.value is None]
    return unread[0] if unread else min(found, key=lambda one: one.value or 0.0)


def _whole(managers: Sequence[Map], actions: Sequence[Map]) -> Iterator[Setting[float]]:
    for one in managers:
        yield _time(one, "request_timeout", None, one)
        common = one.get("common_http_protocol_options")
        if common is not None and common.get("max_stream_duration") is not None:
            yield _time(common, "max_stream_duration", None, one)
    for one in actions:
        owner = one.get("max_stream_duration")
        if owner is not None and owner.get("max_stream_duration") is not None:
            yield _time(owner, "max_stream_duration", None, one)


def _stalls(managers: Sequence[Map], actions: Sequence[Map]) -> Iterator[Setting[float]]:
    for one in managers:
        yield _time(one, "stream_idle_timeout", 300.0, one, "300 s")
    for one in actions:
        if one.get("idle_timeout") is not None:
            yield _time(one, "idle_timeout", None, one)


def _size(node: Node) -> Setting[float]:
    value = node.number()
    text = f"max_request_bytes: {node.text()}"
    return Setting(value, node.place, text) if value else unknown(node.place, text, "max_request_bytes as a number")


def _buffers(
    listener: Map, managers: Sequence[Map], limits: Sequence[Setting[float]], asked: Assumptions
) -> Setting[bool]:
    if managers and len(limits) == len(managers) and all((one.value or 0) >= asked.upload for one in limits):
        return Setting(True, limits[0].place, "the buffer filter takes a request in whole")
    return Setting(False, listener.place, "Envoy forwards an upload as it arrives, without the buffer filter")
