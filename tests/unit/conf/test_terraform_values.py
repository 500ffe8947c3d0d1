"""Expressions of Terraform have the value that Terraform gives them, or say what is missing."""

from __future__ import annotations

import time

import pytest

from changeover.conf.terraform.hcl import read
from changeover.conf.terraform.resources import TerraformResource, resources
from changeover.conf.terraform.syntax import HclFile
from changeover.conf.tree import Open

MORE = """
locals {
  five  = 5
  text  = "five"
  ports = { http = 80, grpc = 81 }
  zones = ["a", "b"]
  whole = { web = { drain = 300, tags = ["x"] }, api = { drain = 60 } }
  self  = local.self
  a     = local.b
  b     = local.a
}
variable "on" { default = true }
variable "nothing" { default = null }
variable "unset" {}
"""
CHECKS = """
resource "google_compute_health_check" "h" {}
resource "google_compute_health_check" "none" {
  count = var.on ? 0 : 1
}
resource "google_compute_health_check" "two" {
  count = 2
  port  = 80 + count.index
}
"""
HELD = "? what an attribute of google_compute_health_check.h holds"
UNSET = "? a value of var.unset, which no given file sets"
REFUSED = "? the value of this expression, which Terraform refuses"


def evaluated(**files: str) -> list[TerraformResource]:
    found: list[HclFile] = []
    for name, text in files.items():
        found += read(text, name.replace("__", "/") + ".tf")
    return resources(found)


def block(body: str, name: str = "a") -> str:
    return f'resource "google_compute_backend_service" "{name}" {{\n{body}\n}}\n'


def shown(one: TerraformResource) -> str | None:
    """The value of x; what is missing where there is none."""
    node = one.body.get("x")
    return f"? {node.missing}" if isinstance(node, Open) else one.body.text("x")


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("1 + 2 * 3 - 4", "3"),
        ("(1 + 2) * 3", "9"),
        ("7 / 2", "3.5"),
        ("7 % 4", "3"),
        ("-local.five", "-5"),
        ('"2" + 1', "3"),
        ("local.five * 60 + 30", "330"),
        ("local.five > 4 && !false ? 1 : 2", "1"),
        ("var.unset && false ? 1 : 2", "2"),
        ('local.text == "five" ? 1 : 2', "1"),
        ('"5" == 5 ? 1 : 2', "2"),
        ("var.nothing == null ? 1 : 2", "1"),
        ("local.ports.http", "80"),
        ('local.ports["grpc"]', "81"),
        ("local.zones[1]", "b"),
        ("local.zones.0", "a"),
        ("{ a = { b = 3 } }.a.b", "3"),
        ('"${local.five}0s"', "50s"),
        ('"${local.five}"', "5"),
        (r'"a\"b$${c}"', 'a"b${c}'),
        ("max(1, local.five, 3)", "5"),
        ("min([4, 2]...)", "2"),
        ("ceil(1.2) + floor(1.8) + abs(-1)", "4"),
        ('tonumber("12")', "12"),
        ("tostring(12)", "12"),
        ("coalesce(null, var.nothing, 7)", "7"),
        ('coalesce("", "b")', "b"),
        ("try(local.whole.api.tags, local.whole.web.drain)", "300"),
        ("try(local.zones[7], 4)", "4"),
        ("can(local.whole.none) ? 1 : 2", "2"),
        ('lookup(local.ports, "none", 9)', "9"),
        ('lookup(local.ports, "http", 9)', "80"),
        ("merge(local.ports, { http = 90 }).http", "90"),
        ("merge([{ a = 1 }, { a = 2 }]...).a", "2"),
        ("length(local.whole)", "2"),
        ("keys(local.ports)[0]", "grpc"),
        ("values(local.ports)[0]", "81"),
        ("element(local.zones, 3)", "b"),
        ('contains(local.zones, "b") ? 1 : 2', "1"),
        ("concat(local.zones, [3])[2]", "3"),
        ("flatten([[1], [[2]]])[1]", "2"),
        ("one([4])", "4"),
        ("sum([1, 2])", "3"),
        ('join("-", local.zones)', "a-b"),
        ('split(",", "a,b")[1]', "b"),
        ('format("%s-%03d", local.text, 7)', "five-007"),
        ('replace("a.b", ".", "-")', "a-b"),
        ('upper(trimspace(" a "))', "A"),
        ("[for one in local.zones : upper(one)][1]", "B"),
        ('[for name, one in local.whole : one.drain if name != "api"][0]', "300"),
        ("{ for name, one in local.whole : upper(name) => one.drain }.API", "60"),
        ("var.nothing", None),
        ("local.self", "? the value of local.self, which refers to itself"),
        ("local.a", "? the value of local.a, which refers to itself"),
        ("local.none", "? a value of local.none, which no given file has"),
        ("var.unset + 1", UNSET),
        ("try(var.unset, 4)", UNSET),
        ("coalesce(var.unset, 4)", UNSET),
        ("var.unset ? 1 : 2", UNSET),
        ("var.unset && true ? 1 : 2", UNSET),
        ('"${var.unset}s"', UNSET),
        ("max(1, var.unset)", UNSET),
        ('file("a")', "? the text of a, which file(…) reads"),
        ("terraform.workspace", "? the value of terraform.workspace"),
        ("module.none.out", "? the files of module.none"),
        ("1 / 0", REFUSED),
        ('max("a", 1)', REFUSED),
        ("local.ports.none", REFUSED),
        ("max()", REFUSED),
        ("range(100000000)", REFUSED),
        ("google_compute_health_check.h.port + 1", HELD),
        (
            'google_compute_health_check.h.name == "h" ? 1 : 2',
            HELD,
        ),
        ("length(data.google_compute_zones.z.names)", "? what an attribute of data.google_compute_zones.z holds"),
        ("max(google_compute_health_check.h[*].port...)", HELD),
        ("coalesce(google_compute_health_check.h.id, 1)", "google_compute_health_check.h"),
        ("concat(google_compute_health_check.h[*].id, [1])[0]", "google_compute_health_check.h"),
        ("try(google_compute_health_check.none[0].id, 4)", "4"),
        ("length(google_compute_health_check.none.*.id)", "0"),
        ("google_compute_health_check.two[1].id", "google_compute_health_check.two[1]"),
        ("one(google_compute_health_check.two.*.id)", REFUSED),
        ('"%{ if true }a%{ endif }"', "a"),
        ('replace("a", "/a/", "b")', "? the result of replace(…)"),
    ],
)
def test_an_expression_has_its_value_or_says_what_is_missing(expression: str, found: str | None) -> None:
    (one,) = [one for one in evaluated(main=MORE + CHECKS + block(f"x = {expression}")) if one.name == "a"]
    assert shown(one) == found


