"""A value that is not known, or that a template fills in, is never a pass: the rule says what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Finding, Outcome
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.conf.place import Unreadable

_ATTRIBUTE = re.compile(r"=\s*[^={}]*$")
IN_TERRAFORM = [one for one in all_rules() if any(file.endswith(".tf") for file in one.good)]


def opened(files: Mapping[str, str]) -> list[dict[str, str]]:
    """The files with each attribute of Terraform in turn set by a variable that nothing sets."""
    found = []
    for file, text in files.items():
        lines = text.split("\n")
        for at, line in enumerate(lines if file.endswith(".tf") else ()):
            if (new := _ATTRIBUTE.sub("= var.unset", line)) != line:
                found.append({**files, file: "\n".join([*lines[:at], new, *lines[at + 1 :]])})
    return found


@pytest.mark.parametrize("rule", IN_TERRAFORM, ids=lambda rule: rule.id)
def test_a_rule_is_never_silent_about_a_value_that_is_open(rule: Rule) -> None:
    for files in opened(rule.good):
        assert audited(files, rule.assume, [rule]).judged, files


def findings(rule: str, text: str, file: str = "a.tf", **assume: str) -> list[Finding]:
    return [one.finding for one in audited({file: text}, assume).judged if one.rule.id == rule]


SERVICE = """\
resource "google_compute_backend_service" "web" {
  protocol                        = %s
  timeout_sec                     = 460
  connection_draining_timeout_sec = %s
  health_checks                   = %s
  backend {
    group = google_compute_instance_group_manager.app.instance_group
  }
}
resource "google_compute_health_check" "ready" {
  check_interval_sec = %s
  http_health_check {
    port = 80
  }
}
resource "google_compute_instance_group_manager" "app" {
  target_size = 12
  update_policy {
    type                  = "PROACTIVE"
    minimal_action        = "REPLACE"
    max_surge_fixed       = %s
    max_unavailable_fixed = 0
    min_ready_sec         = 60
  }
}
"""
KNOWN = ('"HTTP"', "460", "[google_compute_health_check.ready.id]", "5", "3")


@pytest.mark.parametrize(
    ("rule", "at", "value", "missing"),
    [
        ("GCP07", 0, "var.x", "var.x"),
        ("MIG13", 1, "var.x", "the drain"),
        ("HC01", 2, "var.x", "var.x"),
        ("HC01", 2, "[var.x]", "var.x"),
        ("HC01", 2, "[data.google_compute_health_check.h.id]", "data.google_compute_health_check.h"),
        ("HC02", 2, "var.x", "var.x"),
        ("MIG06", 2, "var.x", "health check"),
        ("MIG06", 3, "var.x", "health check"),
        ("MIG13", 3, "var.x", "health checks"),
        ("MIG02", 4, "var.x", "var.x"),
    ],
)
def test_an_open_value_is_what_is_missing(rule: str, at: int, value: str, missing: str) -> None:
    values = [*KNOWN]
    values[at] = value
    found = findings(rule, SERVICE % tuple(values), window="200h")
    (one,) = [one for one in found if one.outcome is Outcome.UNKNOWN]
    assert missing in one.missing
    closed = findings(rule, SERVICE % KNOWN, window="200h", **{"prestop-wait": "60s"})
    assert [one.outcome for one in closed if one.outcome is not Outcome.MET] == []


def test_retry_conditions_of_a_variable_are_no_empty_list() -> None:
    text = 'resource "google_compute_url_map" "m" {\n  default_route_action {\n    retry_policy {\n'
    text += "      retry_conditions = var.x\n    }\n  }\n}\n"
    (one,) = findings("GCP12", text)
    assert (one.outcome, "var.x" in one.missing) == (Outcome.UNKNOWN, True)


@pytest.mark.parametrize("value", ["{{ policy }}", "{{policy}}", "{% if a %}NEVER{% endif %}", "<%= policy %>"])
def test_a_template_in_a_text_of_terraform_is_no_value(value: str) -> None:
    text = 'resource "google_compute_region_backend_service" "l4" {\n  load_balancing_scheme = "INTERNAL"\n'
    text += "  connection_tracking_policy {\n    connection_persistence_on_unhealthy_backends = "
    (one,) = findings("GCP09", f'{text}"{value}"\n  }}\n}}\n')
    assert (one.outcome, "render" in one.missing) == (Outcome.UNKNOWN, True)


def test_a_template_in_a_label_of_terraform_is_unreadable() -> None:
    with pytest.raises(Unreadable, match="template"):
        findings("GCP02", 'resource "google_compute_backend_service" "{{ name }}" {\n}\n')


COMPOSE = "services:\n  edge:\n    image: nginx:1.29\n    ports:\n      - %s\n"


@pytest.mark.parametrize(
    "port",
    [
        '"127.0.0.1:${PORT}:80"',
        '"127.0.0.1:${PORT:-8080}:80"',
        '"127.0.0.1:8080:$PORT"',
        '{host_ip: 127.0.0.1, published: "${PORT}", target: 80}',
    ],
)
def test_a_port_of_a_variable_is_not_passed_over(port: str) -> None:
    (one,) = findings("HC04", COMPOSE % port, "docker-compose.yml")
    assert (one.outcome, one.place.line) == (Outcome.UNKNOWN, 5)
