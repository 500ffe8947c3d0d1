"""A fix names the keys of the file that it is about."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome

UNIT = "[Service]\nExecStart=/usr/sbin/%s\n%s\n"
COMPOSE = "services:\n  edge:\n    image: %s\n    %s\n"
SUPERVISOR = "[program:edge]\ncommand=%s\n%s\n"
NGINX = "nginx -g 'daemon off;'"
PYTHON = "gunicorn --graceful-timeout 900 a:app"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: edge}
spec:
  containers:
    - name: edge
      image: %s
      ports: [{containerPort: 80}]
      lifecycle: {stopSignal: %s}
"""


def fixes(rule: str, file: str, text: str) -> list[str]:
    return [one.finding.fix for one in audited({file: text}).of(Outcome.VIOLATED) if one.rule.id == rule]


@pytest.mark.parametrize(
    ("rule", "file", "text", "fix"),
    [
        ("NGX01", "a.service", UNIT % (NGINX, ""), "KillSignal=SIGQUIT and KillMode=mixed, and no ExecStop"),
        ("NGX01", "compose.yml", COMPOSE % ("nginx", "stop_signal: SIGTERM"), "stop_signal: SIGQUIT"),
        ("NGX01", "supervisord.conf", SUPERVISOR % (NGINX, ""), "stopsignal=QUIT"),
        ("NGX01", "Dockerfile", "FROM nginx\nSTOPSIGNAL SIGTERM\n", "STOPSIGNAL SIGQUIT"),
        ("NGX01", "pod.yml", POD % ("nginx", "SIGTERM"), "lifecycle.stopSignal: SIGQUIT"),
        ("NGX02", "a.service", UNIT % (NGINX, "KillSignal=SIGQUIT\nTimeoutStopSec=9"), "TimeoutStopSec=445"),
        ("NGX02", "compose.yml", COMPOSE % ("nginx", "stop_grace_period: 9s"), "stop_grace_period: 445s"),
        ("NGX02", "supervisord.conf", SUPERVISOR % (NGINX, "stopsignal=QUIT"), "stopwaitsecs=445"),
        (
            "APP03",
            "compose.yml",
            COMPOSE % ("a", f"command: {PYTHON}\n    stop_signal: SIGQUIT"),
            "stop_signal: SIGTERM",
        ),
        ("APP03", "supervisord.conf", SUPERVISOR % (PYTHON, "stopsignal=QUIT"), "stopsignal=TERM"),
        ("APP03", "Dockerfile", f"FROM a\nSTOPSIGNAL SIGQUIT\nCMD {PYTHON}\n", "STOPSIGNAL SIGTERM"),
        ("APP06", "compose.yml", COMPOSE % ("a", f"command: {PYTHON}"), "stop_grace_period: 450s"),
        ("APP06", "supervisord.conf", SUPERVISOR % (PYTHON, ""), "stopwaitsecs=450"),
        ("KNG01", "compose.yml", COMPOSE % ("kong", "stop_signal: SIGTERM"), "stop_signal: SIGQUIT, with stop_grace_"),
        ("KNG01", "compose.yml", COMPOSE % ("kong", "stop_grace_period: 9s"), "stop_grace_period: 460s"),
        ("HAP01", "compose.yml", COMPOSE % ("haproxy", "stop_signal: SIGTERM"), "stop_signal: SIGUSR1, with stop_"),
        (
            "HAP01",
            "Dockerfile",
            "FROM haproxy\nSTOPSIGNAL SIGTERM\n",
            "STOPSIGNAL SIGUSR1, with docker stop --time 460",
        ),
    ],
)
def test_a_fix_of_a_stop_is_written_in_the_language_of_its_file(rule: str, file: str, text: str, fix: str) -> None:
    (found,) = fixes(rule, file, text)
    assert found.startswith(fix)


def test_a_signal_that_an_image_sets_is_mended_in_the_image_and_its_time_in_the_service() -> None:
    files = {
        "Dockerfile": "FROM nginx\nSTOPSIGNAL SIGTERM\n",
        "compose.yml": "services:\n  edge:\n    build: .\n    stop_grace_period: 9s\n",
    }
    found = [one.finding for one in audited(files).of(Outcome.VIOLATED) if one.rule.id == "NGX01"]
    assert [(one.place.file, one.fix) for one in found] == [("Dockerfile", "STOPSIGNAL SIGQUIT")]


