from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from changeover.cli.rendering.output import Output, progress_line
from changeover.engine.runtime import Progress
from changeover.model.errors import fail

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


def test_progress_of_a_tier_names_the_tier_and_a_warning_has_a_colour() -> None:
    assert progress_line(Progress(1.0, "edge", "no answer", level="warning"), 0.0).endswith(
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
