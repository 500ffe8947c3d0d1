"""Health checks: one resource, read once, asked by HAProxy for a balancer and by the fake itself for autohealing.

healthChecks, description of each type: HTTP is healthy with status 200 only; TCP with an accepted connection.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from tests.gcp.fake.clock import Clock
from tests.gcp.fake.wire.errors import Json

FIELDS = {"HTTP": "httpHealthCheck", "HTTPS": "httpsHealthCheck", "TCP": "tcpHealthCheck", "SSL": "sslHealthCheck"}


@dataclass(frozen=True)
class Check:
    url: str
    type: str
    port: int | None
    """None: the port that gets traffic."""
    path: str
    host: str
    interval: float
    """Seconds at speed 1, as `timeout`."""
    timeout: float
    healthy: int
    unhealthy: int


def read(resource: Json) -> Check:
    """Defaults as the fields' descriptions give them: every 5 s, 5 s, 2 and 2; port 80, 443 for HTTPS and SSL."""
    kind = resource["type"]
    its = resource.get(FIELDS[kind], {})
    serving = its.get("portSpecification") == "USE_SERVING_PORT"
    return Check(
        url=resource["selfLink"],
        type=kind,
        port=None if serving else its.get("port", 443 if kind in {"HTTPS", "SSL"} else 80),
        path=its.get("requestPath", "/"),
        host=its.get("host", ""),
        interval=resource.get("checkIntervalSec", 5),
        timeout=resource.get("timeoutSec", 5),
        healthy=resource.get("healthyThreshold", 2),
        unhealthy=resource.get("unhealthyThreshold", 2),
    )


def haproxy_lines(check: Check) -> str:
    """Of a backend section."""
    timeout = f"    timeout check {max(check.timeout, 1) * 1000:.0f}ms\n"
    if check.type in {"TCP", "SSL"}:
        return timeout
    host = check.host or "health-check"
    return (
        f"{timeout}    option httpchk\n"
        f"    http-check send meth GET uri {check.path} ver HTTP/1.1 hdr Host {host}\n"
        "    http-check expect status 200\n"
    )


def haproxy_server(check: Check, clock: Clock, address: str, serving_port: int, *, sick: bool) -> str:
    """Of a server line. `sick`: the check asks a port that nobody listens on."""
    port = 1 if sick else check.port or serving_port
    tls = " check-ssl verify none" if check.type in {"HTTPS", "SSL"} else ""
    interval = clock.real(check.interval) * 1000
    fall = check.unhealthy + math.ceil(clock.delays.propagation / check.interval)
    return f"addr {address} port {port}{tls} inter {interval:.0f}ms rise {check.healthy} fall {fall}"


async def passes(check: Check, address: str) -> bool:
    """Ask once, as autohealing does."""
    try:
        async with asyncio.timeout(max(check.timeout, 1)):
            reader, writer = await asyncio.open_connection(address, check.port or 80)
            try:
                if check.type in {"TCP", "SSL"}:
                    return True
                host = check.host or address
                writer.write(f"GET {check.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
