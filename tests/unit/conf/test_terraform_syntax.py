"""Templates, heredocs, JSON and labels without quotes are read as Terraform reads them."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.audit.expectations import audited

from changeover.audit.finding import Outcome
from changeover.conf.place import Unreadable
from changeover.conf.registry import reader_of
from changeover.conf.terraform.hcl import read
from changeover.conf.terraform.resources import TerraformResource, resources
from changeover.conf.terraform.syntax import HclFile
from changeover.conf.tree import Open

MORE = 'variable "on" { default = true }\nvariable "unset" {}\nlocals {\n  list = ["a", "b"]\n}\n'


def evaluated(files: dict[str, str]) -> list[TerraformResource]:
    found: list[HclFile] = []
    for name, text in files.items():
        reader = reader_of(text, name)
        assert reader is not None, name
        found += [one for one in reader.read(text, name) if isinstance(one, HclFile)]
    return resources(found)


def shown(one: TerraformResource, key: str = "x") -> str | None:
    node = one.body.get(key)
    return f"? {node.missing}" if isinstance(node, Open) else one.body.text(key)


def value(expression: str) -> str | None:
    text = f'{MORE}resource "google_compute_backend_service" "a" {{\n  x = {expression}\n}}\n'
    (one,) = evaluated({"main.tf": text})
    return shown(one)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("<<EOT\nEOT", ""),
        ("<<EOT\none\n  two\nEOT", "one\n  two\n"),
        ("<<-EOT\n    one\n      two ${var.on}\n\n    three\n  EOT", "one\n  two true\n\nthree\n"),
        ("<<-EOT\n  ${var.on} one\n  EOT", "true one\n"),
        ("<<EOT\na\\n$${b} %%{c}\nEOT", "a\\n${b} %{c}\n"),
        ("<<EOT\n%{ if var.on }yes%{ else }no%{ endif }\nEOT", "yes\n"),
        ("<<EOT\n%{ for one in local.list ~}\nserver ${one};\n%{ endfor ~}\nEOT", "server a;\nserver b;\n"),
        ('"${"a"} ${"b"}"', "a b"),
        ('"%{ if !var.on }a%{ endif }-"', "-"),
        ('"%{ for at, one in local.list }${at}${one},%{ endfor }"', "0a,1b,"),
        ('"%{ for one in local.list }%{ if one == "a" }x%{ else }y%{ endif }%{ endfor }"', "xy"),
        ('"a ${~ "b" ~} c"', "abc"),
        ('"%{ if var.unset }a%{ endif }"', "? a value of var.unset, which no given file sets"),
        ("<<EOT\n${var.unset}\nEOT", "? a value of var.unset, which no given file sets"),
        ('"%{ for one in var.unset }a%{ endfor }"', "? a value of var.unset, which no given file sets"),
        ('" "', " "),
    ],
)
def test_a_template_has_the_text_that_terraform_makes_of_it(expression: str, found: str) -> None:
    assert value(expression) == found


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ('jsondecode("{\\"drain\\": 300}").drain', "300"),
        ('jsondecode("[1, [true]]")[1][0]', "true"),
        ('jsondecode("{")', "? the value of this expression, which Terraform refuses"),
        ('yamldecode("drain: 300").drain', "300"),
        ("jsonencode({ b = 5, a = [true, null] })", '{"a":[true,null],"b":5}'),
        ("jsonencode({ a = var.unset })", "? a value of var.unset, which no given file sets"),
        ("jsondecode(var.unset).a", "? a value of var.unset, which no given file sets"),
        ('jsondecode(file("a.json")).drain', "? the text of a.json, which file(…) reads"),
        (
            'templatefile("${path.module}/nginx.conf", {})',
            "? the text of ${path.module}/nginx.conf, which templatefile(…) reads",
        ),
        ('substr("drain", 0, 2)', "dr"),
        ("chomp(<<EOT\na\nEOT\n)", "a"),
    ],
)
def test_encodings_are_computed_and_files_are_named(expression: str, found: str) -> None:
    assert value(expression) == found


BARE = """
variable drain {
  default = 60
}
resource google_compute_region_backend_service lb {
  x = var.drain
}
module other {
  source = "./none"
}
"""


def test_labels_need_no_quotes() -> None:
    one = evaluated({"main.tf": BARE})[0]
    assert (one.type, one.name, shown(one), one.place.line) == (
        "google_compute_region_backend_service",
        "lb",
        "60",
        5,
    )


@pytest.mark.parametrize(
    "text", ["variable drain {\n}\n", "module m {\n}\n", "output o {\n}\n", "provider google {\n}\n"]
)
def test_a_file_of_one_block_with_a_bare_label_is_terraform_by_its_name(text: str) -> None:
    assert reader_of(text, "part.tf") is not None
    other = reader_of(text, "part.conf")
    assert other is None or other.name != "Terraform"


CONFIGURATION = {
    "//": "made by a program",
    "terraform": {"required_providers": {"google": {"source": "hashicorp/google", "version": "~> 5.0"}}},
    "variable": {"drain": {"type": "number", "default": 60}, "hosts": {"type": "list(string)", "default": ["a", "b"]}},
    "locals": {"whole": "${var.drain + 240}"},
    "resource": {
        "google_compute_backend_service": {
            "a": [
                {
                    "x": "${local.whole}",
                    "y": "drain-${var.drain}\\n",
                    "z": "%{ if var.drain > 5 }long%{ endif }",
                    "log_config": [{"enable": True}],
                    "dynamic": {"backend": {"for_each": "${var.hosts}", "content": {"group": "${backend.value}"}}},
                }
            ]
        }
    },
}


def test_a_configuration_in_json_is_the_one_in_hcl() -> None:
    text = json.dumps(CONFIGURATION, indent=1)
    (one,) = evaluated({"main.tf.json": text})
    assert [shown(one, key) for key in "xyz"] == ["300", "drain-60\\n", "long"]
    assert one.body.flag("log_config", 0, "enable") is True
    assert [backend.text("group") for backend in one.body.maps("backend")] == ["a", "b"]
    assert one.majors == (5, 5)
    line = text[: text.index('"x"')].count("\n") + 1
    assert (one.body.keys["x"].line, one.body.keys["x"].file) == (line, "main.tf.json")


def test_files_in_both_languages_are_one_module() -> None:
    service = '{"resource": {"google_compute_backend_service": {"a": {"x": "${var.on}"}}}}'
    files = {"main.tf": MORE, "a.tf.json": service}
    (one,) = evaluated(files)
    assert shown(one) == "true"
    files["b_override.tf.json"] = service.replace("${var.on}", "5")
    (one,) = evaluated(files)
    assert shown(one) == "5"


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"resource": 5}',
        '{"resource": {"a": {"b": [5]}}}',
        '{"locals": {"a": "${"}}',
        '{"locals": {"a": 1, "a": 2}}',
    ],
)
def test_json_that_is_no_configuration_is_unreadable(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text, "main.tf.json")


@given(st.text(alphabet='$%{}~"\\ \n-abEOTifforendelse', max_size=60))
def test_any_text_in_a_template_is_read_or_refused(text: str) -> None:
    files = {
        "quoted.tf": f'locals {{\n  a = "{text}"\n}}\n',
        "heredoc.tf": f"locals {{\n  a = <<-EOT\n{text}\nEOT\n}}\n",
        "main.tf.json": json.dumps({"locals": {"a": text}}),
    }
    for name, whole in files.items():
        with suppress(Unreadable):
            read(whole, name)


SERVICE = """
variable "drain" {}
resource "google_compute_health_check" "check" {
  http_health_check {
    port = 80
  }
  check_interval_sec = var.drain
}
resource "google_compute_backend_service" "web" {
  protocol                        = "HTTP"
  timeout_sec                     = 30
  connection_draining_timeout_sec = var.drain
  health_checks                   = [google_compute_health_check.check.id]
}
"""
CALLS = """
module "blue" {
  source = "./lb"
  drain  = 30
}
module "green" {
  source = "./lb"
  drain  = 900
}
"""


def test_a_module_that_is_called_twice_is_judged_with_the_values_of_each_call() -> None:
    found = audited({"main.tf": CALLS, "lb/main.tf": SERVICE}, {})
    drains = {one.finding.object: one.finding.outcome for one in found.judged if one.rule.id == "GCP02"}
    assert drains == {
        "backendService module.blue.google_compute_backend_service.web": Outcome.VIOLATED,
        "backendService module.green.google_compute_backend_service.web": Outcome.MET,
    }
    cloud = found.view.google
    for service in cloud.of("backendService"):
        (check,) = cloud.checks(service, "healthChecks")
        assert check.address.split(".")[:2] == service.address.split(".")[:2]
