from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.json_page import insist
from typer.testing import CliRunner, Result

from changeover.cli.main import cli


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder := tmp_path / "2 My Shop").mkdir()
    monkeypatch.chdir(folder)


def init(*words: str, code: int = 0) -> Result:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["init", *words])
    assert result.exit_code == code, result.output
    return result


def test_what_it_writes_passes_validate_and_what_it_prints_leads_on() -> None:
    printed = init("--app", "sh run.sh", "--port", "0").stdout
    assert "changeover up" in printed
    assert Path("chain.yaml").read_text("utf-8").startswith("# my-shop: ")
    result = CliRunner().invoke(cli, ["validate", "--json"])
    assert [one["what"] for one in json.loads(result.stdout)["problems"]] == []


def test_a_file_that_exists_is_replaced_only_by_force() -> None:
    Path("chain.yaml").write_text("mine", "utf-8")
    assert "the file exists" in init("--app", "a", code=2).stderr
    assert Path("chain.yaml").read_text("utf-8") == "mine"
    init("--app", "a", "--force")
    assert "command: [a]" in Path("chain.yaml").read_text("utf-8")


def test_the_json_names_the_tiers_and_the_next_commands() -> None:
    printed: Any = json.loads(init("--app", "a", "--gateway", "envoy", "-f", "my chain.yaml", "--json").stdout)
    assert [tier["kind"] for tier in printed["tiers"]] == ["nginx", "envoy", "app"]
    assert printed["next"][0] == "changeover validate -f 'my chain.yaml'"
    insist("init", printed)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the command of the application is missing"),
        (("--app", "a 'b"), "the command cannot be read: No closing quotation"),
        (("--app", "a", "--ready", "healthz"), "health.path"),
        (("--app", "a", "--port", "70000"), "less than or equal to 65535"),
        (("--app", "a", "--edge", "apache"), "apache"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(words: tuple[str, ...], message: str) -> None:
    assert message in init(*words, code=2).stderr
    assert not Path("chain.yaml").exists()
