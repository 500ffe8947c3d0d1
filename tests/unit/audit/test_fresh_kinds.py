"""Kinds of configuration that public projects have, in own words: jobs beside servers, names of images, open blocks."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited, violations

from changeover.audit.audit import Audit
from changeover.audit.finding import Finding, Outcome
from changeover.conf.registry import reader_of


def findings(rule: str, files: dict[str, str]) -> list[Finding]:
    return [one.finding for one in audited(files).judged if one.rule.id == rule]


def stops(found: Audit) -> list[tuple[str, str]]:
    return [(one.software, one.object) for one in found.view.stops]


KONG = """\
services:
  migrations:
    image: "${KONG_IMAGE:-kong:3.9}"
    command: kong migrations up && kong migrations finish
  gateway:
    image: "${KONG_IMAGE:-kong:3.9}"
    environment:
      KONG_DATABASE: "off"
"""


@pytest.mark.parametrize("image", ["${KONG_IMAGE:-kong:3.9}", "${KONG_IMAGE-kong/kong-gateway:3.9}", "kong:3.9"])
def test_an_image_that_a_variable_names_is_its_default_and_a_migration_is_no_server(image: str) -> None:
    found = audited({"compose.yml": KONG.replace("${KONG_IMAGE:-kong:3.9}", image)})
    assert stops(found) == [("kong", "service gateway")]
    assert ("compose.yml", 6, "KNG01") in violations(found)


def test_a_job_of_kong_in_an_image_of_unknown_name_is_no_server() -> None:
    text = "services:\n  m:\n    image: $IMAGE\n    command: kong migrations bootstrap\n"
    assert stops(audited({"compose.yml": text})) == []


@pytest.mark.parametrize("command", ["nginx", "kong start", "haproxy -f a.cfg"])
@pytest.mark.parametrize("image", ["build: ./proxy", "image: registry.example.com/proxy:2"])
def test_the_stop_signal_of_an_image_that_no_file_describes_is_unknown(command: str, image: str) -> None:
    text = f"services:\n  proxy:\n    {image}\n    command: {command}\n    stop_grace_period: 600s\n"
    (stop,) = audited({"compose.yml": text}).view.stops
    assert (stop.signals, bool(stop.missing)) == ((), True)
    (stop,) = audited({"compose.yml": f"{text}    stop_signal: SIGUSR1\n"}).view.stops
    assert [one.name for one in stop.signals] == ["USR1", "KILL"]


@pytest.mark.parametrize(
    ("tag", "signal"),
    [("1.13-alpine", "TERM"), ("1.19.4", "TERM"), ("1.18", "QUIT"), ("1.19.5", "QUIT"), ("1", "QUIT")],
)
def test_old_images_of_nginx_are_stopped_by_sigterm(tag: str, signal: str) -> None:
    (stop,) = audited({"compose.yml": f"services:\n  web:\n    image: nginx:{tag}\n"}).view.stops
    assert stop.signals[0].name == signal


@pytest.mark.parametrize("name", ["/usr/bin/gunicorn3", "gunicorn-3.11", "uvicorn-3"])
def test_a_server_is_known_by_the_name_that_its_distribution_gives_it(name: str) -> None:
    found = audited({"app.service": f"[Service]\nExecStart={name} --bind unix:/run/app app:app\n"})
    assert ("app.service", 2, "APP06") in violations(found)


@pytest.mark.parametrize("command", ['["fastapi", "run", "--workers", "4", "main.py"]', "exec python -m fastapi run"])
def test_fastapi_runs_uvicorn_in_its_own_process(command: str) -> None:
    files = {"compose.yml": "services:\n  api:\n    build: .\n", "Dockerfile": f"FROM python:3.12\nCMD {command}\n"}
    found = audited(files)
    assert stops(found) == [("uvicorn", "service api")]
    assert {one[2] for one in violations(found)} == {"APP06"}
    assert [str(one) for hop in found.view.hops for one in hop.listens] == ["*:8000", "api:8000"]


POD = """\
apiVersion: v1
kind: Pod
metadata: {name: one}
spec:
  containers:
  - {name: one, image: "%s", ports: [{containerPort: 6379}]}
"""


@pytest.mark.parametrize(
    "image", ["redis", "docker.io/library/postgres:17", "bitnami/mongodb:8", "k8s.gcr.io/redis:e2e"]
)
def test_a_pod_of_a_database_has_no_requests_to_lose(image: str) -> None:
    assert findings("K8S01", {"pod.yaml": POD % image}) == []


def test_a_pod_of_another_image_has() -> None:
    assert [one.outcome for one in findings("K8S01", {"pod.yaml": POD % "shop/redis-ui:1"})] == [Outcome.VIOLATED]


def test_a_machine_of_no_group_may_serve_nothing() -> None:
    (found,) = findings("VM02", {"vm.tf": 'resource "google_compute_instance" "bastion" { name = "bastion" }\n'})
    assert found.outcome is Outcome.UNKNOWN


GROUP = """\
resource "google_compute_region_instance_group_manager" "app" {
  name = "app"
  dynamic "auto_healing_policies" {
    for_each = %s
    content {
      health_check      = auto_healing_policies.value
      initial_delay_sec = var.delay
    }
  }
}
"""


@pytest.mark.parametrize(
    ("among", "outcome"),
    [
        ("var.checks", Outcome.UNKNOWN),
        ('["a"]', Outcome.MET),
        ("[]", Outcome.VIOLATED),
        ('["a", "b"]', Outcome.UNKNOWN),
    ],
)
def test_a_block_that_may_stand_there_is_no_policy_yet(among: str, outcome: Outcome) -> None:
    assert [one.outcome for one in findings("MIG05", {"mig.tf": GROUP % among})] == [outcome]
    assert Outcome.VIOLATED not in [one.outcome for one in findings("MIG07", {"mig.tf": GROUP % among})]


CONNECTOR = """\
apiVersion: compute.cnrm.cloud.google.com/v1beta1
kind: ComputeBackendService
metadata: {name: web}
spec:
  location: global
  protocol: HTTP
  healthChecks:
  - healthCheckRef: {name: %s}
