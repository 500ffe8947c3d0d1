"""HC04: a health check from outside asks a port that compose binds to the loopback address."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, unknown, violated
from changeover.audit.google.resources import Resource
from changeover.audit.published import PublishedPort
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

_CHECKS = ("httpHealthCheck", "httpsHealthCheck", "http2HealthCheck", "grpcHealthCheck", "tcpHealthCheck")


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    checks = view.google.of("healthCheck")
    servers = {stop.object for stop in view.stops}
    for port in view.ports:
        asking = [one for one in checks if _port(one) == port.port]
        name = f"service {port.service}"
        text = f"port {port.port} is bound to {port.host or 'every address'}"
        if port.port is None:
            if name in servers and (checks or port.on_loopback):
                missing = "the values of the variables in `ports`: `docker compose config` prints them"
                yield unknown(port.place, name, "the port that is published, and its address, are variables", missing)
        elif asking and port.on_loopback:
            yield _violated(port, name, f"{text}, and {asking[0].object} ({asking[0].place}) asks it")
        elif asking:
            yield met(port.place, name, f"{text}: {asking[0].object} reaches it")
        elif port.on_loopback and name in servers and not checks:
            yield _unasked(port, name, text, view, asked)


def _port(check: Resource) -> float | None:
    found = (check.body.number(key, "port") for key in _CHECKS)
    return next((one for one in found if one is not None), check.body.number("port"))


def _unasked(port: PublishedPort, name: str, text: str, view: View, asked: Assumptions) -> Finding:
    """No health check is among the given files."""
    near = [
        hop
        for hop in view.hops
        for target in hop.targets
        if any(one.is_local and one.port == port.port for one in target.addresses)
    ]
    if near:
        return met(port.place, name, f"{text}: {near[0].name} reaches it on the same machine")
    if asked.behind is None:
        missing = "what checks its health: `--assume behind=google` or `clients`"
        return unknown(port.place, name, f"{text}: it is out of reach from outside", missing)
    if asked.behind == "google":
        return _violated(port, name, f"{text}: no health check of Google Cloud can reach it")
    return met(port.place, name, f"{text}; no load balancer of Google Cloud checks it")


def _violated(port: PublishedPort, name: str, what: str) -> Finding:
    return violated(
        port.place,
        name,
        what,
        get=Effect.ERROR,
        post=Effect.ERROR,
        consequence="every check fails: the new machine never becomes healthy, and a GET and a POST get 502 or 503",
        fix=f'"{port.port}:{port.target}", with a firewall',
    )


_CHECK = """\
kind: compute#healthCheck
name: ready
type: HTTP
httpHealthCheck: {port: 8080, requestPath: /ready}
"""
RULE = Rule(
    id="HC04",
    name="compose-port-on-loopback",
    severity=Severity.ERROR,
    what="A health check asks a port that compose binds to the loopback address of the machine.",
    why="`127.0.0.1:8080:80` is reachable on the machine alone. A health check comes from outside, fails for ever, and "
    "no machine of the new template becomes healthy.",
    sources=(
        "https://docs.docker.com/reference/compose-file/services/#ports",
        "https://cloud.google.com/load-balancing/docs/health-check-concepts",
    ),
    bad={
        "docker-compose.yml": """\
services:
  edge:
    image: nginx:1.29
    stop_grace_period: 460s
    ports:
      # expect: HC04
      - "127.0.0.1:8080:80"
""",
        "check.yaml": _CHECK,
    },
    good={
        "docker-compose.yml": """\
services:
  edge:
    image: nginx:1.29
    stop_grace_period: 460s
    ports:
      - "8080:80"
""",
        "check.yaml": _CHECK,
    },
    fix="Publish the port on every address of the machine, and let a firewall admit the health checks.",
    check=check,
    lab=GOOGLE_CLOUD,
)