@pytest.mark.parametrize(
    ("more", "body", "found"),
    [
        ("count = 0", "x = 1", {}),
        ("count = var.on ? 1 : 0", "x = count.index", {"": "0"}),
        ("count = var.on ? 0 : 1", "x = 1", {}),
        ("count = 3", "x = 10 + count.index", {"": "10", "[1]": "11", "[2]": "12"}),
        ("count = 3", 'x = 1\n name = "a-${count.index}"', {"": "1"}),
        ("count = var.unset", "x = 1", {"": "1"}),
        ("count = var.unset", "x = count.index", {"": UNSET}),
        ("for_each = local.ports", "x = each.value", {'["grpc"]': "81", '["http"]': "80"}),
        ("for_each = local.whole", "x = each.value.drain", {'["api"]': "60", '["web"]': "300"}),
        ("for_each = local.whole", "x = try(each.value.tags[0], each.key)", {'["api"]': "api", '["web"]': "x"}),
        ("for_each = toset(local.zones)", "x = each.key", {'["a"]': "a", '["b"]': "b"}),
        ("for_each = toset(local.zones)", "x = 1", {"": "1"}),
        ("for_each = {}", "x = 1", {}),
        ("for_each = var.unset", "x = each.value.y", {"": UNSET}),
    ],
)
def test_each_instance_has_its_own_values(more: str, body: str, found: dict[str, str]) -> None:
    assert {one.index: shown(one) for one in evaluated(main=MORE + block(f"{more}\n{body}"))} == found


@pytest.mark.parametrize(
    ("among", "iterator", "value", "found"),
    [
        ("local.ports", "", "b.value", ["81", "80"]),
        ("local.zones", "iterator = z", "z.key", ["0", "1"]),
        ("[]", "", "1", []),
        ("var.on ? [5] : []", "", "b.value", ["5"]),
        ("var.unset", "", "4", ["4"]),
        ("var.unset", "", "b.value", [None]),
    ],
)
def test_a_dynamic_block_stands_once_for_each_value(
    among: str, iterator: str, value: str, found: list[str | None]
) -> None:
    body = f'dynamic "b" {{\n for_each = {among}\n {iterator}\n content {{ y = {value} }}\n}}\n'
    (one,) = evaluated(main=MORE + block(body))
    assert [inner.text("y") for inner in one.body.maps("b")] == found


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("var.s.web.drain + 1", "61"),
        ("var.s.api.drain", "300"),
        ("var.s.api.port", None),
        ("coalesce(var.s.api.port, 8080)", "8080"),
        ("var.s.web.to.a", "x"),
    ],
)
def test_optional_attributes_have_their_defaults(expression: str, found: str | None) -> None:
    variable = """variable "s" {
  type = map(object({
    drain = optional(number, 300)
    port  = optional(number)
    to    = optional(object({ a = optional(string, "x") }), {})
  }))
  default = { web = { drain = "60" }, api = {} }
}
"""
    (one,) = evaluated(main=variable + block(f"x = {expression}"))
    assert shown(one) == found


