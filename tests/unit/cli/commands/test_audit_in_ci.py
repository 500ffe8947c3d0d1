"""The hook for pre-commit, and the examples for CI in docs/audit.md: what they run is accepted and finds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from changeover.cli.main import cli

ROOT = Path(__file__).parents[4]
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
EXAMPLES: dict[str, Any] = {
    name: yaml.safe_load(block)
    for block in re.findall(r"```yaml\n(# \.[^`]+)```", (ROOT / "docs/audit.md").read_text(encoding="utf-8"))
    if (name := block.partition("\n")[0].removeprefix("# ")) in {".pre-commit-config.yaml", ".gitlab-ci.yml"}
    or name.startswith(".github/")
}
CONF = "http {\n    client_max_body_size 1m;\n    server { listen 80; location / { proxy_pass http://10.0.0.5; } }\n}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("deploy").mkdir()
    Path("deploy/nginx.conf").write_text(CONF, encoding="utf-8")
    return tmp_path


def run(words: list[str]) -> str:
    assert words[:2] == ["changeover", "audit"]
    result = CliRunner().invoke(cli, words[1:])
    assert result.exit_code == 1, result.output
    return result.stdout


def test_the_hook_reads_the_folder_and_fails_at_a_finding() -> None:
    assert "deploy/nginx.conf:2  NGX07" in run([*HOOK["entry"].split(), *HOOK["args"]])
    assert HOOK["pass_filenames"] is False


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("deploy/nginx.conf", True),
        ("haproxy.cfg", True),
        ("app.service", True),
        ("infra/lb.tf", True),
        ("infra/ci.auto.tfvars", True),
        ("docker/entrypoint.sh", True),
        ("docker-compose.yml", True),
        ("envoy.yaml", True),
        ("gunicorn.conf.py", True),
        ("images/Dockerfile", True),
        ("Dockerfile.web", True),
        ("README.md", False),
        ("src/app.py", False),
    ],
)
def test_the_hook_starts_when_a_configuration_changes(name: str, starts: bool) -> None:
    assert bool(re.search(HOOK["files"], name)) is starts


def test_the_example_for_pre_commit_names_the_hook_and_options_that_there_are() -> None:
    (repository,) = EXAMPLES[".pre-commit-config.yaml"]["repos"]
    (hook,) = repository["hooks"]
    assert hook["id"] == HOOK["id"]
    run([*HOOK["entry"].split(), *hook["args"]])


def test_the_examples_for_ci_write_the_report_that_they_hand_on() -> None:
    steps = EXAMPLES[".github/workflows/audit.yml"]["jobs"]["audit"]["steps"]
    (command,) = [one["run"] for one in steps if one.get("run", "").startswith("changeover")]
    run(shlex.split(command))
    assert Path(steps[-1]["with"]["sarif_file"]).exists()
    job = EXAMPLES[".gitlab-ci.yml"]["audit"]
    run(shlex.split(job["script"][-1]))
    assert Path(job["artifacts"]["reports"]["junit"]).exists()
