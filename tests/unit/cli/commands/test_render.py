"""What `render` decides. The document itself: tests/unit/hops and docs/kong.md."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml
from tests.unit.cli.standing import ON_GOOGLE, StandingChain, standing_chain

from changeover.cli.exits import COULD_NOT, DONE
from changeover.hops.nginx import binary


def test_software_without_a_configuration_to_print_is_refused(chain: StandingChain) -> None:
    refused = chain.run("render", "relay")
    assert refused.code == COULD_NOT
    assert "There is: envoy, haproxy, haproxy-tcp, kong, nginx, nginx-stream." in refused.err
    assert "the chain has no tier of kind nginx" in chain.run("render", "nginx").err


def test_an_envoy_in_front_of_the_last_tier_is_a_whole_bootstrap(chain: StandingChain) -> None:
    found = yaml.safe_load(chain.run("render", "envoy").out)["static_resources"]
    assert [one["name"] for one in found["clusters"]] == [one["name"] for one in found["listeners"]]


def test_as_text_and_with_json_it_is_the_same_document(chain: StandingChain) -> None:
    text, as_json = chain.run("render", "kong"), chain.run("render", "kong", "--json")
    assert (text.code, as_json.code) == (DONE, DONE)
    assert yaml.safe_load(text.out) == json.loads(as_json.out)
    assert yaml.safe_load(text.out)["_format_version"] == "3.0"


def test_the_files_of_nginx_are_printed_and_written_so_that_nginx_can_check_them(chain: StandingChain) -> None:
    printed = chain.run("render", "nginx-stream").out
    assert "# template v1 of tier edge" in printed
    assert "# configuration file nginx.conf:" in printed
    written = chain.run("render", "nginx-stream", "--output", chain.folder / "out")
    folder = chain.folder / "out/edge/v2"
    assert f"cd {folder} && " in written.out.replace("\n", "")
    subprocess.run([binary.find().path, "-p", ".", "-c", "nginx.conf", "-e", "stderr", "-t"], cwd=folder, check=True)


def test_as_json_the_files_of_each_template_are_keyed_by_tier_and_template(chain: StandingChain) -> None:
    found = chain.run("render", "nginx-stream", "--json").json
    assert {tier: list(templates) for tier, templates in found.items()} == {"edge": ["v1", "v2"]}
    assert set(found["edge"]["v1"]) == {"changes", "files"}


def test_a_chain_of_this_machine_becomes_terraform_with_the_project_and_the_place_that_options_name(
    chain: StandingChain,
) -> None:
    place = ("--project", "shop", "--zone", "europe-west1-b")
    printed = chain.run("render", "gcp", *place)
    assert printed.code == DONE
    written = chain.run("render", "gcp", *place, "--output", chain.folder / "out", "--json")
    assert json.loads(written.out)["main.tf"] == printed.out == (chain.folder / "out/main.tf").read_text()


def test_terraform_without_a_place_and_options_of_terraform_elsewhere_are_refused(chain: StandingChain) -> None:
    refused = chain.run("render", "gcp", "--project", "shop")
    assert refused.code == COULD_NOT
    assert "Google Cloud needs `region` or `zone`" in refused.err
    assert "--project, and --region or --zone" in refused.err
    for options in (("--zone", "europe-west1-b"), ("--upload-size", "1MB"), ("--set", "edge.port=1")):
        assert chain.run("render", "kong", *options).code == COULD_NOT


def test_a_chain_on_google_cloud_has_no_units_of_this_machine(tmp_path: Path) -> None:
    printed = standing_chain(tmp_path, ON_GOOGLE).run("render", "systemd", "--output", tmp_path / "out")
    assert printed.code == COULD_NOT
    assert "its groups replace VMs that die" in printed.err
    assert "changeover render agent" in printed.err
    assert not (tmp_path / "out").exists()
