"""Terraform: what is literal is resolved, and everything else stays open."""

from __future__ import annotations

import pytest

from changeover.conf.place import Unreadable
from changeover.conf.terraform.hcl import read
from changeover.conf.terraform.resources import TerraformResource, resources
from changeover.conf.terraform.syntax import HclFile
from changeover.conf.tree import Open

HEAD = 'resource "google_compute_backend_service" "a" {\n'


def evaluated(**files: str) -> list[TerraformResource]:
    found: list[HclFile] = []
    for name, text in files.items():
        found += read(text, name.replace("__", "/") + ".tf")
    return resources(found)


def value(expression: str, more: str = "") -> str | None:
    (found,) = evaluated(main=f"{more}\n{HEAD}x = {expression}\n}}\n")
    return found.body.text("x")


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("300", "300"),
        ('"a"', "a"),
        ("local.b", "5"),
        ("var.c", "7"),
        ('"${local.b}-x"', "5-x"),
        ("true ? 1 : 2", "1"),
        ("var.off ? 1 : 2", "2"),
        ("local.o.inner", "9"),
        ("google_compute_health_check.h[0].id", "google_compute_health_check.h"),
        ("pow(1, 2)", None),
        ("var.unset", None),
        ("local.loop", None),
        ("-1", "-1"),
        ("each.value.x", None),
        ("module.m.out", None),
    ],
)
def test_literal_values_are_resolved(expression: str, found: str | None) -> None:
    more = (
        'locals {\n b = 5\n o = { inner = 9 }\n loop = local.loop\n}\nvariable "c" { default = 7 }\n'
        'variable "off" { default = false }\nvariable "unset" {}\n'
    )
    assert value(expression, more) == found


def test_what_is_not_literal_is_open_with_its_expression() -> None:
    (found,) = evaluated(main=f"{HEAD}x = pow(1, 2)\n}}\n")
    inner = found.body.get("x")
    assert isinstance(inner, Open)
    assert (inner.expression, inner.place.line, inner.missing) == ("pow(1, 2)", 2, "the result of pow(…)")


def test_blocks_repeated_blocks_and_dynamic_ones_are_found() -> None:
    text = 'b { y = 1 }\nc { y = 2 }\nc { y = 3 }\ndynamic "d" {\n for_each = [1]\n content { y = 4 }\n}\n'
    (found,) = evaluated(main=HEAD + text + "}")
    assert found.body.number("b", "y") == 1
    assert [one.number("y") for one in found.body.maps("c")] == [2, 3]
    assert found.body.number("d", "y") == 4
    assert found.body.keys["d"].line == 7


def test_a_local_module_gets_its_arguments() -> None:
    (found,) = evaluated(
        main='module "lb" {\n source = "./lb"\n drain = 400\n}\n',
        lb__main=f'variable "drain" {{ default = 10 }}\n{HEAD}x = var.drain\n}}\n',
    )
    assert found.body.number("x") == 400


@pytest.mark.parametrize(
    ("version", "majors"),
    [("~> 5.0", (5, 5)), (">= 6.1, < 8.0", (6, 7)), (">= 5", (5, None)), ("< 6", (None, 5)), ("7.2.0", (7, 7))],
)
def test_the_versions_of_the_provider_are_known(version: str, majors: tuple[int | None, int | None]) -> None:
    head = f'terraform {{\n required_providers {{\n google = {{ version = "{version}" }}\n }}\n}}\n'
    (found,) = evaluated(main=f"{head}{HEAD}}}\n")
    assert found.majors == majors


def test_a_broken_file_is_refused() -> None:
    with pytest.raises(Unreadable, match="this is not HCL"):
        read("locals {\n a = = 1\n}\n", "a.tf")
