"""`changeover wait`: wait for the end of a rollout that another process controls."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from changeover.cli import exits
from changeover.cli.attendance import WaitTimeoutOption, left, waits_for_operator
from changeover.cli.chains import stored_journal
from changeover.cli.commands.roll import show_rolled
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, JsonOption, StateOption
from changeover.cli.options.reports import ReportFiles, ReportOption, SummaryOption
from changeover.cli.rendering.output import Output
from changeover.cli.reports import with_report
from changeover.engine.journal.journal import Journal
from changeover.engine.release.outcome import last_released
from changeover.model.errors import fail

LOOK = 0.2
"""Seconds between two looks at the rollout."""
WITHOUT_CONTROLLER = 3.0
"""Seconds after which a rollout counts as abandoned. The keeper takes one up within a second, if it is to."""


def wait(
    timeout: WaitTimeoutOption = None,
    report: ReportOption = None,
    summary: SummaryOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Wait until the rollout in progress has ended, and print its outcome.

    Without one it prints the outcome of the last. The exit code is that of `roll`; 5 if the rollout is paused, waits
    for `promote`, has lost its controller, or does not end in time.
    """
    run(json, lambda output: _wait(output, state, timeout, ReportFiles(report, summary)))


async def _wait(output: Output, state: Path, timeout: float | None, files: ReportFiles) -> int:
    with contextlib.closing(stored_journal(state)) as journal:
        await _until_ended(journal, timeout)
        released = last_released(journal)
        if released is None:
            if files.are_wanted:
                output.note("No report was written: nothing was rolled.")
            output.result({"outcome": "nothing to do", "rolls": []}, "No tier has been rolled.")
            return exits.DONE
        return await with_report(output, journal, released, files, show_rolled(output, released))


async def _until_ended(journal: Journal, timeout: float | None) -> None:
    """Raises ChangeoverError with code 5."""
    started = controlled = time.monotonic()
    while journal.unfinished_release() is not None:
        if why := waits_for_operator(journal):
            raise left(journal, why)
        now, holder = time.monotonic(), journal.holder()
        if holder is not None and holder.is_alive():
            controlled = now
        elif now - controlled > WITHOUT_CONTROLLER:
            raise left(journal, "has no controller: the command that controlled it has ended")
        if timeout is not None and now - started > timeout:
            raise fail(
                f"the rollout has not ended within {timeout:g} s",
                state="It goes on.",
                next="Run `changeover wait` again, or `changeover status --watch`.",
                exit_code=exits.UNFINISHED,
            )
        await asyncio.sleep(LOOK)
