"""`changeover history` and `changeover show`: past rollouts, as the journal has them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from changeover.cli import exits
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, JsonOption, StateOption
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import RolloutRow
from changeover.model.errors import fail
from changeover.model.units import human_seconds


def history(state: StateOption = STATE, json: JsonOption = False) -> None:
    """List all rollouts: tier, templates, start, duration, outcome."""
    run(json, lambda output: _history(output, state))


def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the rollout, from `history`.")],
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Show the log of one rollout: observations, decisions and phases, with their times."""
    run(json, lambda output: _show(output, number, state))


def _journal(state: Path) -> Journal:
    file = state / "journal.db"
    if not file.exists():
        raise fail(f"no journal in {state}", next="Name the chain's folder with --state.")
    return Journal(file)


async def _history(output: Output, state: Path) -> int:
    with contextlib.closing(_journal(state)) as journal:
        rows, requests = journal.rollouts(), journal.requests()
    table = Table("id", "tier", "from", "to", "started (UTC)", "duration", "requested by", "outcome")
    for row in rows:
        duration = "-" if row.ended is None else human_seconds(round(row.ended - row.started, 1))
        outcome = row.outcome or "unfinished: `changeover resume` continues it"
        table.add_row(
            str(row.id),
            row.tier,
            row.from_template,
            row.to_template,
            _time(row.started),
            duration,
            requests.get(row.id, "-"),
            f"{outcome} {row.reason or ''}",
        )
    output.result(
        {"rollouts": [_rollout_data(row, requests) for row in rows]}, table if rows else "No tier has been rolled."
    )
    return exits.DONE


async def _show(output: Output, number: int, state: Path) -> int:
    with contextlib.closing(_journal(state)) as journal:
        row = next((row for row in journal.rollouts() if row.id == number), None)
        if row is None:
            raise fail(f"no rollout {number}", next="`changeover history` lists them.")
        lines, requests = journal.log(number), journal.requests()
    change = f"{row.tier}: {row.from_template} -> {row.to_template}"
    title = f"{change}, started {_time(row.started)} UTC: {row.outcome or 'unfinished'}"
    table = Table("seconds", "instance", "kind", "text", title=title, title_justify="left")
    for line in lines:
        table.add_row(f"{line.at - row.started:.2f}", line.instance, line.kind, line.text.replace("[", r"\["))
    output.result({"rollout": _rollout_data(row, requests), "log": [asdict(line) for line in lines]}, table)
    return exits.DONE


def _rollout_data(row: RolloutRow, requests: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": row.id,
        "tier": row.tier,
        "from": row.from_template,
        "to": row.to_template,
        "started": row.started,
        "ended": row.ended,
        "outcome": row.outcome,
        "reason": row.reason,
        "hooks_done": row.hooks_done,
        "requested_by": requests.get(row.id),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
