"""A command that awaits nothing ends at once at a signal: `init`, while it waits for an answer on its terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from changeover.cli.exits import COULD_NOT

PATIENCE = 40.0
"""Seconds for the start of the command, and for its end."""
CHANGEOVER = (sys.executable, "-m", "changeover")
INTERRUPTED = b"interrupted before the command was done"


@contextmanager
def asking(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`init` at its first question, and the terminal that it asks on."""
    terminal, its = pty.openpty()
    command = subprocess.Popen(
        [*CHANGEOVER, "init"], cwd=folder, stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    try:
        assert b"application: " in shown(terminal, b"application: ")
        sleeps(command.pid)
        yield command, terminal
    finally:
        command.kill()
        command.wait()
        os.close(terminal)


def shown(terminal: int, until: bytes) -> bytes:
    """What the terminal shows, up to `until` or to the end of the command."""
    found, deadline = b"", time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):  # EIO: the command has ended
        while until not in found and select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0]:
            found += os.read(terminal, 4096)
    return found


def sleeps(pid: int) -> None:
    """Wait until the process reads the terminal: Python acts on a signal between a prompt and its read only later."""
    deadline = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_init_at_its_question(tmp_path: Path, number: signal.Signals) -> None:
    with asking(tmp_path) as (command, terminal):
        command.send_signal(number)
        assert INTERRUPTED in shown(terminal, INTERRUPTED)
        assert command.wait(PATIENCE) == COULD_NOT
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_the_input_ends_init_and_is_no_fault_of_the_program(tmp_path: Path) -> None:
    with asking(tmp_path) as (command, terminal):
        os.write(terminal, b"\x04")
        assert INTERRUPTED in shown(terminal, INTERRUPTED)
        assert command.wait(PATIENCE) == COULD_NOT
