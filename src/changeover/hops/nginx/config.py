"""nginx configuration for an instance, as text. Pure: settings and a launch context in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os.path import relpath
from types import MappingProxyType

from changeover.hops.accepted import accepts, short_stop
from changeover.hops.nginx.binary import NginxBinary
from changeover.hops.nginx.certificate import MAP, VARIABLE
from changeover.hops.nginx.settings import HttpSettings, Route, StreamSettings
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.model.units import human_bytes
from changeover.ports import CannotStart, LaunchContext

HEAD_BUFFER = "32k"
"""Of a request or a response, for its head. nginx's default is a page of 4 KiB, which one large cookie fills."""

SNIPPETS = "snippets"
"""The folder of raw nginx text from a template; each file has the name of its key."""

_HOST = "$changeover_host"
"""HTTP/1.0 knows no Host, and HTTP/1.1 inward needs one: the address of the listener."""
_UPGRADE, _CONNECTION = "$changeover_upgrade", "$changeover_connection"
_DOLLAR = "$changeover_dollar"
"""A variable that holds a dollar sign: nginx has no other way to write one where it expands variables."""


_STREAMED = "proxy_request_buffering off;" + accepts("NGX09", "`buffering: stream`: the tiers behind drain as long")
MOST_CONNECTIONS = 16_384
"""Of a worker, unless the template says otherwise: two for each that the load balancer passes. Each takes memory."""
_OTHER_FILES = 128
"""Files that a worker has open beside those of its connections: logs, listeners, the binary and its modules."""


def http_conf(
    settings: HttpSettings, context: LaunchContext, binary: NginxBinary, *, as_root: bool, descriptors: int
) -> str:
    """The L7 tier: TLS where it is the edge, routes, a pool of bounded connections to the tier behind.

    `descriptors`: the files that a process may open.
    """
    if context.inner is None or context.inner.address is None:
        raise ValueError(f"{context.tier.name}: an nginx tier needs a tier behind it")
    return f"""{_main(settings, context, as_root, descriptors)}
http {{
{_shared_http()}
    keepalive_timeout {_time(settings.keepalive_timeout)};
    keepalive_time {_time(settings.keepalive_time)};
    keepalive_requests 100000;
    client_max_body_size {int(settings.client_max_body_size)};
    client_body_timeout {_time(settings.client_body_timeout)};
    large_client_header_buffers 4 {HEAD_BUFFER};
    client_body_buffer_size 1m;  # the default of 16k costs five times the CPU per byte of a large upload

{"".join(upstream(settings, str(inner.address), _name(context, inner.tier.name)) for inner in context.behind)}
{proxy_maps(context)}{_zones(settings)}{_certificate_map(settings, context)}    server {{
{_listen(settings, context, binary)}
{_lines(f"add_header {name} {_quote(value)} always;" for name, value in settings.headers.items())}
{proxy_headers(context)}
        # A response goes on as it comes: otherwise events wait for a full buffer, and what a slow client has not taken
        # yet goes to the disk, whose space nothing bounds. The buffer must hold the whole head of a response.
        proxy_buffering off;
        proxy_max_temp_file_size 0;  # an application can turn buffering on, with X-Accel-Buffering
        proxy_buffer_size {HEAD_BUFFER};
        proxy_buffers 8 {HEAD_BUFFER};
        proxy_connect_timeout {_time(settings.connect_timeout)};
        proxy_read_timeout {_time(settings.response_timeout)};
        proxy_send_timeout {_time(settings.response_timeout)};
        # A request that was not sent yet may go to the other entry; a sent one is repeated only if its method is
        # idempotent: nginx never repeats POST, PATCH and LOCK.
        proxy_next_upstream error timeout;
        proxy_next_upstream_tries 2;
{_hidden(settings, context)}{_locations(settings, context)}{_snippet(settings, "server")}    }}

{control(context)}
{_snippet(settings, "snippet")}}}
"""


