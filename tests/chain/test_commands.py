"""The command line without a chain behind it: help, schema, and a start that cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT

import pytest
import yaml
from tests.chain.chains import EXAMPLE, Chain, Command, Said, chain_file, here, running_in, template

from changeover.cli.main import EPILOG
from changeover.cli.registry import COMMANDS

SHOWN = [name for name, entry in COMMANDS.items() if not entry.hidden]


def test_help_lists_every_command() -> None:
    told = here("--help").out
    assert re.findall(r"^│ (\w+)  +[A-Z]", told, re.MULTILINE) == SHOWN, told
    assert set(SHOWN) >= {"up", "status", "roll", "probe", "down", "demo", "app", "schema"}


@pytest.mark.parametrize("module", ["typer.core", "changeover.hops.app"], ids=["the program", "the command"])
def test_ctrl_c_during_an_import_ends_the_command_quietly(tmp_path: Path, module: str) -> None:
    starting = Command(("schema",), tmp_path, program=("-X", "importtime", "-m", "changeover"))
    starting.says(f"{module}\n")
    done = starting.signal(SIGINT).end()
    # CPython ends by the signal itself where it came inside of `exec` of a text, as dataclasses are made; a shell shows
    # 130 for both.
    assert done.code in (130, -SIGINT)
    assert done.out == ""
    assert [line for line in done.err.splitlines() if not line.startswith("import time:")] == []


@pytest.mark.parametrize("command", SHOWN)
def test_every_command_has_help_with_the_exit_codes(command: str) -> None:
    told = here(command, "--help").out
    assert re.search(rf"Usage: .*\b{command} \[OPTIONS\]", told), told
    assert EPILOG in told


def test_the_schema_is_json_and_knows_every_key_of_the_example(tmp_path: Path) -> None:
    told = Command(("schema",), tmp_path).end(0).json
    assert told["$schema"].startswith("https://json-schema.org/")
    text = json.dumps(told)
    for tier in yaml.safe_load(EXAMPLE.read_text())["tiers"]:
        assert f'"const": "{tier["kind"]}"' in text
        keys = set(tier) | {key for settings in tier["templates"].values() for key in settings}
        assert {key for key in keys if f'"{key}"' not in text} == set()


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (lambda said: said["tiers"][0].update(size=0), "size: 0", "tiers.0.size: .*greater than or equal to 1"),
        (lambda said: said["tiers"][1].update(kind="nginks"), "kind: nginks", "Did you mean nginx?"),
        (lambda said: said["tiers"][2]["drain"].update(deadline=30), "deadline: 30", "500ms, 30s, 2m or 1h"),
        (lambda said: said.update(lisen="127.0.0.1:1"), "lisen: 127.0.0.1:1", "lisen: no such key"),
        (
            lambda said: said["tiers"][0]["update"].update(guard=["latency-not-worse"]),
            "- latency-not-worse",
            "tiers.0.update.guard.0: .*answers name only those of runtime.*Set it at runtime",
        ),
    ],
    ids=["a size", "a kind", "a time", "a key", "a guard"],
)
def test_a_bad_chain_file_is_refused_with_file_and_line(
    tmp_path: Path, change: Callable[[Said], None], line: str, message: str
) -> None:
    chain = Chain(tmp_path, chain_file(tmp_path, change))
    number = [text.strip() for text in chain.file.read_text().splitlines()].index(line) + 1
    done = chain.here("up", "-f", chain.file, code=2)
    assert re.search(rf"chain\.yaml:{number}: .*{message}", done.err, re.DOTALL), done
    assert not chain.state.exists()


def test_a_state_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    chain = Chain(tmp_path, chain_file(tmp_path))
    chain.state.write_text("a file")
    for words, code in ((("up", "-f", chain.file), 2), (("roll", "edge", "--to", "v2"), 2), (("down",), None)):
        done = chain.here(*words, code=code)
        assert f"{chain.state}" in done.out + done.err
        assert "Traceback" not in done.err
    assert chain.state.read_text() == "a file"


def test_software_that_is_missing_is_named_at_once_with_what_to_run(tmp_path: Path) -> None:
    # Taking it off PATH does not suffice: the sbin folders are searched too, since an ordinary PATH lacks them.
    program = """
import shutil, sys
shutil.which = lambda *_, **__: None
sys.modules["envoy"] = sys.modules["uvicorn"] = None
from changeover.cli.main import main
main()
"""
    chain = Chain(tmp_path, chain_file(tmp_path))
    words = ("up", "-f", chain.file, "--state", chain.state)
    done = Command(words, tmp_path, program=("-c", program)).end(2)
    for message in ("nginx is not installed", "no stream module", "HAProxy is not installed", "envoy", "uvicorn"):
        assert message in done.err
    assert "sudo apt-get install -y nginx libnginx-mod-stream haproxy && " in done.err
    assert "-m pip install 'changeover[envoy,example]'" in done.err
    assert "Traceback" not in done.err
    assert running_in(tmp_path) == {}


def test_a_first_template_that_does_not_start_leaves_nothing_running(tmp_path: Path) -> None:
    def bad(said: Said) -> None:
        template("runtime", "v1", command=["sh", "-c", "echo no such table: reels >&2; exit 7"])(said)

    chain = Chain(tmp_path, chain_file(tmp_path, bad))
    done = chain.run("up", "-f", chain.file, code=2)
    assert "tier runtime does not start" in done.err
    assert "no such table: reels" in done.err
    assert "All instances that had been started were stopped again." in done.err
    assert running_in(tmp_path) == {}
    assert chain.status()["up"] is False
