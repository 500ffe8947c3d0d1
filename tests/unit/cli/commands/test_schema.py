from __future__ import annotations

import json

from typer.testing import CliRunner

from changeover.cli.main import cli


def test_with_and_without_json_it_prints_the_same_schema() -> None:
    plain, as_json = (CliRunner().invoke(cli, ["schema", *options]).stdout for options in ([], ["--json"]))
    assert plain == as_json
    assert json.loads(plain)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_of_a_probe_yaml_has_its_keys_and_needs_a_url() -> None:
    found = json.loads(CliRunner().invoke(cli, ["schema", "probe"]).stdout)
    assert found["required"] == ["url"]
    assert {"get", "post", "rate", "tls", "version_pattern"} <= set(found["properties"])
    assert found["additionalProperties"] is False