def stream_conf(
    settings: StreamSettings, context: LaunchContext, binary: NginxBinary, *, as_root: bool, descriptors: int
) -> str:
    """The L4 tier: bytes in, bytes out. Its http block holds nothing but the control server."""
    if context.inner is None or context.inner.address is None:
        raise ValueError(f"{context.tier.name}: an nginx-stream tier needs a tier behind it")
    load = f"load_module {binary.stream_module};\n" if binary.stream_module else ""
    return f"""{load}{_main(settings, context, as_root, descriptors)}
stream {{
    server {{
        listen {context.instance.address} backlog=2048;
        proxy_pass {context.inner.address};
        proxy_connect_timeout {_time(settings.connect_timeout)};
        proxy_timeout {_time(settings.proxy_timeout)};
        proxy_socket_keepalive on;
        tcp_nodelay on;
    }}
{_snippet(settings, "snippet")}}}

http {{
{_shared_http()}
{control(context)}
}}
"""


def most_connections(settings: HttpSettings | StreamSettings, descriptors: int) -> int:
    """Connections of a worker. A body may be in a file of its own, so each connection may need two files.

    Raises CannotStart where the template asks for more than there can be.
    """
    given = settings.worker_connections
    if given is not None and given + _OTHER_FILES > descriptors:
        raise CannotStart(
            f"worker_connections: {given} need {given + _OTHER_FILES} open files, and a process may open {descriptors} "
            "here. Lower it, or raise the hard limit: /etc/security/limits.conf or LimitNOFILE= set it"
        )
    return given or max(16, min(MOST_CONNECTIONS, (descriptors - _OTHER_FILES) // 2))


def _main(settings: HttpSettings | StreamSettings, context: LaunchContext, as_root: bool, descriptors: int) -> str:
    connections = most_connections(settings, descriptors)
    files = min(descriptors, 2 * connections + _OTHER_FILES)
    user = f"user {settings.user or 'root'};\n" if as_root else ""
    return f"""{user}daemon off;
worker_processes {settings.worker_processes};
{shutdown(context)}
pid nginx.pid;
error_log stderr warn;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
"""


def shutdown(context: LaunchContext) -> str:
    """What is left at the deadline of a drain is cut then, or waits for its own end: `policy`."""
    rule = "STR01" if context.tier.kind == "nginx-stream" else "NGX03"
    return f"worker_shutdown_timeout {_time(context.tier.drain.deadline)};{short_stop(context.tier, rule)}"


def _shared_http() -> str:
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = ["access_log off;", "server_tokens off;", f'geo {_DOLLAR} {{ default "$"; }}']
    lines += [f"{folder}_temp_path tmp-{folder};" for folder in folders]
    return "".join(f"    {line}\n" for line in lines)


def _name(context: LaunchContext, to: str | None) -> str:
    """The upstream of a tier behind; of the first one without a name."""
    return "inner" if to in (None, context.behind[0].tier.name) else f"inner-{to}"


def upstream(settings: HttpSettings, inner: str, name: str) -> str:
    """The pool of connections to the tier behind."""
    # One balancer address, named twice: with a single entry nginx never tries again, and with max_fails it would hold
    # the balancer itself to be down for ten seconds after one failed connection.
    return f"""    upstream {name} {{
        server {inner} max_fails=0;
        server {inner} max_fails=0;
        keepalive {settings.upstream_keepalive};
        keepalive_time {_time(settings.upstream_keepalive_time)};
        keepalive_timeout {_time(settings.upstream_keepalive_timeout)};
        keepalive_requests 100000;
    }}
"""


def _listen(settings: HttpSettings, context: LaunchContext, binary: NginxBinary) -> str:
    address = context.instance.address
    proxied = " proxy_protocol" if context.instance.proxied else ""
    if not context.outermost or settings.tls is False:
        return f"        listen {address}{proxied} backlog=2048;"
    certificate, key = _quote(f"{context.tls}/edge.pem"), _quote(f"{context.tls}/edge.key")
    if settings.tls is not None:
        certificate = key = VARIABLE
    # `http2` became a directive of its own in 1.25.1; the parameter is deprecated from there on.
    old = binary.version < (1, 25, 1)
    return f"""        listen {address} ssl{" http2" if old else ""}{proxied} backlog=2048;
{"" if old else "        http2 on;"}
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache shared:tls:1m;"""


def _certificate_map(settings: HttpSettings, context: LaunchContext) -> str:
    return f"    {MAP}\n" if context.outermost and settings.tls else ""


def proxy_maps(context: LaunchContext) -> str:
    """The variables that `proxy_headers` uses, for the http block."""
    # WebSocket alone is passed on: an `Upgrade: h2c` would lead past the routes. Without an upgrade, `Connection` is
    # empty, so that the connection inward is kept.
    maps = (
        f'map $http_host {_HOST} {{ default $http_host; "" $server_addr:$server_port; }}',
        f'map $http_upgrade {_UPGRADE} {{ default ""; "~*^websocket$" websocket; }}',
        f'map {_UPGRADE} {_CONNECTION} {{ default upgrade; "" ""; }}',
    )
    return _lines(maps, 4) + "\n" + _trust(context)


def proxy_headers(context: LaunchContext) -> str:
    """What the tier behind is sent, for a server or a location."""
    names = ("Connection", _CONNECTION), ("Upgrade", _UPGRADE), ("Host", _HOST)
    own = _lines(["proxy_http_version 1.1;", *(f"proxy_set_header {name} {value};" for name, value in names)])
    return f"{own}\n{_forwarded(context)}"


_PROTO, _FOR = "X-Forwarded-Proto", "X-Forwarded-For"


def _trust(context: LaunchContext) -> str:
    """What a trusted peer sends in forwarded headers, as variables; empty for other peers, which removes the header."""
    if context.trusted_peers is None:
        # Clients speak to the first tier that reads HTTP, and the tiers of the chain plain HTTP to each other.
        sent = _sent(_PROTO)
        return f'    map {sent} {_variable(_PROTO)} {{ default {sent}; "" $scheme; }}\n'
    if not context.trusted_peers:
        return ""  # no peer: each field has a value without a map, which costs less for each request
    peer, trusted = _peer(context), "".join(f" {network} 1;" for network in context.trusted_peers)
    maps = [
        f"geo {peer} $changeover_trusted {{ default 0;{trusted} }}",
        # Appended to the list of a trusted peer; otherwise the peer is the client.
        f'map "$changeover_trusted:$http_x_forwarded_for" {_variable(_FOR)} '
        f'{{ default {peer}; "~^1:(?<changeover_list>.+)$" "$changeover_list, {peer}"; }}',
        f'map "$changeover_trusted:{_sent(_PROTO)}" {_variable(_PROTO)} '
        '{ default $scheme; "~^1:(?<changeover_proto>.+)$" $changeover_proto; }',
    ]
    maps += [
        f'map $changeover_trusted {_variable(name)} {{ 0 ""; 1 {_sent(name)}; }}'
        for name in FORWARDED_HEADERS
        if name not in (_FOR, _PROTO)
    ]
    return "".join(f"    {line}\n" for line in maps)


def _forwarded(context: LaunchContext) -> str:
    """The headers that name the client to the tier behind."""
    if context.trusted_peers is None:
        addresses = _peer(context) if context.instance.proxied else "$proxy_add_x_forwarded_for"
        values = {_FOR: addresses, _PROTO: _variable(_PROTO)}
    elif context.trusted_peers:
        values = {name: _variable(name) for name in FORWARDED_HEADERS}
    else:
        values = dict.fromkeys(FORWARDED_HEADERS, '""') | {_FOR: _peer(context), _PROTO: "$scheme"}
    return _lines(f"proxy_set_header {name} {value};" for name, value in values.items())


def _peer(context: LaunchContext) -> str:
    return "$proxy_protocol_addr" if context.instance.proxied else "$remote_addr"


def _variable(header: str) -> str:
    return f"$changeover_{header.lower().replace('-', '_')}"


def _sent(header: str) -> str:
    return f"$http_{header.lower().replace('-', '_')}"


def _snippet(settings: HttpSettings | StreamSettings, key: str) -> str:
    """Raw text of the user's is in a file of its own, so that nginx's messages name its lines."""
    return f"        include {SNIPPETS}/{key};\n" if key in settings.snippets else ""


_REPEATS = {"safe-once": "error timeout", "idempotent": "error timeout non_idempotent", "none": "off"}


def _zones(settings: HttpSettings) -> str:
    # It counts requests, since HTTP/2 sends many over one connection; and those without a body, too, since HTTP/2 does
    # not announce whether a body follows.
    zones = [
        f"limit_conn_zone $server_port zone=route{number}:64k;"
        for number, route in enumerate(settings.routes)
        if route.buffering == "buffer"
    ]
    return "".join(f"    {line}\n" for line in (*zones, *(["limit_conn_log_level warn;"] if zones else [])))


def _hidden(settings: HttpSettings, context: LaunchContext) -> str:
    """404 at the control paths of the tiers behind, apart from those that are a route of their own."""
    routed = {route.path for route in settings.routes}
    hidden = (f"location = {path} {{ return 404; }}" for path in context.hidden_paths if path not in routed)
    return "".join(f"        {line}\n" for line in hidden)


def _locations(settings: HttpSettings, context: LaunchContext) -> str:
    return "".join(
        _location(settings, number, route, _name(context, route.to)) for number, route in enumerate(settings.routes)
    )


def _location(settings: HttpSettings, number: int, route: Route, upstream: str) -> str:
    largest, buffered = settings.largest_body(route), route.buffering == "buffer"
    lines = [
        f"proxy_pass http://{upstream};",
        "proxy_request_buffering on;" if buffered else _STREAMED,
        f"proxy_next_upstream {_REPEATS[route.retries]};",
    ]
    refusals = ""
    if largest:
        lines += [f"client_max_body_size {largest};", f"error_page 413 @large{number};"]
        refusals += _refusal(
            settings,
            f"@large{number}",
            413,
            f"The body is too large: {route.path} accepts at most {human_bytes(largest)}.\n",
        )
    if buffered:
        at_once = settings.at_once(route)
        bound = f"{at_once} x {human_bytes(largest)} = {human_bytes(at_once * largest)}"
        lines += [f"limit_conn route{number} {at_once};  # on disk: {bound}", f"error_page 503 @full{number};"]
        text = f"{route.path} has reached its limit of {at_once} requests at once. Try again in 5 s.\n"
        refusals += _refusal(settings, f"@full{number}", 503, text, {"Retry-After": "5"})
    return f"""        location {route.path} {{
{_lines(lines, 12)}
{_snippet(settings, f"routes.{number}.location")}        }}
{refusals}"""


def _refusal(
    settings: HttpSettings, name: str, status: int, text: str, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """The response of nginx itself to a request that it refuses. A location with headers of its own inherits none."""
    headers = (f"add_header {key} {_quote(value)} always;" for key, value in {**settings.headers, **more}.items())
    lines = [*headers, "default_type text/plain;", f"return {status} {_quote(text)};"]
    return f"""        location {name} {{
{_lines(lines, 12)}
        }}
"""


def control(context: LaunchContext) -> str:
    """The server that answers readiness and counts, whatever the http block around it demands of others."""
    # Readiness is a file, so that lame duck needs no reload: before 1.27.4 every reload closes idle client connections
    # at once, and each such client loses a request.
    return f"""    server {{
        listen {context.instance.control};
        access_log off;
        location = /readyz {{
            if (-f {_quote(lame_duck(context))}) {{ return 503 "draining\\n"; }}
            return 200 "ready\\n";
        }}
        location = /status {{ stub_status; auth_basic off; allow all; }}
    }}"""


def lame_duck(context: LaunchContext) -> str:
    """The file, from the folder that nginx runs in: a worker of another user may enter that, and none above it."""
    return relpath(context.lame_duck, context.instance.directory)


def _lines(lines: Iterable[str], indent: int = 8) -> str:
    return "\n".join(" " * indent + line for line in lines)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("$", f"${{{_DOLLAR[1:]}}}") + '"'


def _time(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
