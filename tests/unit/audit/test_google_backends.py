"""What stands behind a backend service of Google Cloud, and the manifests of GKE that set one up."""

from __future__ import annotations

import pytest
from tests.unit.audit.expectations import audited, violations

from changeover.audit.finding import Finding, Outcome

SERVICE = (
    'resource "google_compute_backend_service" "web" {\n  name = "web"\n  connection_draining_timeout_sec = 0\n'
    "  backend { group = google_compute_region_network_endpoint_group.run.id }\n}\n"
)
ENDPOINTS = 'resource "google_compute_region_network_endpoint_group" "run" {\n  name = "run"\n%s}\n'


def findings(rule: str, files: dict[str, str]) -> list[Finding]:
    return [one.finding for one in audited(files).judged if one.rule.id == rule]


@pytest.mark.parametrize("kind", ["", '  network_endpoint_type = "SERVERLESS"\n'])
def test_a_service_of_serverless_endpoints_alone_is_judged_by_them_and_has_no_timeout(kind: str) -> None:
    files = {"lb.tf": SERVICE + ENDPOINTS % kind}
    assert violations(audited(files)) == {("lb.tf", 6, "GCP04")}
    (timeout,) = findings("GCP06", files)
    assert timeout.outcome is Outcome.UNKNOWN


def test_a_service_with_one_other_backend_is_judged_by_its_own_draining() -> None:
    other = SERVICE.replace("}\n", "}\n  backend { group = google_compute_instance_group.vm.id }\n", 1)
    assert ("lb.tf", 3, "GCP01") in violations(audited({"lb.tf": other + ENDPOINTS % ""}))


def test_endpoints_that_are_drained_are_judged_by_the_draining_of_their_service() -> None:
    kind = '  network_endpoint_type = "NON_GCP_PRIVATE_IP_PORT"\n'
    assert ("lb.tf", 3, "GCP01") in violations(audited({"lb.tf": SERVICE + ENDPOINTS % kind}))


GROUP = 'resource "google_compute_instance_group_manager" "app" {\n  name = "app"\n  target_pools = %s\n}\n'
POOL = 'resource "google_compute_target_pool" "web" { name = "web" }\n'


@pytest.mark.parametrize(
    ("pools", "outcomes"),
    [
        ("[google_compute_target_pool.web.self_link]", [Outcome.VIOLATED]),
        ('["${google_compute_target_pool.web.self_link}"]', [Outcome.VIOLATED]),
        ("var.pools", [Outcome.UNKNOWN]),
        ("[]", []),
    ],
)
def test_a_group_in_a_target_pool_has_no_draining_whichever_file_has_the_pool(
    pools: str, outcomes: list[Outcome]
) -> None:
    assert [one.outcome for one in findings("GCP04", {"mig.tf": GROUP % pools})] == outcomes


def test_a_target_pool_is_reported_once() -> None:
    files = {"mig.tf": GROUP % "[google_compute_target_pool.web.self_link]", "pool.tf": POOL}
    assert [one.place.file for one in findings("GCP04", files)] == ["pool.tf"]


@pytest.mark.parametrize(
    ("limits", "outcome"),
    [
        ("", Outcome.VIOLATED),
        ("max_surge_fixed = 3", Outcome.MET),
        ("max_unavailable_fixed = 0", Outcome.MET),
        ("max_surge_percent = 20", Outcome.MET),
        ("max_unavailable_percent = 20", Outcome.VIOLATED),
    ],
)
def test_of_two_limits_that_are_left_out_the_api_takes_its_own(limits: str, outcome: Outcome) -> None:
    group = (
        'resource "google_compute_region_instance_group_manager" "app" {\n  name = "app"\n'
        f'  update_policy {{\n    type = "PROACTIVE"\n    minimal_action = "REPLACE"\n    {limits}\n  }}\n}}\n'
    )
    (found,) = findings("MIG01", {"mig.tf": group})
    assert found.outcome is outcome


HEALED = """\
resource "google_compute_instance_group_manager" "app" {
  name = "app"
  auto_healing_policies {
    health_check      = google_compute_health_check.%s.id
    initial_delay_sec = 300
  }
}
resource "google_compute_backend_service" "web" {
  name          = "web"
  health_checks = [google_compute_health_check.ready.self_link]
  backend { group = google_compute_instance_group_manager.app.instance_group }
}
"""


@pytest.mark.parametrize(("name", "outcome"), [("ready", Outcome.VIOLATED), ("alive", Outcome.UNKNOWN)])
def test_the_same_reference_is_the_same_health_check_even_if_no_file_has_it(name: str, outcome: Outcome) -> None:
    (found,) = findings("MIG08", {"mig.tf": HEALED % name})
    assert (found.outcome, found.place.line) == (outcome, 4)


BACKEND = """\
apiVersion: cloud.google.com/v1
kind: BackendConfig
metadata:
  name: shop
spec:
  timeoutSec: 20
  connectionDraining:
    drainingTimeoutSec: 60
  healthCheck:
    checkIntervalSec: 5
    requestPath: /ready
    port: 8080
"""
POLICY = """\
apiVersion: networking.gke.io/v1
kind: GCPBackendPolicy
metadata:
  name: shop
spec:
  default:
    timeoutSec: 20
    connectionDraining:
      drainingTimeoutSec: 60
  targetRef: {group: "", kind: Service, name: shop}
"""


@pytest.mark.parametrize(("manifest", "lines"), [(BACKEND, (6, 8)), (POLICY, (7, 9))])
def test_a_manifest_of_gke_is_judged_as_the_backend_service_that_it_sets_up(
    manifest: str, lines: tuple[int, int]
) -> None:
    found = audited({"backend.yaml": manifest})
    assert violations(found) == {("backend.yaml", lines[0], "GCP06"), ("backend.yaml", lines[1], "GCP02")}
    kind = "GCPBackendPolicy" if "default:" in manifest else "BackendConfig"
    assert {one.finding.object for one in found.judged if one.rule.id == "GCP02"} == {f"{kind} shop"}
    (fix,) = [one.finding.fix for one in found.judged if one.rule.id == "GCP02"]
    prefix = "spec.default." if kind == "GCPBackendPolicy" else "spec."
    assert fix.startswith(f"{prefix}connectionDraining.drainingTimeoutSec: ")


def test_a_health_check_of_gke_asks_by_http() -> None:
    files = {"backend.yaml": BACKEND}
    assert [one.outcome for one in findings("HC01", files)] == [Outcome.MET]
    assert [one.place.line for one in findings("HC02", files)] == [9]


def test_gke_drains_nothing_unless_a_manifest_says_so() -> None:
    manifest = BACKEND.partition("  connectionDraining")[0]
    (found,) = findings("GCP01", {"backend.yaml": manifest})
    assert (found.outcome, found.place.line) == (Outcome.VIOLATED, 6)


def test_pods_beside_a_backend_config_are_read_too() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - {name: web, image: nginx:1.29}\n"
    found = audited({"all.yaml": f"{BACKEND}---\n{pod}"})
    assert ("all.yaml", 8, "GCP02") in violations(found)
    assert found.view.stops
