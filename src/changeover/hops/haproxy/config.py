"""HAProxy's configuration for an instance, as text. Pure: settings and a launch context in, text out.

It sends everything to the stable address of each tier behind, as nginx does. To balance over the members itself, every
node of the tier would have to learn of each change, and a new node of all of them before its first request. The load
balancer at that address learns of a change once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from changeover.hops.accepted import short_stop
from changeover.hops.haproxy.questions import READY, READY_PATH, SOCKET
from changeover.hops.haproxy.settings import HaproxyHttpSettings, HaproxyTcpSettings
from changeover.model.control_paths import spellings
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.ports import CannotStart, InnerTier, LaunchContext

DRAINS = f"nbsrv({READY}) eq 0"
CLOSES = f"http-after-response set-header Connection close if {{ {DRAINS} }}"
"""HAProxy then closes the connection. It does not do so with HTTP/2, where only its stop sends GOAWAY."""
MOST = 8192
"""Connections at once, unless a template says otherwise."""
_OTHER_FILES = 128
"""Files that it has open beside two for each connection: HAProxy does not start if it cannot have them all."""


def http_config(settings: HaproxyHttpSettings, context: LaunchContext, descriptors: int) -> str:
    """The L7 tier. `descriptors`: the files that a process may open."""
    _address(context)
    return f"""{_global(settings, context, descriptors)}
defaults
    mode http
    timeout connect {_time(settings.connect_timeout)}
    timeout client {_time(settings.client_timeout)}
    timeout server {_time(settings.response_timeout)}
    timeout tunnel {_time(settings.response_timeout)}
    timeout http-request {_time(settings.client_timeout)}
    timeout http-keep-alive {_time(settings.keepalive_timeout)}

frontend in
    bind {_bind(settings, context)}
{_lines(_rules(settings, context))}
{"".join(_backend(inner) for inner in context.behind)}
{control(context)}"""


def tcp_config(settings: HaproxyTcpSettings, context: LaunchContext, descriptors: int) -> str:
    """The L4 tier: bytes in, bytes out."""
    return f"""{_global(settings, context, descriptors)}
listen in
    mode tcp
    bind {context.instance.address}
    timeout connect {_time(settings.connect_timeout)}
    timeout client {_time(settings.proxy_timeout)}
    timeout server {_time(settings.proxy_timeout)}
    option tcpka
    server inner {_address(context)}

{control(context)}"""


def control(context: LaunchContext) -> str:
    """Readiness for load balancers and changeover, and what it depends on. It takes no defaults from other sections."""
    return f"""defaults
    mode http
    timeout client 10s
    timeout connect 2s
    timeout server 10s

frontend changeover.control
    bind {context.instance.control}
    monitor-uri {READY_PATH}
    monitor fail if {{ {DRAINS} }}
    http-request return status 404

backend {READY}
    server up 127.0.0.1:9
"""


def stats_socket() -> str:
    return f"stats socket unix@{SOCKET} mode 600 level admin"


def hard_stop(context: LaunchContext) -> str:
    """What is left at the deadline of a drain is cut then, or waits for its own end: `policy`."""
    return f"hard-stop-after {_time(context.tier.drain.deadline)}{short_stop(context.tier, 'HAP01')}"


def hidden(context: LaunchContext, routed: Iterable[str] = ()) -> Iterator[str]:
    """404 at the control paths of the tiers behind, apart from those that are a route of their own."""
    paths = [path for path in context.hidden_paths if path not in routed]
    if paths:
        yield f"http-request return status 404 if {{ path -m reg {quoted(f'^(?:{spellings(paths)})$')} }}"


def quoted(text: str) -> str:
    """One word, in which HAProxy expands nothing."""
    return "'" + text.replace("'", "'\\''") + "'"


def _global(settings: HaproxyHttpSettings | HaproxyTcpSettings, context: LaunchContext, descriptors: int) -> str:
    possible = max(1, (descriptors - _OTHER_FILES) // 2)
    if settings.maxconn is not None and settings.maxconn > possible:
        needed = 2 * settings.maxconn + _OTHER_FILES
        raise CannotStart(
            f"maxconn: {settings.maxconn} needs {needed} open files, and a process may open {descriptors} here. Lower "
            "it, or raise the hard limit: /etc/security/limits.conf or LimitNOFILE= set it"
        )
    most = settings.maxconn or min(MOST, possible)
    return f"""global
    {stats_socket()}
    {hard_stop(context)}
    maxconn {most}
    nbthread {settings.threads}
