"""Whether nginx keeps connections inward: before 1.29.7 it asks the server to close each of them by default."""

from __future__ import annotations

import pytest

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import audit
from changeover.audit.hops.nginx import NginxHttp
from changeover.conf.nginx.reader import read

CONFIGURATION = """\
http {
    upstream inner { server 10.0.0.5:9000; keepalive 8; keepalive_timeout 20s; }
    %s
    server {
        listen 8080;
        location / { %s proxy_http_version 1.1; proxy_pass http://inner; }
    }
}
"""
EMPTY = 'proxy_set_header Connection "";'
HOST = "proxy_set_header Host $host;"


@pytest.mark.parametrize(
    ("http", "location", "version", "pool"),
    [
        ("", "", "1.22.1", 0.0),
        ("", "", "1.29.7", 20.0),
        ("", "", None, 20.0),
        ("", EMPTY, "1.22.1", 20.0),
        (EMPTY, "", "1.22.1", 20.0),
        (EMPTY, HOST, "1.22.1", 0.0),
        ("", "proxy_set_header connection $connection_upgrade;", "1.22.1", 20.0),
        ("", "proxy_set_header Connection close;", "1.22.1", 0.0),
    ],
)
def test_a_pool_needs_a_connection_header_before_1_29_7(
    http: str, location: str, version: str | None, pool: float
) -> None:
    text = CONFIGURATION % (http, location)
    asked = Assumptions().given({"nginx": version} if version else {})
    (hop,) = audit(read(text, "nginx.conf"), asked, {}, rules=()).view.of(NginxHttp)
    assert hop.targets[0].pool_idle.value == pool