---
apiVersion: compute.cnrm.cloud.google.com/v1beta1
kind: ComputeHealthCheck
metadata: {name: ready}
spec:
  location: global
  tcpHealthCheck: {port: 80}
"""


def test_config_connector_names_other_resources_by_references() -> None:
    (found,) = findings("HC01", {"lb.yaml": CONNECTOR % "ready"})
    assert (found.outcome, found.place.line) == (Outcome.VIOLATED, 14)
    (found,) = findings("HC01", {"lb.yaml": CONNECTOR % "other"})
    assert (found.outcome, found.missing) == (Outcome.UNKNOWN, "the health check other of healthChecks")


@pytest.mark.parametrize(("affinity", "outcome"), [("NONE", Outcome.MET), ("CLIENT_IP", Outcome.UNKNOWN)])
def test_gke_has_the_affinity_one_level_deeper(affinity: str, outcome: Outcome) -> None:
    manifest = (
        "apiVersion: cloud.google.com/v1\nkind: BackendConfig\nmetadata: {name: shop}\n"
        f"spec:\n  sessionAffinity:\n    affinityType: {affinity}\n"
    )
    assert [one.outcome for one in findings("GCP13", {"backend.yaml": manifest})] == [outcome]


BOOTSTRAP = "dynamic_resources:\n  lds_config: {path: /etc/envoy/lds.yaml}\n  cds_config: {path: /etc/envoy/cds.yaml}\n"
LISTENERS = """\
resources:
- "@type": type.googleapis.com/envoy.config.listener.v3.Listener
  name: web
  address: {socket_address: {address: 0.0.0.0, port_value: 80}}
"""


def test_listeners_in_a_file_of_discovery_that_is_not_given_are_unknown() -> None:
    (found,) = findings("ENV02", {"envoy.yaml": BOOTSTRAP})
    assert (found.outcome, found.missing) == (Outcome.UNKNOWN, "the file that lds_config names")
    both = audited({"envoy.yaml": BOOTSTRAP, "lds.yaml": LISTENERS})
    assert [one.place.file for one in both.view.hops] == ["lds.yaml"]


def module(source: str) -> str:
    return f'module "shop" {{\n  source = "{source}"\n  name   = "shop"\n}}\n'


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        ("terraform-google-modules/lb-http/google//modules/backend", {"GCP01"}),
        ("GoogleCloudPlatform/lb-http/google", {"GCP01"}),
        ("github.com/GoogleCloudPlatform/cloud-foundation-fabric//modules/net-lb-app-ext?ref=v36", {"GCP01"}),
        ("terraform-google-modules/vm/google//modules/mig", {"MIG01"}),
        ("terraform-google-modules/vm/google//modules/instance_template", set()),
        ("terraform-google-modules/network/google", set()),
        ("terraform-aws-modules/elb/aws", set()),
        ("./modules/lb", set()),
    ],
)
def test_a_module_of_google_whose_files_are_not_given_is_no_silence(source: str, rules: set[str]) -> None:
    found = audited({"main.tf": module(source)})
    assert {(one.rule.id, one.finding.place.line) for one in found.of(Outcome.UNKNOWN)} == {(one, 2) for one in rules}


def test_a_module_whose_files_are_given_is_judged_by_them() -> None:
    service = 'resource "google_compute_backend_service" "web" {\n  connection_draining_timeout_sec = 0\n}\n'
    found = audited({"main.tf": module("./google-lb"), "google-lb/main.tf": service})
    assert ("google-lb/main.tf", 2, "GCP01") in violations(found)
    assert [one for one in found.of(Outcome.UNKNOWN) if one.rule.id == "GCP01"] == []


LINE = "daemon off; events { } http { server { listen 80; server_name a; location / { proxy_pass http://a:1; } } }\n"


def test_a_file_of_nginx_may_be_one_line() -> None:
    assert ("nginx.conf", 1, "NGX07") in violations(audited({"nginx.conf": LINE}))


@pytest.mark.parametrize("text", ["int a; server { b }\n", "x = {}; listen 80;\n", "{ http { } }\n"])
def test_one_sign_of_nginx_within_a_line_is_another_language(text: str) -> None:
    assert reader_of(text, "file") is None
