"""`changeover pause | promote | abort | undo | retry`: control a rollout.

A running controller answers the request. If the controller has ended, `pause` is recorded for the next one, and the
command itself carries out the other actions. docs/actions.md lists the result of each action in each state.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from changeover import wiring
from changeover.cli import exits
from changeover.cli.attendance import stay, with_crash_loops
from changeover.cli.chains import running
from changeover.cli.commands.roll import roll_targets, show_rolled
from changeover.cli.frame import run
from changeover.cli.keeper_process import start_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.reports import NO_FILES, ReportFiles, ReportOption, SummaryOption
from changeover.cli.rendering.output import Output
from changeover.cli.reports import with_report
from changeover.cli.traces import send_last_trace
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import KEEPER, lease
from changeover.engine.release.release import carry_on, pause_unattended
from changeover.engine.runtime import check_templates
from changeover.kit.user import current_user
from changeover.model.errors import fail
from changeover.model.revision import is_restart, template_of
from changeover.model.update import Strategy
from changeover.rollout.tier.actions import ANSWERS, Action, Answer, TierStatus

ANSWER_TIMEOUT = 10.0
"""Seconds that the controller has to respond."""

RolledTierArgument = Annotated[str, typer.Argument(help="The tier. Default: the tier that is being rolled.")]


def pause(
    tier: RolledTierArgument = "", file: FileOption = None, state: StateOption = STATE, json: JsonOption = False
) -> None:
    """Pause a rollout: running drains finish, nothing new begins. Instances that die are still replaced."""
    _run(json, tier, file, state, Action.PAUSE)


def promote(
    tier: RolledTierArgument = "",
    full: Annotated[bool, typer.Option("--full", help="Skip all remaining steps.")] = False,
    report: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Skip the current step and continue."""
    action = Action.PROMOTE_FULL if full else Action.PROMOTE
    _run(json, tier, file, state, action, ReportFiles(report, summary))


