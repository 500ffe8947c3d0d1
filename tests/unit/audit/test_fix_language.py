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
