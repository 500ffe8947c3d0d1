"""What `render agent` prints installs an agent: systemd accepts the unit, bash the lines, and the agent its file."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from changeover.agent import unit
from changeover.agent.settings import AgentFile
from changeover.cli.main import cli
from changeover.model.chainfile import read_as

NGINX: dict[str, Any] = {
    "kind": "nginx",
    "port": 443,
    "control": "127.0.0.1:8081",
    "token_file": "/etc/changeover/agent.token",
}
ENVOY: dict[str, Any] = {
    "kind": "envoy",
    "port": 8000,
    "control": "unix:/run/envoy/admin.sock",
    "token_env": "AGENT_TOKEN",
    "listen": "0.0.0.0:918",
    "members": {"runtime": "/var/lib/envoy/runtime.json"},
    "lame_duck_file": "/run/shop/lame-duck",
}
MUTUAL: dict[str, Any] = {
    "kind": "app",
    "port": 8000,
    "tls": {"certificate": "/etc/tls/agent.pem", "key": "/etc/tls/agent.key", "client_ca": "/etc/tls/ca.pem"},
}
each = pytest.mark.parametrize("given", [NGINX, ENVOY, MUTUAL], ids=lambda given: str(given["kind"]))


def settings(given: dict[str, Any]) -> AgentFile:
    return AgentFile.model_validate(given)


@each
def test_the_configuration_is_read_back_as_it_was(given: dict[str, Any]) -> None:
    assert read_as(unit.config_text(settings(given)), "agent.yaml", AgentFile) == settings(given)


@each
def test_systemd_accepts_the_unit(given: dict[str, Any], tmp_path: Path) -> None:
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "changeover-agent.service"
    # The one program that every machine has: verify refuses a unit whose program is not there.
    file.write_text(unit.unit(settings(given)).replace(f"{unit.PREFIX}/bin/changeover", "/bin/true"), encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if file.name in line]) == (0, []), done.stderr


@each
def test_bash_accepts_the_startup_lines(given: dict[str, Any]) -> None:
    lines = unit.startup_lines(settings(given), "1.2.3")
    done = subprocess.run(["bash", "-n"], input=lines, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "changeover==1.2.3" in lines


def test_the_startup_lines_write_the_files_and_the_token(tmp_path: Path) -> None:
    """They run with stand-ins for the commands that change the machine."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, body in {
        "id": "exit 0",
        "python3": "exit 0",
        "systemctl": f'echo "$@" >> {tmp_path}/systemctl',
        "gcloud": "echo secret-of-the-agents",
    }.items():
        (binaries / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (binaries / name).chmod(0o755)
    lines = unit.startup_lines(settings(NGINX), "1.2.3").replace("/etc/", f"{tmp_path}/etc/")
    lines = lines.replace(f"-g {unit.USER} ", "").replace(f"test -x {unit.PREFIX}", "true || test -x")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    done = subprocess.run(
        ["bash"],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": f"{binaries}:/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "etc/changeover/agent.token").read_text(encoding="utf-8") == "secret-of-the-agents\n"
    assert "kind: nginx" in (tmp_path / "etc/changeover/agent.yaml").read_text(encoding="utf-8")
    assert "ExecStart=" in (tmp_path / "etc/systemd/system/changeover-agent.service").read_text(encoding="utf-8")
    assert (tmp_path / "systemctl").read_text(encoding="utf-8").splitlines() == [
        "daemon-reload",
        "enable --now changeover-agent.service",
    ]


def test_an_agent_of_an_envoy_may_write_its_members_and_enter_its_socket() -> None:
    text = unit.unit(settings(ENVOY))
    assert "ReadWritePaths=/run/shop /var/lib/envoy\n" in text
    assert "SupplementaryGroups=envoy\n" in text
    assert f"EnvironmentFile={unit.ENVIRONMENT_FILE}\n" in text
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in text


def test_an_agent_with_certificates_alone_fetches_no_token_and_may_read_its_key() -> None:
    lines = unit.startup_lines(settings(MUTUAL), "1.2.3").splitlines()
    assert not any("gcloud" in line for line in lines)
    at = lines.index(f"chgrp {unit.USER} /etc/tls/agent.key")
    assert lines[at + 1 : at + 3] == ["chmod 0640 /etc/tls/agent.key", "systemctl daemon-reload"]


def rendered(*words: str) -> tuple[int, Any]:
    done = CliRunner().invoke(cli, ["render", "agent", "--json", *words])
    return done.exit_code, json.loads(done.stdout)


def test_the_command_takes_a_file_and_single_keys_over_it(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(unit.config_text(settings(NGINX)), encoding="utf-8")
    code, found = rendered("--config", str(file), "--set", "port=8443", "--set", "health={path: /up}")
    assert (code, sorted(found)) == (0, ["agent.yaml", "changeover-agent.service", "startup-script"])
    assert "port: 8443\n" in found["agent.yaml"]
    assert "path: /up\n" in found["agent.yaml"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the file is empty"),
        (["--set", "port"], "KEY=VALUE is needed"),
        (["--set", "kind=nginx", "--set", "port=80"], "control is missing"),
        (["--set", "port=["], "the value is no YAML"),
        (["--config", "no.yaml"], "the configuration cannot be read"),
    ],
)
def test_a_mistake_is_named(words: list[str], message: str) -> None:
    code, found = rendered(*words)
    assert (code, message in found["error"][0]["what"]) == (2, True), found
