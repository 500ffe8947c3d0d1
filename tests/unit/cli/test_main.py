from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from changeover.cli import main as command_line
from changeover.cli.exits import BROKEN_PIPE, COULD_NOT, FAULT
from changeover.cli.main import cli, main


def test_help_imports_no_command_and_nothing_heavy() -> None:
    program = (
        "import sys\nfrom changeover.cli.main import cli\n"
        "try: cli(['--help'])\nexcept SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"httpx", "pydantic", "yaml", "sqlite3", "asyncio", "scipy", "changeover.wiring"}
    assert not {name for name in loaded if name.startswith("changeover.cli.commands.")}


def test_the_help_of_an_audit_imports_no_reader_and_no_rule() -> None:
    program = (
        "import sys\nfrom changeover.cli.main import cli\n"
        "try: cli(['audit', '--help'])\nexcept SystemExit: pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert not loaded & {"yaml", "tree_sitter", "scipy", "asyncio", "httpx", "sqlite3", "jinja2", "starlette"}
    ours = {name for name in loaded if name.startswith(("changeover.audit.", "changeover.conf.", "changeover.lab"))}
    assert ours == {"changeover.audit.finding", "changeover.audit.setting", "changeover.conf.place"}


def test_a_keeper_holds_nothing_in_memory_that_only_some_chains_need() -> None:
    program = "import changeover.cli.commands.keep, sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "httpx",
        "google",
        "apprise",
        "opentelemetry",
        "starlette",
        "jinja2",
        "scipy",
    }


def test_garbage_is_collected_again_once_the_command_is_imported() -> None:
    program = (
        "import gc, sys\nfrom changeover.cli import main as program\nfrom changeover.__main__ import main\n"
        "seen, imported = [], program.import_module\n"
        "program.import_module = lambda name: (seen.append(gc.isenabled()), imported(name))[1]\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(seen, gc.isenabled(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, "schema"], capture_output=True, text=True, check=True)
    assert done.stderr == "[False] True\n"


@pytest.mark.parametrize("start", [("-m", "changeover"), ("-c", "from changeover.__main__ import main; main()")])
def test_the_version_is_that_of_the_installed_package(start: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, *start, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"changeover {metadata.version('changeover')}\n"


def completed(typed: str, shell: str) -> str:
    """What the shell's completion script gets for this command line."""
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_TYPER_COMPLETE_ARGS": typed}
    environment = {**os.environ, **asked, "_CHANGEOVER_COMPLETE": f"complete_{shell}"}
    environment["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    command = [sys.executable, "-m", "changeover"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("rol", ["roll"]),
        ("re", ["relay", "receive", "render", "resume", "retry"]),
        ("kee", []),
        ("roll --strat", ["--strategy"]),
        ("roll --strategy b", ["blue-green"]),
    ],
)
def test_bash_completes_commands_options_and_values(typed: str, offered: list[str]) -> None:
    assert sorted(completed(f"changeover {typed}", "bash").split()) == sorted(offered)


def test_zsh_and_fish_complete_commands_with_their_meaning() -> None:
    assert '"roll":"Roll a tier' in completed("changeover rol", "zsh")
    assert completed("changeover rol", "fish").startswith("roll\tRoll a tier")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_named_shell_asks_for_the_command_by_its_name(shell: str) -> None:
    environment = {**os.environ, "_CHANGEOVER_COMPLETE": f"source_{shell}"}
    command = [sys.executable, "-m", "changeover"]
    script = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert f"_CHANGEOVER_COMPLETE=complete_{shell}" in script
    assert "python" not in script


def test_an_unknown_command_is_refused_with_the_nearest_name() -> None:
    result = CliRunner().invoke(cli, ["statsu"])
    assert result.exit_code == COULD_NOT
    assert "Did you mean 'status'?" in result.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["statsu", "--json"], "No such command 'statsu'. Did you mean 'status'?"),
        (["roll", "--json", "--too", "v2"], "No such option: --too"),
        (["roll", "--json", "--strategy", "fast"], "Invalid value for '--strategy': 'fast' is not one of"),
        (["show", "--json"], "Missing argument 'ID'"),
    ],
    ids=["command", "option", "value", "argument"],
)
def test_with_json_a_usage_error_is_an_object_on_standard_output(words: list[str], what: str) -> None:
    result = CliRunner().invoke(cli, words)
    printed = json.loads(result.stdout)
    assert (result.exit_code, printed["exit_code"]) == (COULD_NOT, COULD_NOT)
    assert printed["error"][0]["what"].startswith(what)
    assert f"error: {what}" in result.stderr


