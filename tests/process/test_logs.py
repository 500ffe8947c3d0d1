"""`changeover logs --follow` prints what is written meanwhile, and ends as a filter ends."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from changeover.cli.exits import BROKEN_PIPE, DONE
from changeover.engine.journal.journal import Journal

PATIENCE = 60.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of an instance, with one line."""
    with contextlib.closing(Journal(tmp_path / "journal.db")):
        pass
    log = tmp_path / "instances" / "app-v1-1" / "log"
    log.parent.mkdir(parents=True)
    log.write_text("one\n")
    return log


@pytest.fixture
def following(log: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, once it has printed the first line."""
    command = [sys.executable, "-m", "changeover", "logs", "--follow", "--state", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().split()[-1] == "one"
        yield process
        process.kill()


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=lambda one: one.name)
def test_a_signal_ends_it_without_an_error(log: Path, following: subprocess.Popen[str], number: Signals) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write("two\n")
    assert following.stdout is not None
    assert following.stdout.readline().split()[-1] == "two"
    following.send_signal(number)
    assert following.wait(PATIENCE) == DONE
    assert following.stderr is not None
    assert following.stderr.read() == ""


def test_a_reader_that_closes_the_pipe_ends_it_though_nothing_is_written(following: subprocess.Popen[str]) -> None:
    assert following.stdout is not None
    following.stdout.close()
    assert following.wait(PATIENCE) == BROKEN_PIPE
