"""The documents say what the code does."""

from __future__ import annotations

import inspect
import json
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import cast

import pytest
import typer
import yaml
from tests.unit.json_page import WRONG, sections
from tests.unit.json_page import insist as insist_json
from tests.unit.man_page import MAN_PAGE, man_page
from tests.unit.pages import DOCS, insist, members, settings, table
from tests.unit.waits import waits
from typer.testing import CliRunner

from changeover import wiring
from changeover.agent.settings import AgentFile
from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect
from changeover.audit.handling.configuration import KEYS
from changeover.audit.rules import all_rules
from changeover.audit.words import assumed
from changeover.cli import exits
from changeover.cli.main import cli, load
from changeover.cli.registry import COMMANDS
from changeover.cli.rendering.audit import rule_section
from changeover.cli.rendering.lab import reasons
from changeover.conf import registry as conf_registry
from changeover.doctor.permissions import PERMISSIONS, SWITCHING, WEIGHING
from changeover.hops import registry
from changeover.hops.app.settings import AppSettings
from changeover.hops.envoy.external_settings import ExternalEnvoy
from changeover.hops.envoy.own_rules import PLACEHOLDERS as PLACED_IN_ENVOY
from changeover.hops.envoy.settings import EnvoySettings
from changeover.hops.haproxy.external.settings import ExternalHaproxy
from changeover.hops.haproxy.own_rules import PLACEHOLDERS as PLACED_IN_HAPROXY
from changeover.hops.haproxy.settings import HaproxyHttpSettings, HaproxyTcpSettings
from changeover.hops.kong.external_settings import ExternalKong
from changeover.hops.kong.settings import KongSettings
from changeover.hops.nginx.own_rules import PLACEHOLDERS as PLACED
from changeover.hops.nginx.settings import HttpSettings, Route
from changeover.hops.relay.settings import RelaySettings
from changeover.model import chainfile
from changeover.model.forwarded import FORWARDED_HEADERS
from changeover.model.guard import MEASURES, PLACEHOLDERS, SHIPPED, Condition, Guard, Prometheus
from changeover.model.probe import AnswerDigest, Copies, Get, Post, ProbeFile, Tls
from changeover.probe.records.row import LedgerRow
from changeover.relay.process.admin import COUNTER_HELP
from changeover.rollout import commands, events
from changeover.rollout.guard.evaluate import VERDICTS
from changeover.rollout.members import drain_now, phases
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier import actions, transitions
from changeover.web.metrics.definitions import METRICS, PREFIX

ROOT = Path(__file__).parents[2]
README, CHINESE = (ROOT / "README.md").read_text(), (ROOT / "README.zh.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
DIAGRAMS = {"phases": phases.mermaid, "tier": transitions.mermaid}
"""Diagrams in ARCHITECTURE.md, by the name of their markers."""


def visible_commands() -> list[str]:
    return [name for name, entry in COMMANDS.items() if not entry.hidden]


@pytest.mark.parametrize("command", visible_commands())
@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_every_command_is_in_the_readme(text: str, command: str) -> None:
    assert f"`changeover {command}" in text


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_every_exit_code_is_in_the_readme(text: str) -> None:
    codes = set(exit_codes())
    assert {f"`{code}`" for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)} == codes


def test_both_readmes_show_the_same_commands_and_sections() -> None:
    for pattern in (r"^#+", r"`make [a-z-]+`", r"^make [a-z-]+", r"`changeover [a-z]+", r"^\| (\d+)", r"\]\(([^)]+)\)"):
        english, chinese = (re.findall(pattern, text, re.MULTILINE) for text in (README, CHINESE))
        if pattern.endswith(r"\)"):
            english, chinese = ([link for link in links if "README" not in link] for links in (english, chinese))
        assert english == chinese, pattern


