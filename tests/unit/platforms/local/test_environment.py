"""What instances find in their environment: declared, kept, and the same whoever starts them."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from changeover.hops.app.settings import AppSettings
from changeover.model.errors import ChangeoverError
from changeover.model.instance import LaunchSpec
from changeover.platforms.local.environment import FILE, Environments
from changeover.ports import CannotStart

SHELL = {"PATH": "/opt/bin:/bin", "DB_URL": "postgres://u:hunter2@db", "BUILD_ID": "7"}
CRON = {"PATH": "/bin"}


class Tier:
    """The tier `web` of a chain, whose templates are rolled to by callers with different environments."""

    def __init__(self, folder: Path, **templates: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = {"web": {name: AppSettings.model_validate(one) for name, one in templates.items()}}
        self.running: set[str] = set()

    def up(self, template: str, caller: Mapping[str, str]) -> list[str]:
        return self.roll(template, caller, fresh=True)

    def roll(self, template: str, caller: Mapping[str, str], *, fresh: bool = False) -> list[str]:
        """Roll to the template, completely; returns what is said about it."""
        environments = Environments(self.folder, caller)
        running = {} if fresh else {"web": set(self.running)}
        notes = environments.keep({"web": template}, self.settings, running, self.folder, fresh=fresh)
        self.running = {template}
        return notes

    def started(self, template: str, caller: Mapping[str, str]) -> dict[str, str]:
        """The environment of an instance that such a caller starts."""
        given = self.settings["web"][template]
        env = {name: value.get_secret_value() for name, value in given.env.items()}
        launch = LaunchSpec(("serve",), env=env, secrets=given.secrets)
        return Environments(self.folder, caller).of(launch, "web", template)


def refused(tier: Tier, template: str, caller: Mapping[str, str], *, fresh: bool = False) -> str:
    before = {file.name: file.read_bytes() for file in tier.folder.glob("*")}
    with pytest.raises(ChangeoverError) as error:
        tier.roll(template, caller, fresh=fresh)
    assert {file.name: file.read_bytes() for file in tier.folder.glob("*")} == before
    return str(error.value)


def test_only_the_base_and_what_is_declared_reaches_an_instance(tmp_path: Path) -> None:
    tier = Tier(tmp_path, v1={"env": {"MODE": "live"}, "pass": ["DB_URL"]})
    tier.up("v1", SHELL)
    found = tier.started("v1", {**CRON, "RUNNER_TRACKING_ID": "x"})
    assert found["DB_URL"] == SHELL["DB_URL"]
    assert found["MODE"] == "live"
    assert found["PATH"] == SHELL["PATH"], "cron has another one, without the program"
    assert not {"BUILD_ID", "RUNNER_TRACKING_ID"} & set(found)


def test_a_roll_from_cron_gives_a_new_template_the_kept_value_and_says_so(tmp_path: Path) -> None:
    tier = Tier(tmp_path, v1={"pass": ["DB_URL"]}, v2={"pass": ["DB_URL"], "version": "2"})
    tier.up("v1", SHELL)
    (note,) = tier.roll("v2", CRON)
    assert "DB_URL not set here" in note
    assert tier.started("v2", CRON)["DB_URL"] == SHELL["DB_URL"]


def test_another_value_reaches_the_new_template_alone_and_is_named(tmp_path: Path) -> None:
    tier = Tier(tmp_path, v1={"pass": ["DB_URL"]}, v2={"pass": ["DB_URL"], "version": "2"})
    tier.up("v1", SHELL)
    (note,) = tier.roll("v2", {**CRON, "DB_URL": "postgres://u:hunter3@db"})
    assert note == "tier web: DB_URL changed: v2 gets another value than v1 has."
    assert tier.started("v2", CRON)["DB_URL"].endswith("hunter3@db")
    assert tier.started("v1", CRON)["DB_URL"] == SHELL["DB_URL"], "an undo returns to it"


def test_a_template_that_runs_keeps_its_values_and_the_difference_is_named(tmp_path: Path) -> None:
    (tmp_path / "app.env").write_text("COLOUR=red\n")
    tier = Tier(tmp_path, v1={"pass": ["DB_URL"], "env_file": "app.env"})
    tier.up("v1", SHELL)
    (tmp_path / "app.env").write_text("COLOUR=blue\n")
    (note,) = tier.roll("v1", {**SHELL, "DB_URL": "other"})
    assert "COLOUR, DB_URL changed" in note
    assert tier.started("v1", CRON)["COLOUR"] == "red"
    (tmp_path / "app.env").unlink()
    (note,) = tier.roll("v1", SHELL)
    assert "keep the values that they started with" in note
    assert tier.started("v1", CRON)["COLOUR"] == "red"


def test_a_new_chain_begins_with_the_values_of_its_up(tmp_path: Path) -> None:
    tier = Tier(tmp_path, v1={"pass": ["DB_URL"]})
    tier.up("v1", SHELL)
    assert "DB_URL, which is not set here" in refused(tier, "v1", CRON, fresh=True)
    tier.up("v1", {**CRON, "DB_URL": "new"})
    assert tier.started("v1", SHELL)["DB_URL"] == "new"
    assert tier.started("v1", SHELL)["PATH"] == CRON["PATH"]


def test_what_is_missing_is_refused_and_never_empty(tmp_path: Path) -> None:
    (tmp_path / "bad.env").write_text("A=1\nhunter2 hunter2\n")
    (tmp_path / "empty").write_text("\n")
    tier = Tier(
        tmp_path,
        v1={"pass": ["DB_URL"]},
        file={"env_file": "nowhere.env"},
        line={"env_file": "bad.env"},
        secret={"secrets": {"KEY": {"file": "nowhere"}}},
        empty={"secrets": {"KEY": {"file": "empty"}}},
        fails={"secrets": {"KEY": {"command": ["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]}}},
        lacks={"secrets": {"KEY": {"command": ["/nowhere/vault", "hunter2"]}}},
        user={"user": "no-such-user", "command": ["x"]},
    )
    for template, reason in {
        "v1": "`pass` names DB_URL, which is not set here",
        "file": "nowhere.env cannot be read: No such file or directory",
        "line": "bad.env cannot be read: line 2 is not NAME=value",
        "secret": "secret KEY cannot be read from its file nowhere: No such file or directory",
        "empty": "secret KEY cannot be read from its file empty: it is empty",
        "fails": "secret KEY cannot be read from its command: it ended with exit code 3",
        "lacks": "secret KEY cannot be read from its command: No such file or directory",
        "user": "this machine has no user no-such-user",
    }.items():
        message = refused(tier, template, CRON, fresh=True)
        assert f"tier web, template {template}: " in message
        assert reason in message
        assert "Nothing was changed." in message
        assert "hunter2" not in message


def test_secrets_are_read_at_each_start_and_never_kept(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    script = 'echo "$MODE-$DB_URL"'
    tier = Tier(
        tmp_path,
        v1={
            "pass": ["DB_URL"],
            "env": {"MODE": "live"},
            "secrets": {"KEY": {"file": "key"}, "TOKEN": {"command": ["sh", "-c", script]}},
        },
    )
    tier.up("v1", {**CRON, "DB_URL": "db"})
    assert "hunter2" not in (tmp_path / FILE).read_text()
    (tmp_path / "key").write_text("hunter3\n")
    found = tier.started("v1", CRON)
    assert found["KEY"] == "hunter3"
    assert found["TOKEN"] == "live-db"
    (tmp_path / "key").unlink()
    with pytest.raises(CannotStart, match="secret KEY cannot be read from its file key"):
        tier.started("v1", CRON)


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    Tier(tmp_path, v1={}).up("v1", SHELL)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_template_that_an_older_version_started_inherits_as_it_did_and_a_roll_says_what_changes(
    tmp_path: Path,
) -> None:
    tier = Tier(tmp_path, v1={}, v2={"version": "2"})
    tier.running = {"v1"}
    assert tier.started("v1", SHELL) == SHELL
    (note,) = tier.roll("v2", SHELL)
    assert "instances of v1 inherited the environment of the command that started them" in note
    assert tier.started("v1", SHELL) == SHELL
    assert "DB_URL" not in tier.started("v2", SHELL)


def test_a_template_that_no_command_looked_up_is_never_started_with_whatever_is_set_here(tmp_path: Path) -> None:
    tier = Tier(tmp_path, v1={}, v2={"version": "2"})
    tier.up("v1", SHELL)
    with pytest.raises(CannotStart, match="template v2 of tier web were not looked up"):
        tier.started("v2", SHELL)


def test_the_keeper_gets_the_base_and_the_variables_that_the_chain_file_names(tmp_path: Path) -> None:
    caller = {**SHELL, "KONG_TOKEN": "hunter2"}
    assert Environments(tmp_path, caller).of_keeper("") == caller, "it starts instances of an older version"
    Tier(tmp_path, v1={}).up("v1", CRON)
    found = Environments(tmp_path, caller).of_keeper("router: {token_env: KONG_TOKEN}")
    assert found["KONG_TOKEN"] == "hunter2"
    assert found["PATH"] == CRON["PATH"]
    assert not {"DB_URL", "BUILD_ID"} & set(found)


def test_a_log_is_shown_without_the_values_that_instances_got(tmp_path: Path) -> None:
    tier = Tier(tmp_path, v1={"pass": ["DB_URL"]})
    tier.up("v1", SHELL)
    hidden = Environments(tmp_path, CRON).hide(f"cannot connect to {SHELL['DB_URL']}, port 8080")
    assert hidden == "cannot connect to ***, port 8080"


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"format": 1, "base": {}, "tiers": {"web": {"v1": {}}}}'])
def test_a_damaged_or_newer_file_is_refused_and_never_taken_for_none(tmp_path: Path, damage: str) -> None:
    for text in (damage, json.dumps({"format": 2})):
        (tmp_path / FILE).write_text(text)
        with pytest.raises(ChangeoverError, match="kept environment cannot be read"):
            Environments(tmp_path, os.environ).base()
