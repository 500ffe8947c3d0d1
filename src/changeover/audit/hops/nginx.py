"""nginx as hops: every proxied route of an `http` or `stream` block, and the pools that it keeps inward."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from changeover.audit.assumptions import Assumptions
from changeover.audit.hops.nginx_scope import Scope
from changeover.audit.images import nginx_version
from changeover.audit.setting import Setting, shorter, unknown
from changeover.audit.view import Address, Hop, Target
from changeover.conf.document import Document
from changeover.conf.nginx import values
from changeover.conf.nginx.assemble import assemble
from changeover.conf.nginx.grammar import Directive
from changeover.conf.nginx.reader import NginxFile, place

_PASS = re.compile(r"(proxy|grpc|fastcgi|uwsgi|scgi)_pass")
_URL = re.compile(
    r"(?:(?P<scheme>https?|grpcs?)://)?+"
    r"(?:(?P<socket>unix:[^:]+)(?::.*)?|(?P<host>\[[^\]]+\]|[^:/$?\[\]]+)(?::(?P<port>\d+))?(?:[/?].*)?)",
    re.DOTALL,
)
_RUNNING_PATH = re.compile(r"\$\{?(?:request_uri|uri)\b.*", re.DOTALL)
"""What follows an address as the path: nginx fills it in for each request, and the address stays."""
_BLOCKS = ("server", "location", "if", "limit_except")
_PLACEHOLDER = "CHANGEOVER_"
"""Words of a configuration in a chain file that are filled in for each instance."""
POOLS_BY_DEFAULT = (1, 29, 7)
"""From this version on, `keepalive 32 local` and `proxy_http_version 1.1` are defaults (nginx CHANGES, 1.29.7)."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """`servers` are those that get requests; an upstream of one is also what a `proxy_pass` without one names."""

    scope: Scope
    name: str
    servers: tuple[Directive, ...]
    explicit: bool

    @property
    def addresses(self) -> tuple[Address, ...]:
        return tuple(found for one in self.servers if (found := address(one.values[0])) is not None)


@dataclass(frozen=True)
class Route:
    """A block that passes requests on. `upstream` is None where a variable names it."""

    scope: Scope
    passed: Directive
    module: str
    upstream: Upstream | None

    @cached_property
    def name(self) -> str:
        server = next((block for block in self.scope.blocks if block.name == "server"), None)
        names = [v for one in (server.block or ()) if one.name == "server_name" for v in one.values] if server else []
        at = self.scope.name if self.scope.blocks[-1] is not server else "server"
        return f"{at} of {names[0]}" if names else at


@dataclass(frozen=True)
class Nginx(Hop):
    """`main` is the main context, `block` its http or stream."""

    main: Scope
    block: Scope
    version: tuple[int, ...] | None
    routes: tuple[Route, ...]

    @property
    def upstreams(self) -> list[Upstream]:
        """Each once."""
        return list({up.name: up for route in self.routes if (up := route.upstream) is not None}.values())


class NginxHttp(Nginx):
    """Speaks HTTP with its clients."""

    @property
    def unseen(self) -> Setting[bool] | None:
        """Whether it passes requests on, where the given files have no route and an include that may hold them."""
        include = None if self.routes else self.block.hidden()
        if include is None:
            return None
        missing = f"the file that `{include}` in {place(include)} names: it may pass requests on"
        return unknown(self.block.place, "no route is in the given files", missing)


class NginxStream(Nginx):
    """Forwards TCP."""

    @property
    def sees_requests(self) -> bool:
        return False


def hops(documents: Sequence[Document], asked: Assumptions) -> Iterator[Hop]:
    """A hop for each http and stream block that passes requests on or listens."""
    files = {one.path: one for one in documents if isinstance(one, NginxFile)}
    if not files:
        return
    image = nginx_version(documents)
    for conf in assemble(files):
        version = values.version(asked.nginx or "") or conf.version or image
        main = Scope(conf, ())
        for block in main.inner("http"):
            yield _http(main, block, version)
        for block in main.inner("stream"):
            yield _stream(main, block, version)


def _inward(routes: Sequence[Route], listens: Sequence[Address]) -> list[Route]:
    """Routes that lead out of this nginx: a site that it passes to a socket of its own is no hop behind it."""
    own = set(listens)
    return [one for one in routes if one.upstream is None or not set(one.upstream.addresses) & own]


def _http(main: Scope, block: Scope, version: tuple[int, ...] | None) -> NginxHttp:
    listens = tuple(_listens(block, 80))
    every = tuple(_routes(block, _upstreams(block)))
    routes = tuple(_inward(every, listens))
    return NginxHttp(
        f"nginx of {main.conf.file}",
        "nginx",
        block.place,
        listens,
        tuple(_targets(routes, version)),
        _server_of(block).setting("keepalive_timeout", values.seconds, 75.0, "75s"),
        _buffers(routes, block),
        main,
        block,
        version,
        routes,
    )


def _stream(main: Scope, block: Scope, version: tuple[int, ...] | None) -> NginxStream:
    routes = tuple(_routes(block, _upstreams(block)))
    idle = (routes[0].scope if routes else block).setting("proxy_timeout", values.seconds, 600.0, "10m")
    no_pool = Setting(0.0, block.place, "a TCP proxy keeps no pool")
    targets = tuple(
        Target(f"upstream {up.name}", up.addresses, up.scope.place, no_pool, no_pool) for up in _each(routes)
    )
    buffers = Setting(False, block.place, "a TCP proxy forwards bytes as they arrive")
    return NginxStream(
        f"nginx stream of {main.conf.file}",
        "nginx",
        block.place,
        tuple(_listens(block, None)),
        targets,
        idle,
        buffers,
        main,
        block,
        version,
        routes,
    )


def _server_of(block: Scope) -> Scope:
    """The first server of a block, as the one that clients reach."""
    return next(block.inner("server"), block)


def _upstreams(block: Scope) -> dict[str, Upstream]:
    found: dict[str, Upstream] = {}
    for scope in block.inner("upstream"):
        name = scope.blocks[-1].values[0] if scope.blocks[-1].values else ""
        servers = [one for one in scope.own("server") if one.values and "down" not in one.values]
        if any(one.name.startswith("balancer_by_lua") for one in scope.blocks[-1].block or ()):
            servers = []  # Lua names them, and the one in the file is a placeholder
        found[name] = Upstream(scope, name, tuple(servers), explicit=True)
    return found


def _routes(block: Scope, upstreams: Mapping[str, Upstream]) -> Iterator[Route]:
    inner = block.blocks[-1].block or ()
    for one in inner:
        if (found := _PASS.fullmatch(one.name)) and one.values and block.blocks[-1].name in _BLOCKS:
            yield Route(block, one, found[1], _upstream(block, one, upstreams))
        elif one.name in _BLOCKS and one.block is not None:
            yield from _routes(Scope(block.conf, (*block.blocks, one)), upstreams)


def _upstream(scope: Scope, passed: Directive, upstreams: Mapping[str, Upstream]) -> Upstream | None:
    url = passed.values[0]
    host = _RUNNING_PATH.sub("", re.sub(r"^[a-z]+://", "", url)).partition("/")[0]
    if host in upstreams:
        return upstreams[host]
    found = address(url)
    if found is None:
        return None
    word = replace(passed.words[1], text=str(found))
    return Upstream(scope, str(found), (replace(passed, words=(passed.words[0], word)),), explicit=False)


def address(text: str) -> Address | None:
    """Of `http://host:port/path`, `host:port` or `unix:/path`; None where a variable or a placeholder stands in it."""
    found = _URL.fullmatch(_RUNNING_PATH.sub("", text))
    where = (found["socket"] or found["host"]) if found is not None else None
    if found is None or where is None or "$" in where or where.startswith(_PLACEHOLDER):
        return None
    if found["socket"]:
        return Address(where, None)
    return Address(where, int(found["port"] or {"https": "443", "grpcs": "443"}.get(found["scheme"] or "", "80")))


def _listens(block: Scope, default: int | None) -> Iterator[Address]:
    for server in block.inner("server"):
        for one in server.own("listen"):
            text = one.values[0] if one.values else ""
            if text.isdigit():
                yield Address("*", int(text))
            elif (found := address(text)) is not None:
                yield found
        if not server.own("listen") and default is not None:
            yield Address("*", default)


def _each(routes: Sequence[Route]) -> list[Upstream]:
    return list({route.upstream.name: route.upstream for route in routes if route.upstream is not None}.values())


def _targets(routes: Sequence[Route], version: tuple[int, ...] | None) -> Iterator[Target]:
    first: dict[str, tuple[Route, Upstream]] = {}
    waits: dict[str, Setting[float]] = {}
    for one in routes:
        if one.upstream is not None:
            name = one.upstream.name
            first.setdefault(name, (one, one.upstream))
            own = one.scope.setting(f"{one.module}_read_timeout", values.seconds, 60.0, "60s")
            waits[name] = shorter(waits.get(name), own)
    for route, upstream in first.values():
        pools = pooled(route, version)
        if pools.value is False:
            idle = life = Setting(0.0, pools.place, pools.text)
        elif pools.value is None:
            idle = life = unknown(pools.place, pools.text, pools.missing)
        else:
            where = upstream.scope if upstream.explicit else Scope(upstream.scope.conf, ())
            idle = where.setting("keepalive_timeout", values.seconds, 60.0, "60s")
            life = where.setting("keepalive_time", values.seconds, 3600.0, "1h")
            if upstream.explicit:  # of `http` it is the setting towards clients: nothing is inherited
                idle = _own(upstream.scope, "keepalive_timeout", 60.0, "60s")
                life = _own(upstream.scope, "keepalive_time", 3600.0, "1h")
            else:
                idle = Setting(60.0, upstream.scope.place, "keepalive_timeout of the implicit upstream is 60s")
                life = Setting(3600.0, upstream.scope.place, "keepalive_time of the implicit upstream is 1h")
        where_to = upstream.addresses
        yield Target(f"upstream {upstream.name}", where_to, upstream.scope.place, idle, life, waits[upstream.name])


def _own(scope: Scope, name: str, default: float, shown: str) -> Setting[float]:
    if scope.own(name):
        return scope.setting(name, values.seconds, default, shown)
    return Setting(default, scope.place, f"{name} of the upstream is not set, so it is {shown}")


def pooled(route: Route, version: tuple[int, ...] | None) -> Setting[bool]:
    """Whether connections inward are kept for later requests."""
    if route.module not in {"proxy", "grpc"} or route.upstream is None:
        return Setting(False, route.scope.place, f"{route.module}_pass keeps no connections")
    own = route.upstream.scope.own("keepalive") if route.upstream.explicit else []
    if own and own[-1].values:
        on = own[-1].values[0] != "0"
        http = route.scope.setting("proxy_http_version", str, "", "1.0 before 1.29.7")
        if on and http.value == "" and version is not None and version < POOLS_BY_DEFAULT:
            return Setting(False, http.place, f"{http.text}: HTTP/1.0 keeps no connections")
        old = version is not None and version < POOLS_BY_DEFAULT
        if on and old and route.module == "proxy" and (closing := _closes(route.scope)) is not None:
            return closing
        return Setting(on and http.value != "1.0", place(own[-1]), str(own[-1]))
    text = "keepalive of the upstream is not set"
    if version is None:
        missing = (
            "the version of nginx (`--assume nginx=VERSION`): from 1.29.7 on, upstreams keep connections by default"
        )
        return unknown(route.upstream.scope.place, text, missing)
    on = version >= POOLS_BY_DEFAULT
    return Setting(on, route.upstream.scope.place, f"{text}, so it is {'32 local' if on else 'off'}")


def _closes(scope: Scope) -> Setting[bool] | None:
    """Why the server closes each connection after its response: before 1.29.7 nginx sends it `Connection: close`.

    A block inherits `proxy_set_header` only if it has none of its own (ngx_http_proxy_module, proxy_set_header).
    """
    for depth in range(len(scope.blocks), -1, -1):
        if headers := Scope(scope.conf, scope.blocks[:depth]).own("proxy_set_header"):
            given = [one for one in headers if one.values[:1] and one.values[0].lower() == "connection"]
            if given and given[-1].values[-1].lower() != "close":
                return None
            where = place((given or headers)[-1])
            return Setting(
                False, where, f"{given[-1] if given else 'no proxy_set_header Connection here'}: it is close"
            )
    if scope.hidden() is not None:
        return None
    return Setting(False, scope.belongs, "proxy_set_header Connection is not set, so it is close")


def buffering(route: Route) -> Setting[bool]:
    """Whether nginx takes a body in whole before it sends it inward."""
    if route.module == "grpc":
        return Setting(False, route.scope.place, "grpc_pass forwards bodies as they arrive")
    return route.scope.setting(f"{route.module}_request_buffering", _on, True, "on")


def _on(text: str) -> bool | None:
    return {"on": True, "off": False}.get(text)


def _buffers(routes: Sequence[Route], block: Scope) -> Setting[bool]:
    """An upload is buffered only if every route buffers; the one that does not is named."""
    found = [buffering(route) for route in routes]
    worst = sorted(found, key=lambda one: {False: 0, None: 1, True: 2}[one.value])
    return worst[0] if worst else Setting(True, block.place, "nothing is passed on")
