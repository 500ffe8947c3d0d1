"""Instances find what their template declares, whoever starts them, and nothing of them is lost with their records."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.chain.chains import CLIENT, Chain, kill, running_in, until
from tests.chain.conftest import nothing_left

from changeover.kit import process

APP = str(Path(__file__).parent / "env_app.py")
COMMAND = [sys.executable, APP, "{port}", "{version}"]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chain]:
    """A chain of one application of a user's own; `DB_URL` and `BUILD_ID` are set for the commands."""
    monkeypatch.setenv("DB_URL", "postgres://u:hunter2@db")
    monkeypatch.setenv("BUILD_ID", "7")
    given: dict[str, Any] = {"command": COMMAND, "pass": ["DB_URL"], "secrets": {"KEY": {"file": "key"}}}
    templates = {
        "v1": {**given, "env": {"WHERE": "{host}:{port}"}, "cwd": "code"},
        "v2": {**given, "env_file": "app.env"},
        "daemon": {**given, "command": [*COMMAND, "daemon"]},
        "lacks": {**given, "pass": ["DB_URL", "NOWHERE_SET"]},
    }
    tier = {
        "name": "runtime",
        "kind": "app",
        "size": 1,
        "templates": templates,
        "health": {"interval": "100ms"},
        "update": {"min_ready": "100ms", "progress_deadline": "60s", "watch": "100ms"},
    }
    (tmp_path / "code").mkdir()
    (tmp_path / "key").write_text("s3cr3t\n")
    (tmp_path / "app.env").write_text("COLOUR=blue\n")
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump({"tiers": [tier]}, sort_keys=False))
    chain = Chain(tmp_path, tmp_path / "chain.yaml")
    yield chain
    if running_in(tmp_path) or marked(chain):
        chain.run("down", "--orphans")
    nothing_left(tmp_path)
    assert marked(chain) == {}


def marked(chain: Chain) -> dict[int, str]:
    """Everything that was started for the chain, by pid."""
    return {pid: home.name for pid, home in process.homes() if home.is_relative_to(chain.state)}


def answer(chain: Chain) -> Any:
    with httpx.Client(base_url=chain.edge_url, **CLIENT) as client:
        return client.get("/").json()


def environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_an_instance_finds_the_same_whether_a_shell_cron_or_the_keeper_starts_it(
    app: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.up()
    first = answer(app)
    assert first["env"]["DB_URL"] == "postgres://u:hunter2@db"
    assert first["env"]["KEY"] == "s3cr3t"
    assert first["env"]["WHERE"].startswith("127.0.0.1:")
    assert first["cwd"] == str(app.folder / "code")
    assert sorted(marked(app).values()) == ["haproxy", "keeper", "runtime-v1-1"]
    for pid in marked(app):
        assert b"BUILD_ID" not in environ(pid), "a CI runner that kills by its variable must not find it"

    monkeypatch.delenv("DB_URL")
    kill(first["pid"])
    healed = until(lambda: found if (found := asked(app)) and found["pid"] != first["pid"] else None, "a new instance")
    assert healed["env"]["DB_URL"] == "postgres://u:hunter2@db"

    rolled = app.run("roll", "runtime", "--to", "v2")
    assert "DB_URL not set here: v2 gets the value kept from an earlier roll" in rolled.err
    second = answer(app)
    assert (second["env"]["DB_URL"], second["env"]["COLOUR"]) == ("postgres://u:hunter2@db", "blue")
    assert second["cwd"] == str(app.folder)

    refused = app.run("roll", "runtime", "--to", "lacks", code=2)
    assert "`pass` names NOWHERE_SET, which is not set here" in refused.err
    assert "hunter2" not in rolled.err + rolled.out + refused.err + refused.out
    assert answer(app)["pid"] == second["pid"]


def asked(chain: Chain) -> Any:
    try:
        return answer(chain)
    except (httpx.HTTPError, ValueError):
        return None


def test_a_daemon_is_named_as_one_and_nothing_of_it_is_left(app: Chain) -> None:
    app.up()
    before = marked(app)
    refused = app.run("roll", "runtime", "--to", "daemon", code=1)
    assert "its first process ended, while 1 that it started went on" in refused.out + refused.err
    assert "Run the server in the foreground" in refused.out + refused.err
    until(lambda: marked(app).keys() == before.keys(), "no daemon left")
    assert answer(app)["version"] == "v1"


def test_what_runs_on_after_the_state_folder_was_deleted_is_named_and_can_be_ended(app: Chain) -> None:
    app.up()
    kept = {pid for pid, name in marked(app).items() if name != "keeper"}
    shutil.rmtree(app.state)
    until(lambda: marked(app).keys() == kept, "the keeper gone, as it has nothing to keep")
    for command in (["down"], ["up", "-f", app.file]):
        refused = app.run(*command, code=2)
        assert "2 processes that were started for it still run: haproxy (pid " in refused.err
        assert "runtime-v1-1 (pid " in refused.err
        assert "`changeover down --orphans` ends them" in refused.err
        assert marked(app).keys() == kept
    assert "runtime-v1-1 (pid " in app.run("status").err
    assert app.run("down", "--orphans", "--json").json == {"stopped": ["haproxy", "runtime-v1-1"], "killed": []}
    assert marked(app) == {}
    assert "Nothing to do" in app.run("down").out
