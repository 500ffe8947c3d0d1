"""NGX: nginx in front of HTTP servers."""

from __future__ import annotations

from typing import Final

from changeover.audit.rules.nginx.ngx01 import RULE as NGX01
from changeover.lab import traffic
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server

NGINX: Final = (Server(Kind.NGINX, "nginx.conf"),)
CONFIGURATION: Final = {
    "nginx.conf": """\
events {}
http {
    client_max_body_size 64m;
    server { listen 8080; location / { proxy_pass http://127.0.0.1:9000; } }
}
"""
}
"""For examples that are units alone."""

SHOWN: Final = (
    Demonstration(
        "NGX01",
        "nginx gets the signals of its unit while an upload and a download are in flight",
        NGINX,
        Happening.STOP,
        traffic.long_in_flight,
        besides=CONFIGURATION,
    ),
    Demonstration(
        "NGX01",
        "ExecStop sends SIGQUIT and returns, and systemd sends SIGTERM, while an upload and a download are in flight",
        NGINX,
        Happening.STOP,
        traffic.long_in_flight,
        besides=CONFIGURATION,
        bad_files={
            "nginx.service": """\
[Service]
ExecStart=/usr/sbin/nginx -g 'daemon off;'
ExecStop=/bin/kill -s QUIT $MAINPID
TimeoutStopSec=500
"""
        },
    ),
    Demonstration(
        "NGX02",
        "nginx gets the signals of its unit, at their times, while an upload and a download are in flight",
        NGINX,
        Happening.STOP,
        traffic.in_flight,
        scale=40,
        besides=CONFIGURATION,
    ),
    Demonstration(
        "NGX03",
        "nginx is reloaded while an upload and a download are in flight",
        NGINX,
        Happening.RELOAD,
        traffic.in_flight,
    ),
    Demonstration(
        "NGX03",
        "nginx gets SIGQUIT while an upload and a download are in flight",
        NGINX,
        Happening.STOP,
        traffic.in_flight,
        besides=NGX01.good,
    ),
    Demonstration(
        "NGX04",
        "nginx is reloaded while an upload that outlasts every limit holds a connection",
        NGINX,
        Happening.RELOAD,
        traffic.held_open,
        counts="old workers left",
    ),
    Demonstration(
        "NGX06",
        "clients reuse connections that were idle for up to 600 s, over a line of 20 ms",
        NGINX,
        Happening.NOTHING,
        traffic.reused_by_clients,
        line=8080,
    ),
    Demonstration("NGX07", "an upload of 50 MB is sent at once", NGINX, Happening.NOTHING, traffic.whole_upload),
    Demonstration(
        "NGX08",
        "an upload's client pauses as long as the longest assumed pause",
        NGINX,
        Happening.NOTHING,
        traffic.pausing_upload,
    ),
    Demonstration(
        "NGX09",
        "the server behind is replaced, with a drain of 60 s, while an upload is in flight",
        NGINX,
        Happening.NOTHING,
        traffic.replaced_behind,
    ),
    Demonstration(
        "NGX10",
        "every second connection to the address behind meets an instance that has gone, and is reset",
        NGINX,
        Happening.NOTHING,
        traffic.on_every_second,
    ),
    Demonstration(
        "NGX11",
        "a server carries an upload out, and breaks its connection before it answers",
        NGINX,
        Happening.NOTHING,
        traffic.carried_out_and_cut,
        counts="uploads carried out twice",
    ),
    Demonstration(
        "NGX13",
        "a server behind answers no packet, and the client waits as long as assumed",
        NGINX,
        Happening.NOTHING,
        traffic.to_a_deleted_machine,
        scale=20,
        defaults={"nginx.conf:listen 8080;": "proxy_connect_timeout 60s;"},
    ),
)
