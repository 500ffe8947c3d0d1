"""The files that a Kong node starts from. Pure: settings and a launch context in, text out."""

from __future__ import annotations

import shlex
from math import ceil

from changeover.hops.kong.settings import KongSettings
from changeover.model.errors import fail
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.model.instance import Address, Instance
from changeover.ports import LaunchContext

HEAD_BUFFER = "32k"
PASSWORD, PASSWORDS = "admin.password", "admin.passwords"
"""The password of the Admin API, `user:password`; and the same as nginx reads it."""
CONF, DOCUMENT, RUN = "kong.conf", "kong.json", "run.sh"
CLIENTS, STATUS = "clients.conf", "status.conf"
"""What nginx does with requests to the proxy and to the status listener before Kong reads them."""
_SOCKET = 108 - len("/sockets/") - 24
"""Characters that a prefix may have: below it Kong makes Unix sockets, whose paths end at 108."""

# KONG_* variables of the caller's environment would win over the file.
CLEAN = "for name in $(env | sed -n 's/^\\(KONG_[A-Za-z0-9_]*\\)=.*/\\1/p'); do unset \"$name\"; done"


def admin_address(instance: Instance) -> Address:
    """Where the Admin API of an instance listens: at the port of its status listener, on another loopback address.

    So it needs no third port, and no other machine reaches it.
    """
    return Address("127.0.0.2", instance.control.port)


def kong_conf(settings: KongSettings, context: LaunchContext, *, as_root: bool) -> str:
    """kong.conf of a node that can be drained."""
    instance = context.instance
    _check_prefix(instance.directory)
    values: dict[str, object] = {
        "prefix": instance.directory,
        "database": "off",
        "declarative_config": f"{instance.directory}/{DOCUMENT}",
        "proxy_listen": f"{instance.address} backlog=16384",
        # Its default is off where it is needed most: /status/ready exists nowhere else.
        "status_listen": instance.control,
        "admin_listen": admin_address(instance),
        # Its port is open to every local user, and Kong (OSS) asks for no password itself.
        "nginx_admin_auth_basic": "changeover",
        "nginx_admin_auth_basic_user_file": f"{instance.directory}/{PASSWORDS}",
        "nginx_status_include": f"{instance.directory}/{STATUS}",
        **({} if context.trusted_peers is None else {"nginx_proxy_include": f"{instance.directory}/{CLIENTS}"}),
        # Both would answer every client that sends the header: to Kong all of them come from a loopback address.
        "request_debug": "off",
        "allow_debug_header": "off",
        # By default Kong Manager listens at fixed ports: a second node could not start.
        "admin_gui_listen": "off",
        "nginx_daemon": "off",
        "nginx_worker_processes": settings.worker_processes,
        **({"nginx_user": "root root"} if as_root else {}),
        # Without it an old worker waits as long as a connection carries bytes, whatever the drain's deadline was.
        "nginx_main_worker_shutdown_timeout": f"{drain_seconds(context)}s",
        "nginx_proxy_keepalive_time": f"{settings.keepalive_time * 1000:.0f}ms",
        "nginx_proxy_keepalive_timeout": f"{settings.keepalive_timeout * 1000:.0f}ms",
        "nginx_proxy_keepalive_requests": 100000,
        # The head of a response must fit: nginx's default is a page of 4 KiB, which one large cookie fills.
        "nginx_proxy_proxy_buffer_size": HEAD_BUFFER,
        "nginx_proxy_proxy_buffers": f"8 {HEAD_BUFFER}",
        # An application can turn buffering on, with X-Accel-Buffering: never on disk, which nothing bounds.
        "nginx_proxy_proxy_max_temp_file_size": 0,
        "nginx_proxy_large_client_header_buffers": f"4 {HEAD_BUFFER}",
        "upstream_keepalive_idle_timeout": int(settings.upstream_keepalive_timeout),
        **(_known_clients() if context.trusted_peers is None else {}),
        "plugins": "off",
        "anonymous_reports": "off",
        "log_level": "warn",
        "proxy_access_log": "off",
        "admin_access_log": "off",
        "status_access_log": "off",
        "proxy_error_log": "/dev/stderr",
        "admin_error_log": "/dev/stderr",
        "status_error_log": "/dev/stderr",
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def _known_clients() -> dict[str, object]:
    """The tier in front names the client; it runs on this machine."""
    return {"trusted_ips": "127.0.0.0/8", "real_ip_header": "X-Forwarded-For", "real_ip_recursive": "on"}


def status_conf(context: LaunchContext) -> str:
    """Only the operator can make the node not ready: whatever is no question needs the password of the Admin API."""
    return f"""set $changeover_realm off;
if ($request_method !~ "^(GET|HEAD)$") {{ set $changeover_realm changeover; }}
auth_basic $changeover_realm;
auth_basic_user_file {context.instance.directory}/{PASSWORDS};
"""


def clients_conf(settings: KongSettings, context: LaunchContext) -> str:
    """Of the first tier that reads HTTP: removes the headers in which a client names itself, and hides control paths.

    `set_by_lua` runs before any phase of Kong, which would add to X-Forwarded-For. Servers that pass headers in
    variables take `_` for `-`.
    """
    names = ", ".join(f'["{name.lower()}"] = true' for name in FORWARDED_HEADERS)
    routed = {route.path for route in settings.routes}
    hidden = (f"location = {path} {{ return 404; }}\n" for path in context.hidden_paths if path not in routed)
    return f"""set_by_lua_block $changeover_clients {{
    local forwarded = {{ {names} }}
    for name in pairs(ngx.req.get_headers(0, true)) do
        if forwarded[(name:lower():gsub("_", "-"))] then ngx.req.clear_header(name) end
    end
    return ""
}}
{"".join(hidden)}"""


def drain_seconds(context: LaunchContext) -> int:
    return max(1, ceil(context.tier.drain.deadline))


def run_script(kong: str, context: LaunchContext) -> str:
    """The process of the instance: Kong in the foreground, which QUIT ends after its requests in flight.

    It makes the password of the Admin API, which no command line contains: `printf` is the shell's own.

    `kong quit` by itself waits for 10 s, then cuts what is in flight, and reports success (exit code 0).
    """
    quoted, prefix = shlex.quote(kong), shlex.quote(context.instance.directory)
    return f"""{CLEAN}
(umask 077
secret=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \\n')
printf 'changeover:{{PLAIN}}%s\\n' "$secret" > {PASSWORDS}
printf 'changeover:%s' "$secret" > {PASSWORD})
trap '{quoted} quit --prefix {prefix} --timeout {drain_seconds(context)}' QUIT
trap '{quoted} stop --prefix {prefix}' TERM
{quoted} start --conf {CONF} --prefix {prefix} &
started=$!
# A signal ends `wait` while Kong still runs.
until wait "$started"; do kill -0 "$started" 2>/dev/null || exit 1; done
"""


def _check_prefix(prefix: str) -> None:
    """Kong hands its prefix to a shell as it is, and makes sockets below it. Raises ChangeoverError."""
    hint = "Name another folder with --state."
    if any(character.isspace() or character in "'\"$`\\" for character in prefix):
        raise fail("Kong cannot work in a folder whose name has a space or a quote in it", where=prefix, next=hint)
    if len(prefix.encode()) > _SOCKET:
        raise fail(f"Kong cannot work in a folder whose name is longer than {_SOCKET}", where=prefix, next=hint)
