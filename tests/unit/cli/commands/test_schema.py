from __future__ import annotations

import json

from typer.testing import CliRunner

from changeover.cli.main import cli


def test_with_and_without_json_it_prints_the_same_schema() -> None:
    plain, as_json = (CliRunner().invoke(cli, ["schema", *options]).stdout for options in ([], ["--json"]))
    assert plain == as_json
    assert json.loads(plain)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
