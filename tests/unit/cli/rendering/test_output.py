from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from changeover.cli.options.log_format import VARIABLE
from changeover.cli.rendering.log_lines import as_object, message_of
from changeover.cli.rendering.output import Output, progress_line
from changeover.engine.runtime import Progress
from changeover.model.errors import fail
from changeover.rollout.members.fleet import Moved
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Cause, Phase

DATA = {"outcome": "completed", "name": "runtime-v1-[2]"}


def test_a_result_is_text_or_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).result(DATA, "rolled [bold]")
    assert capsys.readouterr().out == "rolled [bold]\n"
    Output(as_json=True).result(DATA, "rolled")
    assert json.loads(capsys.readouterr().out) == DATA


def test_a_problem_is_printed_whole_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).problem(fail("no tier [red]", where="chain.yaml:3", state="Unchanged.", next="Name another."))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: chain.yaml:3: no tier [red]\n  Unchanged.\n  Name another.\n"


def test_in_a_pipe_no_line_is_broken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    output = Output(as_json=False)
    output.result({}, "word " * 100)
    output.problem(fail("word " * 100))
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == len(printed.err.splitlines()) == 1


def test_progress_goes_to_standard_error_with_seconds_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).progress_since(100.0)(Progress(112.34, "runtime", "step 1 of 2", "runtime-v1-2"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "   12.3s  runtime-v1-2     step 1 of 2\n"


def objects(printed: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_as_json_each_line_is_one_object_that_names_rollout_tier_and_instance(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "json")
    output = Output(as_json=False)
    show = output.progress_since(0.0)
    member = Member("runtime-v2-1", "v2", 1, Phase.ADMITTED)
    moved = Moved(member, Phase.READY, Phase.ADMITTED, Cause.ADMISSION_CONFIRMED)
    show(Progress(1.5, "runtime", "ready -> admitted", "runtime-v2-1", moved=moved, rollout=3))
    show(Progress(2.0, "", "load balancer gone", level="warning", about="shop"))
    output.note("two\nlines \x1b[31m")
    output.note("1 s  3 GET", "probe")
    output.problem(fail("no tier edge", state="Unchanged."))
    step, warning, note, probe, problem = objects(capsys.readouterr().err)
    assert step == {
        "time": "1970-01-01T00:00:01.500Z",
        "level": "info",
        "rollout": 3,
        "tier": "runtime",
        "instance": "runtime-v2-1",
        "event": "phase",
        "message": "ready -> admitted: every router admits it",
    }
    assert (warning["level"], warning["tier"], warning["rollout"]) == ("warning", None, None)
    assert note["message"] == "two\nlines \x1b[31m"
    assert probe["event"] == "probe"
    assert (problem["level"], problem["event"]) == ("error", "error")
    assert problem["message"] == "no tier edge\n  Unchanged."


def test_dated_lines_begin_with_their_time(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "dated")
    output = Output(as_json=False)
    output.progress_since(0.0)(Progress(1.5, "runtime", "step 1 of 2"))
    output.note("waiting")
    output.problem(fail("no tier edge"))
    progress, note, problem = capsys.readouterr().err.splitlines()
    assert progress == "1970-01-01T00:00:01.500Z  runtime          step 1 of 2"
    assert [message_of(line) for line in (note, problem)] == ["waiting", "error: no tier edge"]
    assert note != "waiting"


def test_the_message_of_a_line_is_found_in_each_form() -> None:
    assert message_of(as_object("no tier edge", 1.0)) == "no tier edge"
    for line in ("error: no tier edge", "{not an object", '{"outcome": "completed"}'):
        assert message_of(line) == line


def test_progress_of_a_tier_names_the_tier_and_a_warning_has_a_colour() -> None:
    assert progress_line(Progress(1.0, "edge", "no answer", level="warning"), "1.0s").endswith(
        "edge             [yellow]no answer[/]"
    )


ROLL = """
import os, signal, sys, typer
from changeover.cli.frame import run
from changeover.engine.runtime import Progress

async def work(output):
    show = output.progress_since(0.0)
    for number in range(20):
        show(Progress(float(number), "runtime", "x" * 200))
    os.kill(os.getpid(), signal.SIGHUP)
    open(sys.argv[1], "w").write("rolled")
    output.result({"outcome": "undone"}, "undone")
    return 1

try:
    run("--json" in sys.argv, work, acts=True)
except typer.Exit as ended:
    sys.exit(ended.exit_code)
"""
"""A command that changes a chain: it prints progress, loses its terminal, and has an exit code of its own."""


@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("lost", ["pipe", "disk"])
def test_a_command_that_changes_a_chain_goes_on_when_its_output_is_lost(
    tmp_path: Path, lost: str, as_json: tuple[str, ...]
) -> None:
    if lost == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open("/dev/full", os.O_WRONLY)
    done = tmp_path / "done"
    command = [sys.executable, "-c", ROLL, str(done), *as_json]
    ended = subprocess.run(command, stdout=writing, stderr=writing, timeout=20, check=False)
    os.close(writing)
    assert done.read_text() == "rolled"
    assert ended.returncode == 1
