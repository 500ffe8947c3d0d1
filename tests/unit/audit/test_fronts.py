"""What stands in front of a hop decides: how long it waits, and how long it uses a connection."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Finding, Outcome

INNER = (
    "events {}\nhttp {\n  upstream app { server 10.0.0.5:9000; server 10.0.0.6:9000; }\n"
    "  server { listen 8080; location / { proxy_pass http://app; } }\n}\n"
)
NGINX = "events {}\nhttp { server { listen 80; location / { %s proxy_pass http://10.0.0.2:8080; } } }\n"
HAPROXY = """\
defaults
    mode http
    timeout client 60s
    %s
frontend web
    bind :443
    default_backend inner
frontend plain
    bind :80
    default_backend inner
backend inner
    server a 10.0.0.2:8080
"""
ONE_FRONT = HAPROXY.replace("frontend plain\n    bind :80\n    default_backend inner\n", "")
KONG = '_format_version: "3.0"\nservices:\n- {name: shop, url: "http://10.0.0.2:8080"%s}\n'
ENVOY = """\
static_resources:
  listeners:
  - address: {socket_address: {address: 0.0.0.0, port_value: 80}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          route_config:
            virtual_hosts:
            - domains: ["*"]
              routes:
              - {match: {prefix: /a}, route: {cluster: inner, timeout: 500s}}
              - {match: {prefix: /}, route: {cluster: inner%s}}
  clusters:
  - name: inner
    load_assignment:
      endpoints:
      - lb_endpoints:
        - endpoint: {address: {socket_address: {address: 10.0.0.2, port_value: 8080}}}
"""


def findings(rule: str, files: dict[str, str], **assume: str) -> list[Finding]:
    return [one.finding for one in audited(files, assume).judged if one.rule.id == rule]


@pytest.mark.parametrize(
    ("front", "seconds"),
    [
        (NGINX % "", 60),
        (NGINX % "proxy_read_timeout 300s;", 300),
        (HAPROXY % "timeout server 50s", 50),
        (HAPROXY % "timeout server 10m", 600),
        (KONG % "", 60),
        (KONG % ", read_timeout: 200000", 200),
        (ENVOY % "", 15),
        (ENVOY % ", timeout: 400s", 400),
    ],
)
def test_the_tries_of_nginx_are_held_against_the_timeout_of_the_proxy_in_front(front: str, seconds: int) -> None:
    name = "front.yml" if front[0] in "_s" else "front.conf"
    (found,) = [one for one in findings("NGX13", {name: front, "inner.conf": INNER}) if one.place.file == "inner.conf"]
    assert found.outcome is (Outcome.MET if seconds >= 120 else Outcome.VIOLATED)
    assert found.numbers.get("edge_timeout_seconds") == (None if seconds >= 120 else seconds)


def test_a_timeout_in_front_that_cannot_be_read_is_unknown() -> None:
    files = {"front.conf": HAPROXY % 'timeout server "$T"', "inner.conf": INNER}
    (found,) = [one for one in findings("NGX13", files) if one.place.file == "inner.conf"]
    assert found.outcome is Outcome.UNKNOWN
    assert "timeout server" in found.missing


def test_a_pool_of_two_listeners_is_one_finding() -> None:
    files = {"front.conf": HAPROXY % "timeout server 50s", "inner.conf": INNER}
    assert len([one for one in findings("CHN01", files) if "backend inner" in one.object]) == 1


SERVICE = """\
resource "google_compute_backend_service" "web" {
  protocol                        = "HTTP"
  timeout_sec                     = 600
  connection_draining_timeout_sec = 900
}
"""


@pytest.mark.parametrize(
    ("file", "text", "outcome"),
    [
        (
            "haproxy.cfg",
            ONE_FRONT % "",
            "UNKNOWN",
        ),
        ("app.service", "[Service]\nExecStart=gunicorn -k gthread --threads 4 a:app\n", "UNKNOWN"),
        ("app.service", "[Service]\nExecStart=gunicorn a:app\n", "MET"),
        ("kong.yml", KONG % "", "UNKNOWN"),
    ],
)
def test_a_server_behind_google_without_an_age_of_connections_is_not_passed_over(
    file: str, text: str, outcome: str
) -> None:
    (found,) = findings("GCP08", {"lb.tf": SERVICE, file: text})
    assert found.outcome is Outcome[outcome]


UPSTREAM = '_format_version: "3.0"\nupstreams:\n- {name: shop, targets: [{target: "%s"}]}\n'


@pytest.mark.parametrize(
    ("target", "settings", "says"),
    [
        ("shop.internal:80", "dns_stale_ttl = 20\n", "dns_stale_ttl = 20"),
        (
            "shop.internal:80",
            "database = off\nproxy_listen = 0.0.0.0:8000\n",
            "dns_stale_ttl is not set, so it is 3600",
        ),
        ("10.0.0.9:80", "dns_stale_ttl = 20\n", ""),
    ],
)
def test_kong_uses_an_old_address_of_a_name_for_a_time(target: str, settings: str, says: str) -> None:
    (found,) = findings("KNG05", {"kong.yml": UPSTREAM % target, "kong.conf": settings})
    assert found.outcome is Outcome.UNKNOWN
    assert ("dns_stale_ttl" in found.what) is bool(says)
    assert says in found.what


SERVICES = '_format_version: "3.0"\nservices:\n- {name: shop, host: %s}\n'


@pytest.mark.parametrize(
    ("host", "outcomes"),
    [
        ("shop.internal", ["UNKNOWN"]),
        ("10.0.0.9", ["UNKNOWN"]),
        ("localhost", []),
        ("pool, port: 80}\n- {name: other, host: pool", ["UNKNOWN"]),
    ],
)
def test_a_host_that_a_service_names_itself_may_be_a_machine_that_goes(host: str, outcomes: list[str]) -> None:
    found = findings("KNG05", {"kong.yml": SERVICES % host})
    assert [one.outcome.name for one in found] == outcomes
    assert all("dns_stale_ttl" in one.what for one in found if "10." not in one.what)


UNIT = "[Service]\nExecStart=gunicorn %s a:app\nKillSignal=%s\nKillMode=mixed\nTimeoutStopSec=600\n"


@pytest.mark.parametrize(
    ("options", "signal", "outcome"),
    [
        ("-k gthread", "SIGQUIT", "MET"),
        ("--threads 4", "SIGINT", "MET"),
        ("-k sync", "SIGQUIT", "VIOLATED"),
        ("", "SIGQUIT", "VIOLATED"),
        ("-k gthread", "SIGUSR1", "VIOLATED"),
        ("-k gevent --threads 4", "SIGQUIT", "VIOLATED"),
        ("-k $CLASS", "SIGQUIT", "UNKNOWN"),
    ],
)
def test_threads_of_gunicorn_end_their_requests_at_a_quick_stop(options: str, signal: str, outcome: str) -> None:
    (found,) = findings("APP03", {"app.service": UNIT % (options, signal)})
    assert found.outcome is Outcome[outcome]


@pytest.mark.parametrize(
    ("command", "unknown"),
    [
        ("python app.py", True),
        ("python3 -u /srv/app/main.py --port 80", True),
        ("python -m shop.server", True),
        ("python -m flask run", True),
        ("python manage.py runserver", True),
        ("python manage.py migrate", False),
        ("python -m celery -A shop worker", False),
        ("python -m pip install .", False),
    ],
)
def test_a_program_in_python_may_be_any_server(command: str, unknown: bool) -> None:
    found = findings("APP05", {"Dockerfile": f"FROM python:3.12\nCMD {command}\n"})
    assert [one.outcome for one in found] == ([Outcome.UNKNOWN] if unknown else [])
