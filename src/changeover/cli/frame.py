"""The frame in which a command runs: expected errors become messages and exit codes here, once.

What it does not expect is a fault of the program and passes through to main.py.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from changeover.cli.rendering.output import Output
from changeover.model.errors import ChangeoverError, fail
from changeover.ports import CannotStart, Unknown


def run(as_json: bool, work: Callable[[Output], Coroutine[Any, Any, int]], *, acts: bool = False) -> None:
    """Run a command's coroutine and exit with its code. SIGTERM cancels it as Ctrl-C does.

    `acts`: the command changes a chain. Then neither a closed terminal nor a lost reader of its output ends it.
    """
    import asyncio  # here: `--help`, and a command that awaits nothing, start without it

    output = Output(as_json=as_json, acts=acts)
    with errors_as_exit_codes(output):
        try:
            code = asyncio.run(_with_signals(work(output), acts))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        raise typer.Exit(code)


def run_synchronous(as_json: bool, work: Callable[[Output], int]) -> None:
    """Run a command that awaits nothing, and exit with its code. Ctrl-C, SIGTERM and SIGHUP end it at once.

    It has no event loop: a loop only cancels its task at a signal, and so acts on it after the function has returned.
    """
    output = Output(as_json=as_json, acts=False)
    with errors_as_exit_codes(output), _signals_interrupt():
        raise typer.Exit(work(output))


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does. A SIGHUP that is ignored, as by `nohup`, stays so."""
    heard = [signal.SIGTERM, signal.SIGHUP]
    before = {number: was for number in heard if (was := signal.getsignal(number)) is not signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


@contextmanager
def errors_as_exit_codes(output: Output) -> Iterator[None]:
    """Print an expected error and exit with its code."""
    try:
        yield
    except ChangeoverError as error:
        _fail(output, error)
    except (Unknown, CannotStart) as error:
        _fail(output, fail(str(error), next="`changeover status` shows what runs; the logs are in the state folder."))
    except OSError as error:
        _fail(
            output,
            fail(
                error.strerror or str(error) or type(error).__name__,
                where=str(error.filename or ""),
                state="The command stopped there. Running instances continue to serve.",
                next="Make room on the disk, restore the file or its permissions, or name another folder with --state.",
            ),
        )
    except (KeyboardInterrupt, typer.Abort):  # Typer raises the last at its prompts
        _fail(
            output,
            fail(
                "interrupted before the command was done",
                state="Running instances continue to serve; a rollout stays at its current step.",
                next="Run the command again, or `changeover resume`; `changeover status` shows the state.",
            ),
        )


def _fail(output: Output, error: ChangeoverError) -> NoReturn:
    output.problem(error)
    raise typer.Exit(error.exit_code)


async def _with_signals(work: Coroutine[Any, Any, int], acts: bool) -> int:
    import asyncio

    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    if acts:
        # A handler, because child processes would inherit SIG_IGN, and servers reload at this signal.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` sets it
        loop.add_signal_handler(signal.SIGHUP, task.cancel)
    return await task