def test_a_usage_error_of_the_command_behind_two_dashes_is_not_this_programs() -> None:
    result = CliRunner().invoke(cli, ["status", "--nope", "--", "kubectl", "--json"])
    assert (result.exit_code, result.stdout) == (COULD_NOT, "")


def test_an_unforeseen_exception_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError(f"no {name}")

    monkeypatch.setattr(command_line, "load", broken)
    monkeypatch.setattr(sys, "argv", ["changeover", "status"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == FAULT
    assert "fault of this program: ZeroDivisionError: no status" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--help",), ("roll", "--help"), ("schema",), ("history", "--json")])
def test_a_reader_that_is_gone_ends_the_command_quietly(tmp_path: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "changeover", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path)
    os.close(writing)
    assert done.returncode == BROKEN_PIPE
    assert "Traceback" not in done.stderr
    assert "Broken pipe" not in done.stderr


def test_a_reader_of_errors_that_is_gone_ends_a_usage_error_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "changeover", "status", "--no-such-option"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writing, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (BROKEN_PIPE, "")


@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}])
def test_files_are_utf_8_whatever_the_locale_and_what_it_cannot_spell_is_escaped(
    tmp_path: Path, locale: dict[str, str]
) -> None:
    file = tmp_path / "chain.yaml"
    file.write_text("name: shop\ngröße→: 1\ntiers: []\n", encoding="utf-8")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", **locale}
    command = [sys.executable, "-m", "changeover", "up", "-f", str(file)]
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path, env=environment)
    spelt = "größe→".encode(locale["PYTHONIOENCODING"], errors="backslashreplace")
    assert spelt in done.stderr
    assert done.returncode == COULD_NOT


def test_a_fault_whose_message_nobody_reads_keeps_its_exit_code(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = (
        "import sys\nfrom changeover.cli import main\nsys.argv = ['changeover', 'status', '--json']\n"
        "def broken(name): raise ZeroDivisionError(name)\n"
        "main.load = broken\nmain.main()\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=writing, stderr=writing, timeout=20, check=False, env=environment)
    os.close(writing)
    assert done.returncode == FAULT
    assert len(list(tmp_path.glob("changeover-fault-*"))) == 1


LOGS = """
import logging, typer
from typer.main import get_command
from changeover.cli import main

def load(name):
    alone = typer.Typer(add_completion=False)
    alone.command(name)(lambda: logging.getLogger("library").warning("it is %s", "late"))
    return get_command(alone)

main.load = load
main.main()
"""


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--log-format", "json", "status"], {}),
        (["status", "--log-format", "json"], {}),
        (["--log-format", "text", "status", "--log-format=json"], {"CHANGEOVER_LOG_FORMAT": "dated"}),
        (["status"], {"CHANGEOVER_LOG_FORMAT": "json"}),
    ],
    ids=["before", "after", "the last one", "variable"],
)
def test_lines_are_objects_on_request_those_of_libraries_too(words: list[str], environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", LOGS, *words]
    env = {**os.environ, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    line = json.loads(done.stderr)
    assert (line["level"], line["event"], line["message"]) == ("warning", "log", "it is late")


def test_a_wrong_form_of_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANGEOVER_LOG_FORMAT", "xml")
    result = CliRunner().invoke(cli, ["status"])
    assert result.exit_code == COULD_NOT
    assert "xml" in result.stderr
