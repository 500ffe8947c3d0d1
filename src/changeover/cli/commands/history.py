"""`changeover history` and `changeover show`: past rollouts, as the journal has them."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from changeover.cli import exits
from changeover.cli.chains import stored_journal
from changeover.cli.frame import run_synchronous
from changeover.cli.options.common import STATE, JsonOption, StateOption
from changeover.cli.options.reports import LedgerOption
from changeover.cli.rendering.output import Output
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import RolloutRow
from changeover.engine.release.outcome import Rolled, rolled_before
from changeover.model.errors import fail
from changeover.model.revision import is_restart, template_of
from changeover.model.units import human_seconds


def history(state: StateOption = STATE, json: JsonOption = False) -> None:
    """List all rollouts: tier, templates, start, duration, outcome."""
    run_synchronous(json, lambda output: _history(output, state))


def show(
    number: Annotated[int, typer.Argument(metavar="ID", help="Number of the rollout, from `history`.")],
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a report with pictures: one page that needs no network."),
    ] = None,
    ledger: LedgerOption = None,
    otlp: Annotated[
        bool, typer.Option("--otlp", help="Send the trace of its release to the collector that OTEL_* names.")
    ] = False,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Show the log of one rollout: observations, decisions and phases, with their times."""
    run_synchronous(json, lambda output: _show(output, number, state, html, ledger, otlp))


def history_data(state: Path, first: int, most: int) -> list[dict[str, Any]]:
    """The rollouts of `history --json` from number `first` on; of them, at `most` the last. Raises ChangeoverError."""
    with contextlib.closing(stored_journal(state)) as journal:
        rows, requests = journal.rollouts(), journal.requests()
        deaths = _deaths(journal, rows)
        wanted = [row for row in rows if row.id >= first][-most:]
        return [_rollout_data(rolled_before(journal, row), requests, deaths[row.id]) for row in wanted]


def show_data(state: Path, number: int) -> dict[str, Any]:
    """The object of `show --json`. Raises ChangeoverError."""
    with contextlib.closing(stored_journal(state)) as journal:
        return _shown(journal, rollout_row(journal, number))


def rollout_row(journal: Journal, number: int) -> RolloutRow:
    """The rollout of that number. Raises ChangeoverError."""
    row = next((row for row in journal.rollouts() if row.id == number), None)
    if row is None:
        raise fail(f"no rollout {number}", next="`changeover history` lists them.")
    return row


def _shown(journal: Journal, row: RolloutRow) -> dict[str, Any]:
    deaths = _deaths(journal, journal.rollouts())[row.id]
    return {
        "rollout": _rollout_data(rolled_before(journal, row), journal.requests(), deaths),
        "log": [asdict(line) for line in journal.log(row.id)],
    }


def _history(output: Output, state: Path) -> int:
    with contextlib.closing(stored_journal(state)) as journal:
        rows, requests = journal.rollouts(), journal.requests()
        deaths = _deaths(journal, rows)
        past = {row.id: rolled_before(journal, row) for row in rows}
    table = Table("id", "tier", "from", "to", "started (UTC)", "duration", "requested by", "outcome")
    for row in rows:
        duration = "-" if row.ended is None else human_seconds(round(row.ended - row.started, 1))
        outcome = row.outcome or "unfinished: `changeover resume` continues it"
        table.add_row(
            str(row.id),
            row.tier,
            template_of(row.from_template),
            template_of(row.to_template) + _restart(row),
            _time(row.started),
            duration,
            requests.get(row.id, "-"),
            f"{outcome} {row.reason or ''}{_in_words(*deaths[row.id])}"
            + " (interrupted)" * bool(past[row.id].broke)
            + " (its platform differs)" * bool(past[row.id].disagreements),
        )
    output.result(
        {"rollouts": [_rollout_data(past[row.id], requests, deaths[row.id]) for row in rows]},
        table if rows else "No tier has been rolled.",
    )
    return exits.DONE


def _show(output: Output, number: int, state: Path, html: Path | None, ledgers: list[Path] | None, otlp: bool) -> int:
    if ledgers and html is None:
        raise fail("--ledger needs --html: the log has no requests")
    with contextlib.closing(stored_journal(state)) as journal:
        row = rollout_row(journal, number)
        data, lines = _shown(journal, row), journal.log(number)
        if otlp:
            from changeover.cli.traces import send_again  # here: nothing else of this command needs asyncio

            send_again(journal, row, output.note)
        if html is not None:
            from changeover.cli import reports  # here: nothing else of this command needs the readers of chain files

            report = reports.rollouts_report(journal, [row], ledgers)
    if html is not None:
        reports.write_page(report, html)
        output.result({**data, "report": str(html)}, reports.in_words(report, html))
        return exits.DONE
    change = f"{row.tier}: {template_of(row.from_template)} -> {template_of(row.to_template)}{_restart(row)}"
    title = f"{change}, started {_time(row.started)} UTC: {row.outcome or 'unfinished'}"
    table = Table("seconds", "instance", "kind", "text", title=title, title_justify="left")
    for line in lines:
        table.add_row(f"{line.at - row.started:.2f}", line.instance, line.kind, line.text.replace("[", r"\["))
    output.result(data, table)
    return exits.DONE


def _deaths(journal: Journal, rows: list[RolloutRow]) -> dict[int, tuple[int, int]]:
    """Instances that died or did not start: during each rollout, and from its end to the tier's next one."""
    found, following = {}, dict[str, float]()
    times = defaultdict[str, list[float]](list)
    for tier, at in journal.failure_times():
        times[tier].append(at)
    for row in sorted(rows, key=lambda row: -row.id):
        end = inf if row.ended is None else row.ended
        mine = [at for at in times[row.tier] if row.started <= at < following.get(row.tier, inf)]
        found[row.id] = (sum(at <= end for at in mine), sum(at > end for at in mine))
        following[row.tier] = min(row.started, following.get(row.tier, inf))
    return found


def _restart(row: RolloutRow) -> str:
    return " (restart)" if is_restart(row.from_template, row.to_template) else ""


def _in_words(during: int, since: int) -> str:
    counts = [f"{during} failed during it"] * (during > 0) + [f"{since} failed since"] * (since > 0)
    return f" (instances: {', '.join(counts)})" if counts else ""


def _rollout_data(past: Rolled, requests: Mapping[int, str], deaths: tuple[int, int]) -> dict[str, Any]:
    row = past.row
    return {
        "id": row.id,
        "tier": row.tier,
        "from": template_of(row.from_template),
        "to": template_of(row.to_template),
        "restart": is_restart(row.from_template, row.to_template),
        "started": row.started,
        "ended": row.ended,
        "outcome": row.outcome,
        "reason": row.reason,
        "hooks_done": row.hooks_done,
        "requested_by": requests.get(row.id),
        "deaths": deaths[0],
        "deaths_since": deaths[1],
        "interruptions": list(past.broke),
        "disagreements": list(past.disagreements),
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
