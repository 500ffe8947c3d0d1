from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable

import pytest
import typer

from changeover.cli.exits import COULD_NOT, INTERRUPTED, ROLLED_BACK
from changeover.cli.frame import run, run_synchronous
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail
from changeover.ports import CannotStart, Unknown


def code_of(raised: BaseException | None = None, *, as_json: bool = False, code: int = 0) -> int:
    async def work(output: Output) -> int:
        if raised is not None:
            raise raised
        return code

    with pytest.raises(typer.Exit) as left:
        run(as_json, work)
    return left.value.exit_code


@pytest.mark.parametrize("code", [0, ROLLED_BACK, INTERRUPTED])
def test_a_command_exits_with_the_code_that_it_returns(code: int) -> None:
    assert code_of(code=code) == code


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (fail("no such tier", next="Name another."), COULD_NOT, "error: no such tier\n  Name another."),
        (fail("broken", exit_code=INTERRUPTED), INTERRUPTED, "error: broken"),
        (Unknown("haproxy is silent"), COULD_NOT, "error: haproxy is silent\n  `changeover status` shows"),
        (CannotStart("no such file"), COULD_NOT, "error: no such file"),
        (PermissionError(13, "Permission denied", "journal.db"), COULD_NOT, "error: journal.db: Permission denied\n"),
        (KeyboardInterrupt(), COULD_NOT, "error: interrupted before the command was done"),
        (typer.Abort(), COULD_NOT, "error: interrupted before the command was done"),
    ],
    ids=["an error", "its own code", "unknown", "cannot start", "the system", "Ctrl-C", "Ctrl-D at a prompt"],
)
def test_an_expected_error_is_a_message_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, message: str
) -> None:
    assert code_of(error) == code
    assert message in capsys.readouterr().err


def test_with_json_the_error_is_an_object_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    code_of(fail("no such tier", where="chain.yaml:3"), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["exit_code"] == COULD_NOT
    assert printed["error"] == [{"what": "no such tier", "where": "chain.yaml:3", "state": "", "next": ""}]


def test_an_unforeseen_exception_passes_through_to_the_fault_handler() -> None:
    async def work(output: Output) -> int:
        raise KeyError("edge")

    with pytest.raises(KeyError):
        run(False, work)


def test_sigterm_cancels_the_command_as_ctrl_c_does(capsys: pytest.CaptureFixture[str]) -> None:
    forever: Callable[[], Awaitable[object]] = asyncio.Event().wait

    async def work(output: Output) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        await forever()
        return 0

    with pytest.raises(typer.Exit) as left:
        run(False, work)
    assert left.value.exit_code == COULD_NOT
    assert "a rollout stays at its current step" in capsys.readouterr().err


@pytest.mark.parametrize(("acts", "code"), [(True, 0), (False, COULD_NOT)], ids=["changes a chain", "only prints"])
def test_a_closed_terminal_ends_a_command_that_only_prints(acts: bool, code: int) -> None:
    async def work(output: Output) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(10):  # turns of the loop, in which the signal arrives
            await asyncio.sleep(0)
        return 0

    with pytest.raises(typer.Exit) as left:
        run(False, work, acts=acts)
    assert left.value.exit_code == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_that_awaits_nothing_at_once(
    capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    before = signal.getsignal(number)

    def work(output: Output) -> int:
        os.kill(os.getpid(), number)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            pass
        return 0

    with pytest.raises(typer.Exit) as left:
        run_synchronous(False, work)
    assert left.value.exit_code == COULD_NOT
    assert "error: interrupted before the command was done" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_under_nohup_a_closed_terminal_ends_no_command_that_awaits_nothing() -> None:
    def work(output: Output) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return ROLLED_BACK

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(typer.Exit) as left:
            run_synchronous(False, work)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert left.value.exit_code == ROLLED_BACK