@pytest.mark.parametrize(("more", "found"), [("nullable = false", "7"), ("", None)])
def test_a_null_argument_takes_the_default_of_a_variable_that_is_not_nullable(more: str, found: str | None) -> None:
    call = 'module "m" {\n source = "./m"\n d = null\n}\n'
    (one,) = evaluated(main=call, m__main=f'variable "d" {{\n default = 7\n {more}\n}}\n' + block("x = var.d"))
    assert shown(one) == found


def test_outputs_of_local_modules_are_read_also_in_both_directions() -> None:
    root = """module "a" {
  source = "./a"
  drain  = module.b.drain + 10
}
module "b" {
  source = "./b"
  port   = module.a.port
}
"""
    a = 'variable "drain" {}\noutput "port" { value = 80 }\n' + block("x = var.drain")
    b = 'variable "port" {}\noutput "drain" { value = 300 }\n' + block("x = var.port", "b")
    assert {one.name: shown(one) for one in evaluated(main=root, a__main=a, b__main=b)} == {"a": "310", "b": "80"}


def test_a_module_is_evaluated_for_each_of_its_instances() -> None:
    root = """module "m" {
  source   = "./m"
  for_each = { web = 300, api = 60 }
  drain    = each.value
}
""" + block('x = module.m["web"].out + 1', "root")
    inner = 'variable "drain" {}\noutput "out" { value = var.drain }\n' + block("x = var.drain")
    found = [(one.name, shown(one)) for one in evaluated(main=root, m__main=inner)]
    assert found == [("root", "301"), ("a", "60"), ("a", "300")]


def test_a_reference_through_an_output_names_the_resource() -> None:
    root = 'module "m" {\n source = "./m"\n}\n' + block("x = module.m.group")
    inner = 'output "group" { value = google_compute_region_instance_group_manager.web.instance_group }\n'
    (one,) = evaluated(main=root, m__main=inner)
    assert shown(one) == "module.m.google_compute_region_instance_group_manager.web"


def test_override_files_are_merged_as_terraform_does() -> None:
    declared = 'variable "v" { default = 1 }\nlocals { l = 1 }\n'
    (found,) = evaluated(
        override=block("x = 3"),
        main=declared + block("x = 1\n y = 1\n b { z = 1 }\n c { z = 1 }"),
        b_override=block("x = 2\n b { z = 2 }\n b { z = 3 }"),
        a_override='variable "v" { default = 9 }\nlocals { l = 8 }\n' + block("v = var.v\n l = local.l"),
    )
    assert [found.body.text(key) for key in "xyvl"] == ["3", "1", "9", "8"]
    assert [one.text("z") for one in found.body.maps("b")] == ["2", "3"]
    assert [one.text("z") for one in found.body.maps("c")] == ["1"]
    assert (found.place.file, found.body.keys["x"].file) == ("main.tf", "override.tf")


DOUBLED = "".join(f' l{n} = "${{local.l{n + 1}}}${{local.l{n + 1}}}"\n' for n in range(80))
PAIRS = "".join(f" l{n} = [local.l{n + 1}, local.l{n + 1}]\n" for n in range(80))
CHAIN = "".join(f" l{n} = local.l{n + 1}\n" for n in range(3000))
LOOPS = "r = range(9000)\n l0 = [for a in local.r : [for b in local.r : [for c in local.r : 1 if false]]]\n"


@pytest.mark.parametrize(
    "text",
    [
        f'locals {{\n{DOUBLED} l80 = "x"\n}}\n',
        f"locals {{\n{PAIRS} l80 = 1\n}}\n",
        f"locals {{\n{CHAIN} l3000 = 1\n}}\n",
        f"locals {{\n{LOOPS}}}\n",
        f"locals {{\n l0 = {'-' * 25}(1)\n}}\n",
        'module "m" {\n source = "./m"\n}\nlocals {\n l0 = 1\n}\n',
    ],
)
def test_what_grows_without_end_is_open_in_a_short_time(text: str) -> None:
    start = time.process_time()
    calls = "".join(f'module "{name}" {{\n source = "../m"\n}}\n' for name in "abcd")
    found = evaluated(main=text + block("x = local.l0\n count = 150"), m__main=calls + block("y = 1", "b"))
    assert found
    assert time.process_time() - start < 5