@pytest.mark.parametrize("name", DIAGRAMS)
def test_the_diagram_is_the_table(name: str) -> None:
    """Written anew with CHANGEOVER_WRITE_DOCS=1."""
    page = (ROOT / "ARCHITECTURE.md").read_text()
    between = re.compile(rf"(<!-- {name} -->\n```mermaid\n).*?(```\n<!-- /{name} -->)", re.DOTALL)
    wanted, found = between.subn(lambda m: m[1] + DIAGRAMS[name]() + "\n" + m[2], page)
    assert found == 1
    if os.environ.get("CHANGEOVER_WRITE_DOCS"):
        (ROOT / "ARCHITECTURE.md").write_text(wanted)
    else:
        assert wanted == page, "run this test with CHANGEOVER_WRITE_DOCS=1"


PAGES: dict[tuple[str, str], Callable[[], str]] = {
    ("cli.md", "exits"): lambda: table(("code", "meaning"), exit_codes().items()),
    ("cli.md", "commands"): lambda: "\n".join(map(command_text, visible_commands())),
    ("actions.md", "states"): lambda: members(actions.TierStatus),
    ("actions.md", "phases"): lambda: members(Phase),
    ("actions.md", "drain-now"): lambda: drain_now.table() + "\n",
    ("actions.md", "actions"): lambda: actions.table() + "\n",
    ("timing.md", "waits"): lambda: table(
        ("where", "name", "value", "meaning"),
        ((f"`{one.place}`", f"`{one.name}`", f"`{one.value}`", one.reason) for one in waits()),
    ),
    ("security.md", "forwarded"): lambda: (
        textwrap.fill(f"{', '.join(f'`{name}`' for name in FORWARDED_HEADERS)}.\n", 120, break_on_hyphens=False) + "\n"
    ),
    ("agent.md", "settings"): lambda: settings(AgentFile),
    ("doctor.md", "permissions"): lambda: table(
        ("permission", "needed to"), ((f"`{name}`", what) for name, what in PERMISSIONS.items())
    ),
    ("doctor.md", "switching"): lambda: table(
        ("permission", "needed to"), ((f"`{name}`", what) for name, what in SWITCHING.items())
    ),
    ("doctor.md", "weighing"): lambda: table(
        ("permission", "needed to"), ((f"`{name}`", what) for name, what in WEIGHING.items())
    ),
    ("app.md", "settings"): lambda: settings(AppSettings),
    ("envoy.md", "router"): lambda: settings(ExternalEnvoy),
    ("haproxy.md", "router"): lambda: settings(ExternalHaproxy),
    ("kong.md", "router"): lambda: settings(ExternalKong),
    ("kong.md", "settings"): lambda: settings(KongSettings),
    ("own_nginx.md", "placeholders"): lambda: placeholders(PLACED),
    ("own_nginx.md", "settings"): lambda: settings(HttpSettings),
    ("own_envoy.md", "placeholders"): lambda: placeholders(PLACED_IN_ENVOY),
    ("own_envoy.md", "settings"): lambda: settings(EnvoySettings),
    ("own_haproxy.md", "placeholders"): lambda: placeholders(PLACED_IN_HAPROXY),
    ("own_haproxy.md", "settings"): lambda: settings(HaproxyHttpSettings),
    ("own_haproxy.md", "tcp"): lambda: settings(HaproxyTcpSettings),
    ("relay.md", "settings"): lambda: settings(RelaySettings),
    ("routes.md", "settings"): lambda: settings(Route),
    ("relay.md", "metrics"): lambda: table(
        ("counter", "of"), ((f"`changeover_relay_{name}_total`", text) for name, text in COUNTER_HELP.items())
    ),
    ("guards.md", "shipped"): lambda: "".join(map(guard_text, SHIPPED.values())),
    ("guards.md", "sources"): lambda: table(
        ("source", "measure"), ((f"`{who}`", ", ".join(f"`{one}`" for one in what)) for who, what in MEASURES.items())
    ),
    ("guards.md", "condition"): lambda: settings(Condition),
    ("guards.md", "placeholders"): lambda: table(
        ("in a query", "stands for"), ((f"`${name}`", what) for name, what in PLACEHOLDERS.items())
    ),
    ("guards.md", "prometheus"): lambda: settings(Prometheus),
    ("probe.md", "file"): lambda: settings(ProbeFile),
    ("probe.md", "get"): lambda: settings(Get),
    ("probe.md", "post"): lambda: settings(Post),
    ("probe.md", "digest"): lambda: settings(AnswerDigest),
    ("probe.md", "copies"): lambda: settings(Copies),
    ("probe.md", "tls"): lambda: settings(Tls),
    ("audit.md", "readers"): lambda: "".join(f"- {one.name}\n" for one in conf_registry.READERS),
    ("audit.md", "effects"): lambda: members(Effect),
    ("audit.md", "settings"): lambda: table(("key", "meaning"), ((f"`{key}`", what) for key, what in KEYS.items())),
    ("audit.md", "assumptions"): lambda: table(
        ("key", "default", "meaning"),
        (
            (
                f"`{one.name.replace('_', '-')}`",
                assumed(one.name, cast(float | None, one.default)),
                one.metadata["help"],
            )
            for one in fields(Assumptions)
        ),
    ),
    ("metrics.md", "metrics"): lambda: table(
        ("metric", "kind", "labels", "meaning"),
        (
            (f"`{PREFIX}{name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
            for name, one in METRICS.items()
        ),
    ),
    ("rules.md", "rules"): lambda: "\n".join(map(rule_section, all_rules())),
    ("rules.md", "reasons"): lambda: "| rules | reason |\n| --- | --- |\n" + reasons(all_rules()),
    ("guards.md", "verdicts"): lambda: table(
        ("verdict", "effect"), ((f"`{name}`", what) for name, what in VERDICTS.items())
    ),
}
"""Parts of pages that are made from the code."""


def placeholders(found: Mapping[str, str]) -> str:
    return table(("placeholder", "stands for"), ((f"`{name}`", what) for name, what in found.items()))


def test_every_wait_has_its_reason_beside_it() -> None:
    assert not [f"{one.place}: {one.name}" for one in waits() if not one.reason]


@pytest.mark.parametrize(("page", "block"), PAGES, ids=" ".join)
def test_the_page_is_what_the_code_says(page: str, block: str) -> None:
    """Written anew with CHANGEOVER_WRITE_DOCS=1."""
    insist(page, block, PAGES[page, block]())


def test_the_manual_page_is_what_the_commands_say() -> None:
    """Written anew with CHANGEOVER_WRITE_DOCS=1."""
    file = DOCS / MAN_PAGE
    wanted = man_page(str(cli.info.help), visible_commands(), exit_codes())
    if os.environ.get("CHANGEOVER_WRITE_DOCS"):
        file.write_text(wanted)
    assert wanted == file.read_text(), "run this test with CHANGEOVER_WRITE_DOCS=1"


def command_text(name: str) -> str:
    """A command's help as a section of docs/cli.md."""
    command = load(name)
    context = typer.Context(command, info_name=f"changeover {name}")
    usage = command.get_usage(context).removeprefix("Usage: ")
    help = " ".join((command.help or "").replace("\n\n", "\0").split()).replace("\0", "\n\n")
    options = [record for one in command.params if (record := one.get_help_record(context)) is not None]
    options_table = table(("option", "meaning"), ((f"`{option}`", _plain(meaning)) for option, meaning in options))
    return f"## `changeover {name}`\n\n{help}\n\n```text\n{usage}\n```\n\n{options_table}"


def _plain(meaning: str) -> str:
    """Without the limits and defaults in two kinds of brackets that a terminal is shown."""
    return re.sub(r"  \[(.*)\]$", lambda m: f" ({m[1].replace('(', '').replace(')', '')})", meaning)


def exit_codes() -> dict[str, str]:
    """Each code with the sentence that stands below it."""
    found = re.findall(r'^\w+: Final = (\d+)\n"""(.*?)"""', inspect.getsource(exits), re.MULTILINE | re.DOTALL)
    return {f"`{code}`": text for code, text in found}


def guard_text(guard: Guard) -> str:
    """What a shipped guard says, as it would stand in a chain file."""
    said = [one.model_dump(mode="json", exclude_unset=True) for one in guard.conditions]
    return f"```yaml\n{yaml.safe_dump({'name': guard.name, 'conditions': said}, sort_keys=False)}```\n"


def test_the_example_of_a_probe_yaml_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(url:.*?)```", (DOCS / "probe.md").read_text(), re.DOTALL)
    found = chainfile.read_as(text, "probe.yaml", ProbeFile)
    assert (len(found.get), found.post[0].proved) == (3, True)


def test_the_example_of_a_guard_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(tiers:.*?)```", (DOCS / "guards.md").read_text(), re.DOTALL)
    assert chainfile.read(text, "guards.md", registry.known_hops()).chain.guards[0].name == "few-errors"


def test_the_example_of_a_guard_that_one_client_cannot_fail_is_right() -> None:
    (text,) = re.findall(r"```yaml\n(name: no-more.*?)```", (DOCS / "guards.md").read_text(), re.DOTALL)
    assert Guard.model_validate(yaml.safe_load(text)).conditions[0].against_baseline


def test_every_section_of_the_page_of_json_is_a_command_and_every_command_has_one() -> None:
    printing = {name for name in visible_commands() if any(one.name == "json" for one in load(name).params)}
    assert set(sections()) == printing | {"schema", WRONG}


def test_the_page_of_json_tells_every_key_of_a_row() -> None:
    text = (DOCS / "json.md").read_text().partition("A row of the ledger")[2].partition("\n## ")[0]
    keys = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(keys) == sorted(["latency_ms", *(one.name for one in fields(LedgerRow))])


def test_what_simulate_prints_and_what_goes_wrong_is_on_the_page_of_json(tmp_path: Path) -> None:
    def printed(*words: object) -> object:
        return json.loads(CliRunner().invoke(cli, [*map(str, words), "--json"]).stdout)

    insist_json("simulate", printed("simulate", "runtime", "-f", ROOT / "examples/01-four-tiers/chain.yaml"))
    insist_json(WRONG, printed("history", "--state", tmp_path))


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_no_page_names_a_command_that_there_is_not(page: Path) -> None:
    named = set(re.findall(r"`changeover (?!\w+:)([a-z]+)", page.read_text(encoding="utf-8")))
    assert named <= set(visible_commands())


def test_every_page_is_named_in_both_readmes() -> None:
    for page in DOCS.glob("*.md"):
        assert f"](docs/{page.name})" in README
        assert f"](docs/{page.name})" in CHINESE


def test_every_state_has_an_answer_to_every_action() -> None:
    assert set(actions.ANSWERS) == {(state, action) for state in actions.TierStatus for action in actions.Action}


@pytest.mark.parametrize("kind", [events.Event, commands.Command])
def test_every_event_and_command_is_in_the_architecture(kind: type) -> None:
    one: type
    for one in kind.__subclasses__():
        assert f"`{one.__name__}`" in ARCHITECTURE


def test_every_room_is_in_the_architecture() -> None:
    rooms = {p.name for p in Path(wiring.__file__).parent.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert {room for room in rooms if f"{room}/" in ARCHITECTURE} == rooms


def test_every_command_and_option_has_help() -> None:
    for name in COMMANDS:
        command = load(name)
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", None) or option.name == "help", f"{name} {option.name}"


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link, part in re.findall(r"\]\((?!https:)([^)#]*)(?:#([^)]+))?\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if part else []
        assert not part or part in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
