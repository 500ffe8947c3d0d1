"""The report of `demo`: one JSON object, or a table."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from changeover.cli.rendering.rolled import idle_before_stop, rolled_data
from changeover.engine.release.outcome import Rolled
from changeover.probe.records.ledger import read_ledger
from changeover.rollout.members.phases import Phase


def data(verdict: dict[str, Any], rolls: list[Rolled], ledger: Path, since: float) -> dict[str, Any]:
    idle = [seconds for done in rolls for member in done.members if (seconds := idle_before_stop(member)) is not None]
    # An upload overlaps a replacement if it is in flight when an old instance leaves its routers or exits.
    replaced = [m.times[p] for done in rolls for m in done.members for p in (Phase.LEAVING, Phase.GONE) if p in m.times]
    uploads = [row for row in read_ledger(ledger) if row.kind == "upload"]
    overlapping = sum(any(row.started < moment < row.finished for moment in replaced) for row in uploads)
    return {
        "verdict": verdict,
        "rolls": [rolled_data(done) for done in rolls],
        "uploads": {"sent": len(uploads), "overlapping_a_replacement": overlapping},
        "seconds_from_last_in_flight_to_stop": {
            "instances": len(idle),
            "median": round(statistics.median(idle), 3) if idle else None,
            "max": max(idle, default=None),
        },
        "seconds": round(time.time() - since, 1),
    }


def picture(found: dict[str, Any], naive: bool) -> RenderableType:
    verdict, idle = found["verdict"], found["seconds_from_last_in_flight_to_stop"]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("verdict", Text(verdict["summary"], style="bold green" if verdict["clean"] else "bold red"))
    for kind, count in verdict["counts"].items():
        table.add_row(kind, f"{count['sent']:,} sent, {count['ok']:,} ok, {count['lost']:,} lost")
    if verdict["get_latency_ms"]:
        table.add_row(
            "GET latency", "  ".join(f"{name} {value:.1f} ms" for name, value in verdict["get_latency_ms"].items())
        )
    table.add_row(
        "uploads",
        f"{found['uploads']['overlapping_a_replacement']} of {found['uploads']['sent']} overlapped a replacement",
    )
    for done in found["rolls"]:
        table.add_row(done["tier"], f"{done['from']} -> {done['to']} {done['outcome']} in {done['seconds']:.1f} s")
    if idle["instances"]:
        table.add_row(
            "last request to stop",
            f"median {idle['median'] * 1000:.0f} ms, at most {idle['max'] * 1000:.0f} ms "
            f"over {idle['instances']} instances",
        )
    for reason, count in verdict["failures_by_reason"].items():
        table.add_row("broken", f"{count} x {reason}")
    for tier, count in verdict["failures_by_moving_tier"].items():
        table.add_row("broken while moving", f"{count} x {tier}")
    table.add_row("time", f"{found['seconds']:.0f} s")
    if naive and not verdict["clean"]:
        table.add_row("", "This was the control run, without draining. It is meant to break requests.")
    return table
