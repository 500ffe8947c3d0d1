from __future__ import annotations

import json

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


def test_progress_goes_to_standard_error_with_seconds_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).progress_since(100.0)(Progress(112.34, "runtime", "step 1 of 2", "runtime-v1-2"))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "   12.3s  runtime-v1-2     step 1 of 2\n"


def test_progress_of_a_tier_names_the_tier_and_a_warning_has_a_colour() -> None:
    assert progress_line(Progress(1.0, "edge", "no answer", level="warning"), 0.0).endswith(
        "edge             [yellow]no answer[/]"
    )
