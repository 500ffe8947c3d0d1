from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.json_page import insist
from typer.testing import CliRunner

from changeover.cli.main import cli

EXAMPLES = Path(__file__).parents[4] / "examples"

CHAIN = """
name: pair
listen: {listen}
tiers:
  - name: edge
    kind: nginx
    templates: {{v1: {{}}}}
  - name: runtime
    kind: app
    templates: {{v1: {{}}}}
{more}
"""


def validate(folder: Path, text: str | None = None, *, code: int = 0, **more: str) -> Any:
    file = folder / "chain.yaml"
    file.write_text(CHAIN.format(**{"listen": "127.0.0.1:0", "more": "", **more}) if text is None else text)
    result = CliRunner().invoke(cli, ["validate", "-f", str(file), "--json"])
    assert result.exit_code == code, result.output
    assert sorted(folder.iterdir()) == [file]
    return json.loads(result.stdout)


def test_a_chain_that_can_start_is_valid(tmp_path: Path, taken: str) -> None:
    printed = validate(tmp_path)
    assert printed["valid"] is True
    assert [tier["name"] for tier in printed["tiers"]] == ["edge", "runtime"]
    insist("validate", printed, validate(tmp_path, "tiers: 1", code=1), validate(tmp_path, listen=taken))


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*/chain.yaml")), ids=lambda file: file.parent.name)
def test_every_example_is_valid(example: Path) -> None:
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["validate", "-f", str(example)])
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", "", "the file is empty"),
        ("a: [", ":1", "this is not YAML"),
        ("tiers:\n- {name: a, kind: app, templates: {v1: {comand: [x]}}}", ":2", "no such key"),
        ("tiers:\n- {name: a, kind: nginx, templates: {v1: {}}}", ":2", "nginx is the last tier"),
    ],
)
def test_keys_and_rules_are_checked(tmp_path: Path, text: str, where: str, what: str) -> None:
    printed = validate(tmp_path, text, code=1)
    (problem, *_) = printed["problems"]
    assert (printed["valid"], printed["chain"]) == (False, None)
    assert problem["where"].endswith(f"chain.yaml{where}")
    assert what.split()[0] in problem["what"]


def test_software_that_is_missing_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    problems = validate(tmp_path, code=1)["problems"]
    assert len(problems) == 3
    assert "sudo apt-get install -y nginx haproxy && " in problems[-1]["next"]


def test_a_configuration_that_its_software_refuses_is_a_problem_of_its_template(tmp_path: Path) -> None:
    text = CHAIN.format(listen="127.0.0.1:0", more="")
    broken = text.replace(
        "nginx\n    templates: {v1: {}", "nginx\n    templates: {v1: {}, v2: {snippet: no_such_word;}"
    )
    (problem,) = validate(tmp_path, broken, code=1)["problems"]
    assert problem["where"].endswith("chain.yaml: tier edge, template v2")
    assert 'unknown directive "no_such_word"' in problem["what"]


def test_the_program_of_a_hook_must_exist(tmp_path: Path) -> None:
    hooks = "hooks: [{{point: before_tier, command: [{}]}}]"
    assert validate(tmp_path, more=hooks.format("sh"))["valid"]
    (problem,) = validate(tmp_path, more=hooks.format("./check.sh"), code=1)["problems"]
    assert problem["where"].endswith("hooks.0")


@pytest.mark.parametrize(
    ("program", "found"), [("sh", True), ("./run.sh", False), ("gunicrn", False), ("{shared}/a", True)]
)
def test_the_program_of_an_application_must_exist(tmp_path: Path, program: str, found: bool) -> None:
    text = CHAIN.format(listen="127.0.0.1:0", more="").replace(
        "app\n    templates: {v1: {}", f"app\n    templates: {{v1: {{command: ['{program}']}}"
    )
    printed = validate(tmp_path, text, code=int(not found))
    where = f"{tmp_path}/chain.yaml: tier runtime, template v1"
    assert [one["where"] for one in printed["problems"]] == [where] * (not found)


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_address_that_is_in_use_is_a_warning(tmp_path: Path, taken: str) -> None:
    printed = validate(tmp_path, listen=taken)
    assert printed["valid"]
    assert [one["where"] for one in printed["warnings"]] == ["listen"]


def test_a_file_that_is_not_there_cannot_be_checked(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["validate", "-f", str(tmp_path / "none.yaml")])
    assert result.exit_code == 2
    assert "changeover init" in result.stderr


def test_as_text_each_finding_is_a_line_and_the_last_line_is_the_result(tmp_path: Path, taken: str) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text(CHAIN.format(listen=taken, more=""))
    result = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["validate", "-f", str(file)])
    first, *_, last = result.stdout.splitlines()
    assert first.startswith("warning: listen: nothing can listen on 127.0.0.1:")
    assert last.endswith("valid. pair: edge (2 x nginx) -> runtime (2 x app)")
