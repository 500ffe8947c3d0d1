from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest
from typer.exceptions import TyperException

from changeover.cli import faults
from changeover.cli.exits import FAULT


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def raised() -> Exception:
    try:
        raise KeyError("edge")
    except KeyError as error:
        return error


def test_the_message_is_short_and_names_place_report_state_and_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert faults.report(raised(), ["roll", "edge"]) == FAULT
    message = capsys.readouterr().err
    assert re.match(r"error: .*test_faults\.py:\d+: fault of this program: KeyError: 'edge'\n", message)
    assert "Running instances continue to serve" in message
    assert "changeover resume" in message
    assert "Traceback" not in message


def test_the_report_holds_the_traceback_and_is_for_this_user_alone(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults.report(raised(), ["roll", "edge"])
    (file,) = reports.iterdir()
    assert str(file) in capsys.readouterr().err
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert "Traceback (most recent call last)" in text
    assert "['roll', 'edge']" in text


def test_with_json_the_fault_is_an_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    faults.report(raised(), ["status", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["exit_code"] == FAULT
    assert printed["error"][0]["what"] == "fault of this program: KeyError: 'edge'"


@pytest.mark.parametrize("words", [["--log-format", "json", "rol"], ["--log-format=json", "rol"]])
def test_with_lines_as_json_so_are_a_fault_and_a_wrong_command_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert faults.report(raised(), words) == FAULT
    assert faults.usage_error(TyperException("no such command"), words)
    fault, usage = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert fault["message"].partition(": ")[2].startswith("fault of this program: KeyError: 'edge'\n  ")
    assert usage["message"].startswith("no such command\n  `changeover --help`")
    assert [one["level"] for one in (fault, usage)] == ["error", "error"]


def test_a_report_that_cannot_be_written_is_admitted(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(reports / "missing"))
    assert faults.report(raised(), ["status"]) == FAULT
    assert "The report with the traceback could not be written" in capsys.readouterr().err
