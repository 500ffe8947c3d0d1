"""What `render` decides. The document itself: tests/unit/hops and docs/kong.md."""

from __future__ import annotations

import json

import yaml
from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT, DONE


def test_software_without_a_configuration_to_print_is_refused(chain: StandingChain) -> None:
    refused = chain.run("render", "nginx")
    assert refused.code == COULD_NOT
    assert "nginx" in refused.err
    assert "kong" in refused.err


def test_as_text_and_with_json_it_is_the_same_document(chain: StandingChain) -> None:
    text, as_json = chain.run("render", "kong"), chain.run("render", "kong", "--json")
    assert (text.code, as_json.code) == (DONE, DONE)
    assert yaml.safe_load(text.out) == json.loads(as_json.out)
    assert yaml.safe_load(text.out)["_format_version"] == "3.0"