def abort(
    tier: RolledTierArgument = "",
    report: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Undo the rollout in progress: re-admit the old instances, drain the new ones."""
    _run(json, tier, file, state, Action.ABORT, ReportFiles(report, summary))


def undo(
    tier: RolledTierArgument = "",
    report: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Undo the rollout in progress, or the tier's last completed one."""
    _run(json, tier, file, state, Action.UNDO, ReportFiles(report, summary))


def retry(
    tier: RolledTierArgument = "",
    report: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Roll again to the template whose rollout was undone."""
    _run(json, tier, file, state, Action.RETRY, ReportFiles(report, summary))


def _run(json: bool, tier: str, file: Path | None, state: Path, action: Action, files: ReportFiles = NO_FILES) -> None:
    run(json, lambda output: control(output, tier, file, state, action, files), acts=True)


async def control(
    output: Output,
    tier: str,
    file: Path | None,
    state: Path,
    action: Action,
    files: ReportFiles = NO_FILES,
    answer_timeout: float = ANSWER_TIMEOUT,
) -> int:
    """Ask the running controller, or carry the action out here if none runs."""
    user = current_user()
    found = running(file, state)
    with contextlib.closing(found.journal()) as journal:
        name = tier or _tier_in_question(journal, action)
        if found.chain.tier(name) is None:
            raise fail(f"there is no tier {name}", next=f"Tiers: {', '.join(t.name for t in found.chain.tiers)}.")
        holder = journal.holder()
        if holder is not None and holder.is_alive() and holder.purpose != KEEPER:
            if files.are_wanted:
                raise fail(
                    f"{action} writes no report: the command with process {holder.pid} carries the rollout on",
                    state="Nothing was changed.",
                    next=f"Run `changeover {action.value}` without --report and --summary, then `changeover wait` "
                    "with them.",
                )
            answer = await answer_of_controller(journal, holder.pid, name, action.value, user, answer_timeout)
            return _print_answer(output, name, action, answer)
        moving = {row.tier for row in journal.rollouts(unfinished=True)}
        if name in moving or (journal.unfinished_release() is not None and not moving):
            return await _take_over(output, found, journal, name, action, user, files)
        return await _at_rest(output, found, journal, name, action, files)


def _tier_in_question(journal: Journal, action: Action) -> str:
    rows = journal.rollouts(unfinished=True) or journal.rollouts()[-1:]
    if not rows:
        raise fail(f"cannot {action}: no tier has been rolled")
    return rows[-1].tier


async def answer_of_controller(
    journal: Journal, pid: int, tier: str, request: str, user: str, timeout: float
) -> Answer:
    """Leave a request and wait for its answer. Raises ChangeoverError after `timeout` s."""
    number, waited = journal.request_action(tier, request, user, time.time()), 0.0
    while (answer := journal.answer_to(number)) is None:
        if waited > timeout:
            raise fail(
                f"the controller (pid {pid}) did not respond within {timeout:.0f} s",
                state="The request stays queued.",
                next="`changeover status` shows what the controller does.",
            )
        await asyncio.sleep(0.05)
        waited += 0.05
    return answer


def _print_answer(output: Output, tier: str, action: Action, answer: Answer) -> int:
    if not answer.done:
        raise fail(f"{action} {tier}: {answer.text}", state="Nothing was changed.")
    output.result({"tier": tier, "action": action.value, "answer": answer.text}, f"{tier}: {answer.text}")
    return exits.DONE


async def _take_over(
    output: Output,
    found: wiring.Wired,
    journal: Journal,
    tier: str,
    action: Action,
    user: str,
    files: ReportFiles,
) -> int:
    """Act on an unfinished rollout whose controller has ended."""
    on_progress = output.progress_since(time.time())
    with lease(journal, f"{action} {tier}", time.time()):
        start_keeper(found.state, journal)
        if action is Action.PAUSE:
            return _print_answer(
                output, tier, action, await pause_unattended(found.runtime, journal, tier, on_progress, user)
            )
        state = journal.tier(tier)
        if action is Action.RETRY and state is not None and state.retry_to is not None:
            _check_retry(found, tier, state.retry_to)
        work = carry_on(found.runtime, journal, on_progress, action, user, files.named)
        released = await stay(with_crash_loops(work, found, journal, on_progress), journal)
    code = show_rolled(output, released)
    await send_last_trace(journal, output.note)
    return await with_report(output, journal, released, files, code)


async def _at_rest(
    output: Output, found: wiring.Wired, journal: Journal, tier: str, action: Action, files: ReportFiles
) -> int:
    rested = journal.tier(tier)
    goal = None if rested is None else {Action.UNDO: rested.undo_to, Action.RETRY: rested.retry_to}.get(action)
    answer = ANSWERS[TierStatus.RESTING, action]
    if not answer.done or goal is None:
        raise fail(
            f"{action} {tier}: {answer.text if not answer.done else 'the tier has no earlier rollout'}",
            state="Nothing was changed.",
        )
    if action is Action.UNDO:
        check_templates(found.runtime, journal, {tier: goal})
    else:
        _check_retry(found, tier, goal)
    if rested is not None and is_restart(rested.goal, goal):
        same = template_of(goal)
        output.note(f"{tier} runs {same} before and after the last rollout: its instances are replaced by new ones.")
        output.note(
            "They start from the code that is on disk now; restore earlier code first if that is what you want."
        )
    by: Strategy | None = "rolling" if action is Action.UNDO else None
    return await roll_targets(output, found, journal, {tier: goal}, by, files=files)


def _check_retry(found: wiring.Wired, tier: str, goal: str) -> None:
    """Refuse to retry a template that was edited since: it is not the one whose rollout was undone."""
    goal = template_of(goal)
    was, now = found.runtime.hashes_in_use()[tier].get(goal), found.runtime.hashes[tier].get(goal)
    if was is not None and was != now:
        raise fail(
            f"template {goal} of tier {tier} was changed since its rollout was undone",
            state="Nothing was changed.",
            next=f"`changeover roll {tier} --to {goal}` rolls to it as it is now; to retry, restore it as it was.",
        )