TERRAFORM = """\
resource "google_compute_%sbackend_service" "web" {
  name = "web"
  protocol = "HTTP"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  timeout_sec = 10
  connection_draining_timeout_sec = %d
}
"""
CONNECTOR = """\
apiVersion: compute.cnrm.cloud.google.com/v1beta1
kind: ComputeBackendService
metadata: {name: web}
spec:
  location: global
  protocol: HTTP
  timeoutSec: 10
  connectionDrainingTimeoutSec: %d
"""
GCLOUD = """\
{"kind": "compute#backendService", "name": "web", %s "protocol": "HTTP", "timeoutSec": 10,
 "connectionDraining": {"drainingTimeoutSec": %d}}
"""
UPDATE = "gcloud compute backend-services update web"


@pytest.mark.parametrize(
    ("file", "text", "drain", "timeout"),
    [
        ("a.tf", TERRAFORM.replace("%s", ""), "connection_draining_timeout_sec = 460", "timeout_sec = 460"),
        ("a.yml", CONNECTOR, "spec.connectionDrainingTimeoutSec: 460", "spec.timeoutSec: 460"),
        (
            "a.json",
            GCLOUD.replace("%s", ""),
            f"{UPDATE} --global --connection-draining-timeout=460",
            f"{UPDATE} --global --timeout=460",
        ),
        (
            "a.json",
            GCLOUD.replace("%s", '"region": "https://x/regions/europe-west1",'),
            f"{UPDATE} --region=europe-west1 --connection-draining-timeout=460",
            f"{UPDATE} --region=europe-west1 --timeout=460",
        ),
    ],
)
def test_a_fix_of_google_cloud_is_written_as_its_operator_sets_it(
    file: str, text: str, drain: str, timeout: str
) -> None:
    assert fixes("GCP01", file, text % 0) == [drain]
    assert fixes("GCP02", file, text % 60) == [drain]
    assert fixes("GCP06", file, text % 60) == [timeout]


GROUP = {
    "a.tf": """\
resource "google_compute_region_instance_group_manager" "web" {
  name = "web"
  update_policy {
    minimal_action = "RESTART"
    max_unavailable_fixed = 1
  }
}
""",
    "a.yml": """\
apiVersion: compute.cnrm.cloud.google.com/v1beta1
kind: ComputeRegionInstanceGroupManager
metadata: {name: web}
spec:
  updatePolicy: {minimalAction: RESTART, maxUnavailableFixed: 1}
""",
}


@pytest.mark.parametrize(
    ("file", "action", "surge"),
    [
        ("a.tf", 'minimal_action = "REPLACE"', "max_unavailable_fixed = 0 with max_surge_fixed"),
        (
            "a.yml",
            "spec.updatePolicy.minimalAction: REPLACE",
            "spec.updatePolicy.maxUnavailableFixed: 0 with maxSurgeFixed",
        ),
    ],
)
def test_a_fix_of_a_group_keeps_the_way_to_its_key(file: str, action: str, surge: str) -> None:
    assert fixes("MIG04", file, GROUP[file]) == [action]
    assert fixes("MIG01", file, GROUP[file]) == [f"{surge} of the number of zones"]


MACHINE = 'resource "google_compute_instance_template" "app" {\n  scheduling {\n    %s\n  }\n}\n'
CHECK = """\
resource "google_compute_backend_service" "web" {
  protocol      = "HTTP"
  health_checks = [google_compute_health_check.ready.id]
}
resource "google_compute_health_check" "ready" {
  tcp_health_check {
    port = 8080
  }
}
"""
CANARY = """\
resource "google_compute_instance_group_manager" "app" {
  target_size = 12
  version {
    instance_template = "v1"
    %s
  }
  version {
    instance_template = "v2"
    target_size {
      %s
    }
  }
}
"""
TRACKED = """\
resource "google_compute_region_backend_service" "l4" {
  load_balancing_scheme = "INTERNAL"
  connection_tracking_policy {
    connection_persistence_on_unhealthy_backends = "NEVER_PERSIST"
  }
}
"""
ENVOY = "envoy -c /etc/envoy.yaml"
DRAINED = "curl -sX POST http://127.0.0.1:9901/healthcheck/fail && sleep 460"
ENVOY_POD = POD % ("envoyproxy/envoy:v1.36", "SIGTERM")


