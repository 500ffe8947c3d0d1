"""`changeover roll`: move a tier from the template it runs to another without breaking a request."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Group

from changeover import wiring
from changeover.cli import exits
from changeover.cli.attendance import ExitWhenPausedOption, TimeoutOption, stay, with_crash_loops
from changeover.cli.chain_audit import ChainAudit, audit_targets
from changeover.cli.chains import running
from changeover.cli.detached import in_background
from changeover.cli.frame import run
from changeover.cli.keeper_process import start_keeper
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.reports import NO_FILES, ReportFiles, ReportOption, SummaryOption
from changeover.cli.options.targets import (
    AllOption,
    ReleaseOption,
    RestartOption,
    StrategyOption,
    TierArgument,
    ToOption,
    requested_targets,
)
from changeover.cli.preconditions import check_preconditions
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.plan import unused
from changeover.cli.rendering.rolled import nothing_data, one_or_all, rolled_data, rolled_text
from changeover.cli.reports import with_report
from changeover.cli.traces import send_last_trace
from changeover.engine.adoption import read_again
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import patient_lease
from changeover.engine.outside import check_routers
from changeover.engine.release.outcome import Released
from changeover.engine.release.release import check_roll, in_words, is_there
from changeover.engine.release.release import roll as roll_tiers
from changeover.engine.release.saved_plan import SavedPlan, check_fresh
from changeover.engine.release.saved_plan import find as find_plan
from changeover.engine.release.strategies import unread_keys
from changeover.model.errors import fail
from changeover.model.revision import template_of
from changeover.model.update import Strategy
from changeover.ports import Adopts

OUTCOMES = {"completed": exits.DONE, "undone": exits.ROLLED_BACK, "failed": exits.COULD_NOT}


def roll(
    tier: TierArgument = "",
    to: ToOption = "",
    everything: AllOption = False,
    release: ReleaseOption = None,
    strategy: StrategyOption = None,
    restart: RestartOption = False,
    plan: Annotated[
        str, typer.Option("--plan", metavar="ID", help="Execute this plan. Refused if the chain has changed since.")
    ] = "",
    timeout: TimeoutOption = None,
    exit_when_paused: ExitWhenPausedOption = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when the rollout has begun; `changeover wait` waits for its end.")
    ] = False,
    report: ReportOption = None,
    summary: SummaryOption = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Roll a tier, or several as one release, to another template.

    New instances get traffic first, then the old ones are drained and stopped. A release rolls its tiers from the
    inside out, one at a time. If new instances do not become ready, the rollout is undone, and with it the tiers that
    the release has already rolled.

    With --restart, new instances of the same template replace the old ones in the same way. `abort` re-admits the old
    ones; once they have stopped, `undo` can only start the code that is on disk by then.
    """

    async def work(output: Output) -> int:
        if detach:
            return await in_background(
                output, [word for word in sys.argv[1:] if word not in ("--detach", "--json")], state
            )
        stays = partial(stay, timeout=timeout, exit_when_paused=exit_when_paused)
        files = ReportFiles(report, summary)
        found = running(file, state)
        with contextlib.closing(found.journal()) as journal:
            if not plan:
                asked = requested_targets(found, journal, tier, to, everything, release, restart)
                chosen: Strategy | None = strategy.value if strategy else None
                if journal.unfinished_release() is None:
                    await check_preconditions(output, found, asked)
                return await roll_targets(output, found, journal, asked, chosen, stays=stays, files=files)
            if tier or to or everything or release or strategy or restart:
                alone = "--plan cannot be combined with TIER, --to, --all, --release or --strategy"
                raise fail(f"{alone}, nor with --restart")
            saved = find_plan(found.state, plan)
            if journal.unfinished_release() is None:
                await check_preconditions(output, found, saved.targets)
            return await roll_targets(output, found, journal, saved.targets, saved.strategy, saved, stays, files)

    run(json, work, acts=True)


Stay = Callable[[Coroutine[Any, Any, Released], Journal], Coroutine[Any, Any, Released]]
"""Awaits a rollout, for as long as its command stays with it."""


async def roll_targets(
    output: Output,
    found: wiring.Wired,
    journal: Journal,
    targets: Mapping[str, str],
    strategy: Strategy | None,
    plan: SavedPlan | None = None,
    stays: Stay = stay,
    files: ReportFiles = NO_FILES,
) -> int:
    """Roll, print the outcome, and return the exit code. Refused if the chain has changed since `plan` was made."""
    async with patient_lease(journal, f"roll {in_words(targets)}", time.time()):
        unfinished = journal.unfinished_release()
        if isinstance(found.platform, Adopts) and unfinished is None:
            await read_again(found.runtime, journal)
            await found.platform.check({tier: template_of(goal) for tier, goal in targets.items()})
        if plan is not None:
            check_fresh(found.runtime, journal, plan)
        if unfinished is None and all(is_there(journal, found.chain.tier(t), v) for t, v in targets.items()):
            for note in found.keep_environment(journal, targets):
                output.note(note)
            asked = {tier: template_of(goal) for tier, goal in targets.items()}
            parts = [nothing_data(tier, template) for tier, template in asked.items()]
            runs = ", ".join(f"{tier} already runs {template}" for tier, template in asked.items())
            if files.are_wanted:
                output.note("No report was written: nothing was rolled.")
            hint = f"`changeover roll {next(iter(asked))} --restart` replaces its instances all the same."
            output.result(one_or_all(parts, "nothing to do"), f"{runs}. Nothing to do. {hint}")
            return exits.DONE
        found.check_software()
        found.check_configurations(targets)
        await check_routers(found.runtime, targets)
        check_roll(found.runtime, journal, targets, strategy)
        audited = audit_targets(found, journal, targets)
        audited.note(output)
        for key in unread_keys(found.runtime, targets, strategy):
            output.note(unused(*key))
        for note in found.keep_environment(journal, targets):
            output.note(note)
        found.keep_copy(journal, targets)  # after the checks: the keeper starts replacements from this copy
        start_keeper(found.state, journal)
        on_progress = output.progress_since(time.time())
        rolling = roll_tiers(found.runtime, journal, targets, on_progress, strategy, files.named)
        released = await stays(with_crash_loops(rolling, found, journal, on_progress), journal)
    code = show_rolled(output, released, audited)
    await send_last_trace(journal, output.note)
    return await with_report(output, journal, released, files, code)


def show_rolled(output: Output, released: Released, audited: ChainAudit | None = None) -> int:
    """Print the outcome of a release and return the exit code. `audited`: the chain, before a release began."""
    parts = released.parts
    data = one_or_all([rolled_data(one) for one in parts], released.outcome)
    if audited is not None:
        data |= {"audit": audited.data()}
    output.result(data, Group(*map(rolled_text, parts)) if parts else "The release was undone before any tier moved.")
    if released.broke:
        return exits.INTERRUPTED
    return OUTCOMES[released.outcome] if released.is_settled else max(exits.ROLLED_BACK, OUTCOMES[released.outcome])
