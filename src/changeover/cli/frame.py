"""The frame in which a command runs: errors become messages and exit codes here, once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from changeover.cli.rendering.output import Output
from changeover.model.errors import ChangeoverError, fail
from changeover.ports import CannotStart, Unknown


def run(as_json: bool, work: Callable[[Output], Coroutine[Any, Any, int]]) -> None:
    """Run a command's coroutine and leave with its exit code. SIGTERM ends it as Ctrl-C does: tidily."""
    output = Output(as_json=as_json)
    try:
        code = asyncio.run(_until_told(work(output)))
    except ChangeoverError as error:
        output.problem(error)
        code = error.exit_code
    except (Unknown, CannotStart) as error:
        failure = fail(str(error), next="`changeover status` shows what runs; the logs lie in the state folder.")
        output.problem(failure)
        code = failure.exit_code
    except OSError as error:
        failure = fail(
            error.strerror or str(error) or type(error).__name__,
            where=str(error.filename or ""),
            state="Nothing more was done; what serves goes on serving.",
            next="Give back the file or its permissions, or name another folder with --state.",
        )
        output.problem(failure)
        code = failure.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        stopped = fail(
            "stopped before it was done",
            state="What serves goes on serving; a rollout stays where it is until somebody carries it on.",
            next="Run the same command again, or `changeover resume`; `changeover status` shows where things are.",
        )
        output.problem(stopped)
        code = stopped.exit_code
    raise typer.Exit(code)


async def _until_told(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
