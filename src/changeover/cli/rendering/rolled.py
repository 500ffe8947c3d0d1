"""Rollouts that have ended, as `roll` prints them: one JSON object, or a table of instances."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from changeover.engine.release.outcome import Rolled
from changeover.model.revision import is_restart, template_of
from changeover.model.units import human_seconds
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase


def one_or_all(parts: list[dict[str, Any]], outcome: str) -> dict[str, Any]:
    """The object of `roll --json`: one tier as itself, several as a list with the outcome of the release."""
    return parts[0] if len(parts) == 1 else {"outcome": outcome, "rolls": parts}


def nothing_data(tier: str, template: str) -> dict[str, Any]:
    """The object of a tier that already runs that template."""
    return {
        "tier": tier,
        "from": template,
        "to": template,
        "restart": False,
        "outcome": "nothing to do",
        "instances": [],
    }


def rolled_data(done: Rolled) -> dict[str, Any]:
    """One rollout as an object. Times are seconds since the epoch, by phase."""
    return {
        "tier": done.row.tier,
        "from": template_of(done.row.from_template),
        "to": template_of(done.row.to_template),
        "restart": is_restart(done.row.from_template, done.row.to_template),
        "outcome": done.finish.outcome,
        "reason": done.finish.reason,
        "seconds": round(done.seconds, 3),
        "interrupted": bool(done.broke),
        "interruptions": list(done.interruptions),
        "long_lived": list(done.long_lived),
        "deaths": list(done.deaths),
        "disagreements": list(done.disagreements),
        "instances": [
            {
                "name": member.name,
                "template": template_of(member.template),
                "phase": member.phase.value,
                "times": {phase.value: round(member.times[phase], 3) for phase in Phase if phase in member.times},
                "last_in_flight_at": member.last_busy,
                "seconds_from_last_in_flight_to_stop": idle_before_stop(member),
                "cut": member.cut or None,
                "killed": member.killed,
                "died": member in done.died,
            }
            for member in done.members
        ],
    }


def idle_before_stop(member: Member) -> float | None:
    """Seconds from the last observation with a request in flight to the stop signal; None if there was none."""
    stopped = member.times.get(Phase.STOPPING)
    if stopped is None or member.last_busy is None:
        return None
    return round(stopped - member.last_busy, 3)


def rolled_text(done: Rolled) -> RenderableType:
    """One rollout as text."""
    before, after = template_of(done.row.from_template), template_of(done.row.to_template)
    restart = is_restart(done.row.from_template, done.row.to_template)
    way = f"{done.row.tier}: restart of {after}" if restart else f"{done.row.tier}: {before} -> {after}"
    notes = [*done.broke, *done.long_lived, *done.deaths, *done.disagreements]
    if done.finish.outcome != "completed":
        serves = f"{done.serving} instances of {before} serve all traffic."
        if not done.serving:
            serves = f"No instance of tier {done.row.tier} is in service: `changeover status` names the reasons."
        again = f"`changeover roll {done.row.tier} --to {after}{' --restart' * restart}`"
        last = f"Correct {after} and run {again} again; `changeover retry` rolls to it unchanged."
        word = "undone" if done.finish.outcome == "undone" else "not completed"
        return Text(
            "\n  ".join([f"{way} was {word}: {done.finish.reason}", serves, *(notes or ["Nothing was cut."]), last])
        )
    table = Table(title=f"{way} in {human_seconds(round(done.seconds, 1))}", title_justify="left")
    for column in ("instance", "template", "time to serving", "served for", "drained in", "last request to stop"):
        table.add_column(column)
    for member in done.members:
        table.add_row(
            member.name,
            template_of(member.template),
            _between(member, "created", Phase.ADMITTED),
            _between(member, Phase.ADMITTED, Phase.LEAVING),
            _between(member, Phase.LEAVING, Phase.DRAINED),
            "-" if (idle := idle_before_stop(member)) is None else human_seconds(idle),
        )
    return Group(table, *notes)


def _between(member: Member, first: str, last: str) -> str:
    start, end = member.times.get(first), member.times.get(last)
    return "-" if start is None or end is None else human_seconds(round(end - start, 1))
