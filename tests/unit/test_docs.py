"""The documents say what the code does."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from changeover import wiring
from changeover.cli import exits
from changeover.cli.main import cli
from changeover.rollout import actions, commands, events
from changeover.rollout.phases import mermaid

ROOT = Path(__file__).parents[2]
README, CHINESE = (ROOT / "README.md").read_text(), (ROOT / "README.zh.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
PHASES = re.compile(r"(<!-- phases -->\n```mermaid\n).*?(```\n<!-- /phases -->)", re.DOTALL)


def visible_commands() -> list[str]:
    group = get_command(cli)
    assert isinstance(group, TyperGroup)
    return [name for name, command in group.commands.items() if not command.hidden]


@pytest.mark.parametrize("command", visible_commands())
@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_every_command_is_in_the_readme(text: str, command: str) -> None:
    assert f"`changeover {command}" in text


@pytest.mark.parametrize("text", [README, CHINESE], ids=["english", "chinese"])
def test_every_exit_code_is_in_the_readme(text: str) -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper()}
    assert {int(code) for code in re.findall(r"^\| (\d) \|", text, re.MULTILINE)} == codes


def test_both_readmes_show_the_same_commands_and_sections() -> None:
    for pattern in (r"^#+", r"`make [a-z-]+`", r"^make [a-z-]+", r"`changeover [a-z]+", r"^\| (\d)", r"\]\(([^)]+)\)"):
        english, chinese = (re.findall(pattern, text, re.MULTILINE) for text in (README, CHINESE))
        if pattern.endswith(r"\)"):
            english, chinese = ([link for link in links if "README" not in link] for links in (english, chinese))
        assert english == chinese, pattern


def test_the_phase_diagram_is_the_table() -> None:
    """Written anew with CHANGEOVER_WRITE_DOCS=1."""
    wanted = PHASES.sub(lambda m: m[1] + mermaid() + "\n" + m[2], ARCHITECTURE)
    if os.environ.get("CHANGEOVER_WRITE_DOCS"):
        (ROOT / "ARCHITECTURE.md").write_text(wanted)
    else:
        assert wanted == ARCHITECTURE, "run this test with CHANGEOVER_WRITE_DOCS=1"


def test_the_page_of_actions_is_the_table() -> None:
    """Written anew with CHANGEOVER_WRITE_DOCS=1."""
    page = ROOT / "docs" / "actions.md"
    head, _, rest = page.read_text().partition("<!-- actions -->\n")
    wanted = head + "<!-- actions -->\n" + actions.table() + "\n" + rest[rest.index("<!-- /actions -->") :]
    if os.environ.get("CHANGEOVER_WRITE_DOCS"):
        page.write_text(wanted)
    assert wanted == page.read_text(), "run this test with CHANGEOVER_WRITE_DOCS=1"


def test_every_state_has_an_answer_to_every_action() -> None:
    assert set(actions.ANSWERS) == {(state, action) for state in actions.State for action in actions.Action}


@pytest.mark.parametrize("kind", [events.Event, commands.Command])
def test_every_event_and_command_is_in_the_architecture(kind: type) -> None:
    one: type
    for one in kind.__subclasses__():
        assert f"`{one.__name__}`" in ARCHITECTURE


def test_every_room_is_in_the_architecture() -> None:
    rooms = {p.name for p in Path(wiring.__file__).parent.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert {room for room in rooms if f"{room}/" in ARCHITECTURE} == rooms


def test_every_command_and_option_has_help() -> None:
    group = get_command(cli)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        assert command.help, name
        for option in command.params:
            assert getattr(option, "help", None) or option.name == "help", f"{name} {option.name}"


@pytest.mark.parametrize("file", ["README.md", "README.zh.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_link_leads_somewhere(file: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", (ROOT / file).read_text()):
        assert (ROOT / link).exists(), link
