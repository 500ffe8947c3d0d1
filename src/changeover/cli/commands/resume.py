"""`changeover resume`: continue a paused rollout, or one whose controller has ended."""

from __future__ import annotations

import contextlib
import time
from functools import partial
from pathlib import Path

from changeover.cli import exits
from changeover.cli.attendance import ExitWhenPausedOption, TimeoutOption, stay, with_crash_loops
from changeover.cli.chains import running
from changeover.cli.commands.control import control
from changeover.cli.commands.roll import Stay, show_rolled
from changeover.cli.frame import run
from changeover.cli.keeper_process import start_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.reports import ReportFiles, ReportOption, SummaryOption
from changeover.cli.rendering.output import Output
from changeover.cli.reports import with_report
from changeover.cli.traces import send_last_trace
from changeover.engine.journal.lease import KEEPER, patient_lease
from changeover.engine.release.release import carry_on
from changeover.rollout.tier.actions import Action


def resume(
    timeout: TimeoutOption = None,
    exit_when_paused: ExitWhenPausedOption = False,
    report: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Resume a paused rollout, or one whose controller has ended. Its deadlines stay the original ones."""
    stays = partial(stay, timeout=timeout, exit_when_paused=exit_when_paused)
    run(json, lambda output: _resume(output, file, state, stays, ReportFiles(report, summary)), acts=True)


async def _resume(output: Output, file: Path | None, state: Path, stays: Stay, files: ReportFiles) -> int:
    found = running(file, state)
    with contextlib.closing(found.journal()) as journal:
        holder = journal.holder()
        if holder is not None and holder.is_alive() and holder.purpose != KEEPER:
            return await control(output, "", file, state, Action.RESUME, files)
        async with patient_lease(journal, "resume", time.time()):
            release = journal.unfinished_release()
            if release is None:
                if files.are_wanted:
                    output.note("No report was written: nothing was rolled.")
                output.result({"outcome": "nothing to do", "rolls": []}, "No rollout is unfinished. Nothing to do.")
                return exits.DONE
            paused = any((tier := journal.tier(t.name)) and tier.paused for t in found.chain.tiers)
            action = Action.RESUME if paused else None
            start_keeper(found.state, journal)
            on_progress = output.progress_since(time.time())
            work = carry_on(found.runtime, journal, on_progress, action, "resume", files.named)
            released = await stays(with_crash_loops(work, found, journal, on_progress), journal)
        code = show_rolled(output, released)
        await send_last_trace(journal, output.note)
        return await with_report(output, journal, released, files, code)
