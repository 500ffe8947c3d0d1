"""A command ends with its whole session: by itself, at its deadline, and when its caller is cancelled."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from changeover.kit.command import CommandResult, run_command
from changeover.kit.process import start_time

CHILD = "sleep 1000 & echo $!"
"""Prints the pid of a child that keeps the output pipe open."""


def run(
    script: str, folder: Path, *, stdin: bytes = b"", timeout: float = 5.0, keep: int = 1000, **env: str
) -> CommandResult:
    environment = {"PATH": os.environ["PATH"], **env}
    return asyncio.run(
        run_command(["sh", "-c", script], stdin=stdin, cwd=folder, env=environment, timeout=timeout, keep=keep)
    )


def test_the_result_holds_the_exit_code_and_both_outputs(tmp_path: Path) -> None:
    result = run("echo one; echo two >&2; exit 3", tmp_path)
    assert (result.code, sorted(result.output.split()), result.survived) == (3, [b"one", b"two"], False)


def test_a_command_receives_its_input_folder_and_environment(tmp_path: Path) -> None:
    result = run('cat; pwd; echo "$NAME"', tmp_path, stdin=b"input\n", NAME="value")
    assert result.output.decode().split() == ["input", str(tmp_path), "value"]


def test_a_command_need_not_read_its_input(tmp_path: Path) -> None:
    assert run("exit 0", tmp_path, stdin=b"x" * 1_000_000).code == 0


def test_only_the_end_of_the_output_is_kept(tmp_path: Path) -> None:
    result = run("printf 0123456789", tmp_path, keep=4)
    assert (result.output, result.dropped) == (b"6789", 6)


def test_a_command_is_killed_at_its_deadline(tmp_path: Path) -> None:
    result = run("echo started; exec sleep 1000", tmp_path, timeout=2)
    assert (result.code, result.output) == (None, b"started\n")


def test_a_child_is_killed_after_the_command_has_exited(tmp_path: Path) -> None:
    result = run(CHILD, tmp_path)
    assert result.code == 0
    assert start_time(int(result.output)) is None


def test_a_cancelled_caller_leaves_no_process(tmp_path: Path) -> None:
    async def go() -> int:
        script = f"{CHILD} > pid.new; mv pid.new pid; wait"
        running = asyncio.create_task(
            run_command(["sh", "-c", script], stdin=b"", cwd=tmp_path, env=dict(os.environ), timeout=60, keep=10)
        )
        async with asyncio.timeout(40):
            while not (tmp_path / "pid").exists():
                await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return int((tmp_path / "pid").read_text())

    assert start_time(asyncio.run(go())) is None


def test_a_command_that_does_not_exist_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        asyncio.run(run_command(["./none"], stdin=b"", cwd=tmp_path, env={}, timeout=1, keep=1))