@pytest.mark.parametrize(
    ("rule", "file", "text", "fix"),
    [
        ("APP01", "a.service", "[Service]\nExecStart=gunicorn a:app\n", "--graceful-timeout 440"),
        ("APP01", "gunicorn.conf.py", 'bind = ":8000"\ngraceful_timeout = 30\n', "graceful_timeout = 440"),
        ("APP01", "a.service", "[Service]\nExecStart=uvicorn a:app --timeout-graceful-shutdown 9\n", None),
        ("VM01", "a.tf", MACHINE % 'provisioning_model = "SPOT"', 'provisioning_model = "STANDARD"'),
        ("VM01", "a.tf", MACHINE % "preemptible = true", "preemptible = false"),
        ("VM01", "a.tf", MACHINE % 'on_host_maintenance = "TERMINATE"', 'on_host_maintenance = "MIGRATE"'),
        ("VM01", "a.tf", MACHINE % 'termination_time = "x"', "no termination_time"),
        ("HC01", "a.tf", CHECK, "http_health_check { port = 8080 } instead of tcp_health_check"),
        ("MIG12", "a.tf", CANARY % ("", "percent = 4"), "fixed = 1"),
        ("MIG12", "a.tf", CANARY % ("target_size { fixed = 3 }", "fixed = 3"), "no target_size for one of them"),
        ("GCP09", "a.tf", TRACKED, 'connection_persistence_on_unhealthy_backends = "DEFAULT_FOR_PROTOCOL"'),
        ("ENV01", "a.service", f"[Service]\nExecStart={ENVOY}\n", f"ExecStop=/bin/sh -c '{DRAINED}', with TimeoutStop"),
        ("ENV01", "supervisord.conf", SUPERVISOR % (ENVOY, ""), f"{DRAINED} && supervisorctl stop"),
        ("ENV01", "pod.yml", ENVOY_POD, f'lifecycle: {{preStop: {{exec: {{command: ["sh", "-c", "{DRAINED}"]'),
    ],
)
def test_a_fix_is_text_for_its_line(rule: str, file: str, text: str, fix: str | None) -> None:
    (found,) = fixes(rule, file, text)
    assert found.startswith(fix or "--timeout-graceful-shutdown 440")


EDGE = """\
events {}
http {
    upstream app { server 10.0.0.5:8000; keepalive 8; keepalive_timeout %s; }
    proxy_set_header Connection "";
    server { listen 8080; location / { proxy_http_version 1.1; proxy_pass http://app; } }
}
"""
SERVICE = "[Service]\nExecStart=/srv/%s --port 8000\n"
GUNICORN = "[Service]\nExecStart=/srv/gunicorn -k gthread -b 0.0.0.0:8000 %s a:app\n"
LIMITS = (
    "defaults\n mode http\n timeout client %s\n timeout server 60s\nlisten app\n bind :8000\n server a 10.0.1.1:80\n"
)
MANAGER = """\
static_resources:
  listeners:
  - name: app
    address: {socket_address: {address: 0.0.0.0, port_value: 8000}}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: a
          common_http_protocol_options: {idle_timeout: 5s}
"""
ENTITIES = """\
_format_version: "3.0"
services:
- {name: app, url: "http://10.0.0.5:8000"}
"""
KONG_SERVICE = "services:\n  kong:\n    image: kong:3.9\n    environment:\n      KONG_DATABASE: 'off'\n      %s\n"