"""


def _address(context: LaunchContext) -> str:
    if context.inner is None or context.inner.address is None:
        raise ValueError(f"{context.tier.name}: a tier of kind {context.tier.kind} needs a tier behind it")
    return str(context.inner.address)


def _bind(settings: HaproxyHttpSettings, context: LaunchContext) -> str:
    words = [str(context.instance.address)]
    if context.outermost and settings.tls is not False:
        certificate = f"{context.tls}/edge.pem" if settings.tls is None else settings.tls.certificate
        words += ["ssl", "crt", quoted(certificate), "ssl-min-ver TLSv1.2", "alpn http/1.1"]
    return " ".join([*words, *(["accept-proxy"] if context.instance.proxied else [])])


def _rules(settings: HaproxyHttpSettings, context: LaunchContext) -> Iterator[str]:
    routes = sorted(settings.routes, key=lambda route: -len(route.path))
    yield from hidden(context, {route.path for route in routes})
    yield from _forwarded(context)
    # HTTP/1.0 knows no Host, and servers behind need one. WebSocket alone is passed on: `Upgrade: h2c` would lead past
    # the routes.
    yield f"http-request set-header Host {context.instance.address} unless {{ req.hdr(Host) -m found }}"
    yield "http-request del-header Upgrade unless { req.hdr(Upgrade) -i websocket }"
    yield CLOSES
    for name, value in settings.headers.items():
        yield f"http-after-response add-header {name} {quoted(value.replace('%', '%%'))}"
    for route in routes:
        backend = f"to.{route.to or context.behind[0].tier.name}"
        if route.path == "/":
            yield f"default_backend {backend}"
        else:
            yield f"use_backend {backend} if {{ path -m beg {quoted(route.path)} }}"
    if all(route.path != "/" for route in routes):
        paths = " ".join(quoted(route.path) for route in routes)
        yield f"http-request return status 404 unless {{ path -m beg {paths} }}"


def _forwarded(context: LaunchContext) -> Iterator[str]:
    """The headers that name the client to the tiers behind. At the first tier, those of other peers are removed."""
    if context.trusted_peers is not None:
        # Servers that pass headers in variables take `_` for `-`.
        names = "|".join(name.lower().replace("-", "[-_]") for name in FORWARDED_HEADERS)
        trusted = f" unless {{ src {' '.join(context.trusted_peers)} }}" if context.trusted_peers else ""
        yield f"http-request del-header {quoted(f'^(?:{names})$')} -m reg{trusted}"
    # To the end of the list; as a second header where it came in several.
    one = "{ req.fhdr_cnt(X-Forwarded-For) eq 1 }"
    yield f'http-request set-header X-Forwarded-For "%[req.fhdr(X-Forwarded-For)], %[src]" if {one}'
    yield f"http-request add-header X-Forwarded-For %[src] unless {one}"
    scheme = "%[ssl_fc,iif(https,http)]"
    yield f"http-request set-header X-Forwarded-Proto {scheme} unless {{ req.hdr(X-Forwarded-Proto) -m found }}"


def _backend(inner: InnerTier) -> str:
    # No connection inward is used twice: HAProxy knows no longest age of one, and the drain of an L4 tier behind would
    # wait for it. A safe request whose connection broke before its response is sent again; no other one is.
    return f"""
backend to.{inner.tier.name}
    option http-server-close
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    server inner {inner.address}
"""


def _lines(rules: Iterable[str]) -> str:
    return "".join(f"    {rule}\n" for rule in rules)


def _time(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
