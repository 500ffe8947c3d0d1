"""Variables of Terraform: the files that it loads by itself decide, and others leave a variable open."""

from __future__ import annotations

from pathlib import Path

import pytest

from changeover.audit.files import load
from changeover.conf.place import Unreadable
from changeover.conf.registry import reader_of
from changeover.conf.terraform.resources import resources
from changeover.conf.terraform.syntax import HclFile
from changeover.conf.tree import Open

MAIN = 'variable "drain" {\n  default = 60\n}\nresource "google_compute_backend_service" "a" {\n  x = var.drain\n}\n'


def value(files: dict[str, str]) -> str | None:
    """The value of x; what is missing where it is open."""
    read: list[HclFile] = []
    for name, text in files.items():
        reader = reader_of(text, name)
        assert reader is not None, name
        read += [one for one in reader.read(text, name) if isinstance(one, HclFile)]
    (found,) = resources(read)
    node = found.body.get("x")
    return f"open: {node.missing}" if isinstance(node, Open) else found.body.text("x")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "60"),
        ({"terraform.tfvars": "drain = 900\n"}, "900"),
        ({"terraform.tfvars": "# none\nother = 1\n"}, "60"),
        ({"terraform.tfvars.json": '{"drain": 900}'}, "900"),
        ({"terraform.tfvars": "drain = 1\n", "terraform.tfvars.json": '{"drain": 2}'}, "2"),
        ({"a.auto.tfvars": "drain = 3\n", "terraform.tfvars": "drain = 1\n"}, "3"),
        ({"b.auto.tfvars": "drain = 4\n", "a.auto.tfvars": "drain = 3\n"}, "4"),
        ({"b.auto.tfvars.json": '{"drain": 5}', "a.auto.tfvars": "drain = 3\n"}, "5"),
        ({"elsewhere/main.tf": "locals {}\n", "elsewhere/terraform.tfvars": "drain = 1\n"}, "60"),
        ({"prod.tfvars": "drain = 5\n"}, "open: whether -var-file names prod.tfvars, which sets var.drain"),
        ({"prod.tfvars": "other = 5\n"}, "60"),
        (
            {"terraform.tfvars": "drain = 1\n", "env/prod.tfvars": "drain = 5\n"},
            "open: whether -var-file names prod.tfvars, which sets var.drain",
        ),
        (
            {"env/terraform.tfvars": "drain = 5\n"},
            "open: whether -var-file names terraform.tfvars, which sets var.drain",
        ),
        ({"terraform.tfvars": "drain = max(1, 2)\n"}, "open: a plain value instead of max(1, 2)"),
    ],
)
def test_files_of_variables_are_taken_in_the_order_of_terraform(files: dict[str, str], found: str) -> None:
    assert value({"main.tf": MAIN, **files}) == found
    assert value({**files, "main.tf": MAIN}) == found
    under = {f"live/{name}": text for name, text in {"main.tf": MAIN, **files}.items()}
    assert value(under) == found


def test_objects_and_lists_of_variables_are_read() -> None:
    main = MAIN.replace("var.drain", "var.drain.inner")
    assert value({"main.tf": main, "terraform.tfvars": "drain = {\n  inner = 7\n}\n"}) == "7"
    assert value({"main.tf": main, "terraform.tfvars.json": '{"drain": {"inner": "7", "l": [1, null]}}'}) == "7"


def test_variables_are_those_of_the_root_and_not_of_a_module_that_it_calls() -> None:
    root = 'variable "d" {\n  default = 1\n}\nmodule "m" {\n  source = "./m"\n  drain  = var.d\n}\n'
    given = {"main.tf": root, "m/main.tf": MAIN, "m/terraform.tfvars": "drain = 2\n"}
    assert value(given) == "1"
    assert value({**given, "terraform.tfvars": "d = 3\n"}) == "3"


@pytest.mark.parametrize(
    ("file", "text"),
    [("terraform.tfvars", "drain = = 5"), ("a.auto.tfvars.json", "[1]"), ("a.auto.tfvars.json", '{"a": 1, "a": 2}')],
)
def test_broken_files_of_variables_are_refused(file: str, text: str) -> None:
    reader = reader_of(text, file)
    assert reader is not None
    with pytest.raises(Unreadable):
        reader.read(text, file)


def test_variables_beside_a_file_that_is_given_alone_are_read(tmp_path: Path) -> None:
    main = tmp_path / "main.tf"
    main.write_text(MAIN)
    (tmp_path / "terraform.tfvars").write_text("drain = 900\n")
    (tmp_path / "prod.tfvars").write_text("other = 900\n")
    loaded = load([main])
    assert not loaded.unreadable
    (found,) = resources([one for one in loaded.documents if isinstance(one, HclFile)])
    assert found.body.text("x") == "900"
    (tmp_path / "x.auto.tfvars").write_text("drain = {\n")
    assert [one.place.file for one in load([main]).unreadable] == [str(tmp_path / "x.auto.tfvars")]


def test_overrides_beside_a_file_that_is_given_alone_are_read(tmp_path: Path) -> None:
    main = tmp_path / "main.tf"
    main.write_text(MAIN)
    (tmp_path / "a_override.tf").write_text('variable "drain" {\n  default = 70\n}\n')
    (tmp_path / "override.tf").write_text("# nothing\n")
    loaded = load([main])
    assert not loaded.unreadable
    (found,) = resources([one for one in loaded.documents if isinstance(one, HclFile)])
    assert found.body.text("x") == "70"