@pytest.mark.parametrize(
    ("server", "text", "pool", "fix"),
    [
        ("app.service", SERVICE % "uvicorn a:app", "60s", "--timeout-keep-alive 70"),
        ("app.service", SERVICE % "uvicorn a:app --timeout-keep-alive 9", "60s", "--timeout-keep-alive 70"),
        ("app.service", GUNICORN % "", "60s", "--keep-alive 70"),
        ("gunicorn.conf.py", "bind = ':8000'\nkeepalive = 4\nworker_class = 'gthread'\n", "60s", "keepalive = 70"),
        (
            "app.service",
            SERVICE % "granian a:app",
            "60s",
            "keepalive_timeout 20s; in edge.conf:3",  # granian has no option for it
        ),
        ("haproxy.cfg", LIMITS % "30s", "60s", "timeout client 70s or keepalive_timeout 20s; in edge.conf:3"),
        ("envoy.yaml", MANAGER, "60s", "idle_timeout: 70s"),
        (
            "inner.conf",
            "events {}\nhttp { server { listen 8000; keepalive_timeout 30s 30s; location / { return 200; } } }\n",
            "60s",
            "keepalive_timeout 70s; or keepalive_timeout 20s; in edge.conf:3",
        ),
    ],
)
def test_a_server_with_a_short_idle_time_gets_its_line_or_the_pool_does(
    server: str, text: str, pool: str, fix: str
) -> None:
    found = audited({"edge.conf": EDGE % pool, server: text}, {"nginx": "1.24.0"}).of(Outcome.VIOLATED)
    assert [one.finding.fix for one in found if one.rule.id == "CHN01"] == [fix]


def test_gunicorn_that_keeps_no_connection_announces_that_to_kong_too() -> None:
    sync = {
        "kong.yml": ENTITIES,
        "kong.conf": "nginx_main_worker_shutdown_timeout = 600s\n",
        "app.service": GUNICORN.replace("gthread", "sync") % "",
    }
    assert {one.finding.outcome for one in audited(sync).judged if one.rule.id == "KNG03"} == {Outcome.MET}


@pytest.mark.parametrize(
    ("rule", "files", "fix"),
    [
        (
            "KNG08",
            {"kong.conf": "nginx_main_worker_shutdown_timeout = 9s\n"},
            "nginx_main_worker_shutdown_timeout = 460s",
        ),
        (
            "KNG08",
            {"compose.yml": KONG_SERVICE % "KONG_NGINX_MAIN_WORKER_SHUTDOWN_TIMEOUT: 9s"},
            "KONG_NGINX_MAIN_WORKER_SHUTDOWN_TIMEOUT: 460s",
        ),
        ("KNG07", {"kong.conf": "nginx_http_client_max_body_size = 8m\n"}, "nginx_http_client_max_body_size = 48m"),
        (
            "HC03",
            {"compose.yml": KONG_SERVICE % "KONG_STATUS_LISTEN: 127.0.0.1:8007"},
            "KONG_STATUS_LISTEN: 0.0.0.0:8007, and a health check of /status/ready",
        ),
        (
            "HC03",
            {"compose.yml": KONG_SERVICE % "KONG_PROXY_LISTEN: 0.0.0.0:8000"},
            "KONG_STATUS_LISTEN: 0.0.0.0:8007, and a health check of /status/ready",
        ),
    ],
)
def test_a_fix_of_kong_is_a_variable_where_kong_gets_variables(rule: str, files: dict[str, str], fix: str) -> None:
    found = audited(files, {"behind": "google"}).of(Outcome.VIOLATED)
    assert [one.finding.fix for one in found if one.rule.id == rule] == [fix]


@pytest.mark.parametrize(
    ("drain", "fix"),
    [
        (500, "keepalive_time 70s;"),
        (435, "keepalive_time 10s; with connection_draining_timeout_sec = 460"),
    ],
)
def test_an_age_of_connections_is_what_the_drain_leaves(drain: int, fix: str) -> None:
    balancer = TERRAFORM.replace("%s", "") % drain
    edge = "events {}\nhttp { server { listen 80; keepalive_time 1h; location / { return 200; } } }\n"
    found = audited({"lb.tf": balancer, "nginx.conf": edge}).of(Outcome.VIOLATED)
    assert [one.finding.fix for one in found if one.rule.id == "GCP08"] == [fix]
