"""`changeover roll`: move a tier from the template it runs to another, without breaking a request."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from changeover import wiring
from changeover.cli import exits
from changeover.cli.commands.up import leave_keeper
from changeover.cli.options.common import FileOption, JsonOption, StateOption, run, running
from changeover.cli.options.targets import AllOption, ReleaseOption, StrategyOption, TierArgument, ToOption, goals
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import patient_lease
from changeover.engine.release.plan import Kept, check_fresh
from changeover.engine.release.plan import find as find_plan
from changeover.engine.release.release import Released, Rolled, check_roll, is_there
from changeover.engine.release.release import roll as roll_tiers
from changeover.model.chain import Strategy
from changeover.model.errors import fail
from changeover.model.units import human_seconds
from changeover.rollout.members.fleet import Member
from changeover.rollout.members.phases import Phase

OUTCOMES = {"completed": exits.DONE, "undone": exits.ROLLED_BACK, "failed": exits.COULD_NOT}


def roll(
    tier: TierArgument = "",
    to: ToOption = "",
    everything: AllOption = False,
    release: ReleaseOption = None,
    strategy: StrategyOption = None,
    plan: Annotated[str, typer.Option("--plan", metavar="ID", help="Carry out a plan, unless it is stale.")] = "",
    file: FileOption = None,
    state: StateOption = wiring.STATE,
    json: JsonOption = False,
) -> None:
    """Roll one tier, or several as one release: new instances in, old ones drained and out.

    Several go from the inside out, one at a time. Undone by itself if the new instances do not get ready; then the
    tiers that were rolled before are taken back too.
    """

    async def work(output: Output) -> int:
        async with running(file, state) as found:
            with contextlib.closing(found.journal()) as journal:
                if not plan:
                    asked = goals(found, tier, to, everything, release)
                    return await roll_goals(output, found, journal, asked, strategy.value if strategy else None)
                if tier or to or everything or release or strategy:
                    raise fail("--plan says everything there is to say: give it alone")
                kept = find_plan(found.state, plan)
                return await roll_goals(output, found, journal, kept.goals, kept.strategy, kept)

    run(json, work)


async def roll_goals(
    output: Output,
    found: wiring.Wired,
    journal: Journal,
    goals: Mapping[str, str],
    strategy: Strategy | None,
    plan: Kept | None = None,
) -> int:
    """Roll, print what came of it, and say with which code to leave. `plan`: only if nothing has changed since."""
    way = ", ".join(f"{tier} to {template}" for tier, template in goals.items())
    async with patient_lease(journal, f"roll {way}", time.time()):
        unfinished = journal.unfinished_release()
        if plan is not None:
            check_fresh(found.world, journal, plan)
        if unfinished is None and all(is_there(journal, found.chain.tier(t), v) for t, v in goals.items()):
            parts = [
                {"tier": t, "from": v, "to": v, "outcome": "nothing to do", "instances": []} for t, v in goals.items()
            ]
            runs = ", ".join(f"{tier} runs {template} already" for tier, template in goals.items())
            output.result(_one_or_all(parts, "nothing to do"), f"{runs}; nothing to do.")
            return exits.DONE
        check_roll(found.world, journal, goals)  # first: from this copy the keeper replaces what dies
        found.keep_copy()
        leave_keeper(found.state, journal)
        released = await roll_tiers(found.world, journal, goals, output.teller(time.time()), strategy)
    return show_rolled(output, released)


def show_rolled(output: Output, released: Released) -> int:
    """Print what came of a release, and say with which code to leave."""
    parts = released.parts
    data = _one_or_all([rolled_data(one) for one in parts], released.outcome)
    output.result(data, Group(*map(rolled_text, parts)) if parts else "Nothing had begun to move; it was taken back.")
    cut = any(member.cut for one in parts for member in one.members)
    return exits.INTERRUPTED if cut else OUTCOMES[released.outcome]


def _one_or_all(parts: list[dict[str, Any]], outcome: str) -> dict[str, Any]:
    """One tier is printed as itself; several as a list with what came of the whole."""
    return parts[0] if len(parts) == 1 else {"outcome": outcome, "rolls": parts}


def rolled_data(done: Rolled) -> dict[str, Any]:
    """A rollout as `roll --json` prints it. Times are seconds since the epoch, keyed by phase."""
    return {
        "tier": done.row.tier,
        "from": done.row.came_from,
        "to": done.row.goal,
        "outcome": done.finish.outcome,
        "reason": done.finish.reason,
        "seconds": round(done.seconds, 3),
        "instances": [
            {
                "name": member.name,
                "template": member.template,
                "phase": member.phase.value,
                "times": {phase.value: round(member.times[phase], 3) for phase in Phase if phase in member.times},
                "last_in_flight": member.last_busy,
                "seconds_from_last_in_flight_to_stop": idle_before_stop(member),
                "cut": member.cut or None,
            }
            for member in done.members
        ],
    }


def idle_before_stop(member: Member) -> float | None:
    """Seconds between the last look that found something in flight and the stop signal; None where none did."""
    stopped = member.times.get(Phase.STOPPING)
    if stopped is None or member.last_busy is None:
        return None
    return round(stopped - member.last_busy, 3)


def rolled_text(done: Rolled) -> RenderableType:
    """A rollout for people."""
    way = f"{done.row.tier}: {done.row.came_from} -> {done.row.goal}"
    cut = [f"{member.name} was cut at its drain deadline: {member.cut}." for member in done.members if member.cut]
    if done.finish.outcome != "completed":
        serves = f"{done.serving} instances of {done.row.came_from} serve everything."
        last = f"Mend {done.row.goal} and roll again, or `changeover retry`."
        word = "undone" if done.finish.outcome == "undone" else "not completed"
        return Text(
            "\n  ".join([f"{way} was {word}: {done.finish.reason}", serves, *(cut or ["Nothing was cut."]), last])
        )
    table = Table(title=f"{way} in {human_seconds(round(done.seconds, 1))}", title_justify="left")
    for column in ("instance", "template", "until serving", "served", "drained in", "last request to stop"):
        table.add_column(column)
    for member in done.members:
        table.add_row(
            member.name,
            member.template,
            _between(member, "created", Phase.ADMITTED),
            _between(member, Phase.ADMITTED, Phase.LEAVING),
            _between(member, Phase.LEAVING, Phase.DRAINED),
            "-" if (idle := idle_before_stop(member)) is None else human_seconds(idle),
        )
    return Group(table, *cut)


def _between(member: Member, first: str, last: str) -> str:
    start, end = member.times.get(first), member.times.get(last)
    return "-" if start is None or end is None else human_seconds(round(end - start, 1))
