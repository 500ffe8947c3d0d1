"""`changeover probe`: send traffic, count every broken request, print a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli import exits
from changeover.cli.chains import running
from changeover.cli.frame import run
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.traffic import ConnectionsOption, RateOption, SizeOption, TimeOption, UploadsOption
from changeover.cli.options.values import seconds
from changeover.cli.rendering.output import Output
from changeover.cli.survey import edge_url
from changeover.engine.journal.journal import Journal
from changeover.model.units import human_bytes
from changeover.probe import report
from changeover.probe.ledger import Ledger
from changeover.probe.traffic import ProbeProgress
from changeover.probe.traffic import run as send
from changeover.probe.traffic_plan import TrafficPlan


@dataclass(frozen=True)
class TrafficTarget:
    """Where to send traffic, and how to ask what the tiers are doing (None for a server outside a chain)."""

    url: str
    ca_file: Path | None
    tier_state: Callable[[], Mapping[str, object]] | None


def probe(
    url: Annotated[str, typer.Option(help="Where to send requests. Default: the edge of the running chain.")] = "",
    ca: Annotated[Path | None, typer.Option(help="CA file that verifies the certificate of --url.")] = None,
    duration: Annotated[
        float, typer.Option(parser=seconds, metavar="TIME", help="How long to send; 0s: until Ctrl-C or SIGTERM.")
    ] = 0,
    rate: RateOption = 300.0,
    connections: ConnectionsOption = 16,
    uploads: UploadsOption = 4,
    upload_size: SizeOption = 50_000_000,
    upload_time: TimeOption = 14.0,
    ledger: Annotated[Path | None, typer.Option(help="File that gets one JSON line per request.")] = None,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Send GETs and slow uploads without retries, and count broken requests. Exits 3 if a request broke."""

    async def work(output: Output) -> int:
        async with _target(url, ca, file, state) as target:
            load = TrafficPlan(
                target.url,
                target.ca_file,
                rate=rate,
                connections=connections,
                uploads=uploads,
                upload_size=int(upload_size),
                upload_seconds=upload_time,
            )
            return await _probe(output, load, target, ledger or new_ledger(state), duration)

    run(json, work)


@asynccontextmanager
async def _target(url: str, ca: Path | None, file: Path | None, state: Path) -> AsyncIterator[TrafficTarget]:
    if url:
        yield TrafficTarget(url, ca, None)
        return
    async with running(file, state) as found:
        with contextlib.closing(found.journal()) as journal:
            yield TrafficTarget(edge_url(found), found.platform.ca_file, lambda: tier_state(journal))


def tier_state(journal: Journal) -> Mapping[str, object]:
    """What the tiers are doing at the moment, for the ledger rows of broken requests."""
    try:
        return journal.tier_state()
    except sqlite3.Error as error:
        return {"unknown": str(error)}


async def _probe(output: Output, load: TrafficPlan, target: TrafficTarget, ledger: Path, duration: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if duration:
        loop.call_later(duration, stop.set)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with Ledger(ledger) as book:
        verdict = await send(
            load,
            ledger=book,
            stop=stop,
            tier_state=target.tier_state,
            progress=lambda now: output.err.print(progress_line(now), soft_wrap=True),
        )
    output.result({**verdict.to_dict(), "ledger": str(ledger)}, report.render(verdict))
    return exits.DONE if verdict.clean else exits.INTERRUPTED


def new_ledger(state: Path) -> Path:
    """A new file: a ledger is evidence and is never overwritten."""
    return state / "ledgers" / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.jsonl"


def progress_line(now: ProbeProgress) -> str:
    """`12 s  3,600 GET (p99 8.1 ms)  6 uploads done, 4 in flight (310.2 MB)  0 lost, 0 duplicated, 0 corrupted`."""
    p99 = "" if now.p99 is None else f" (p99 {now.p99:.1f} ms)"
    return (
        f"{now.seconds:4.0f} s  {now.gets:,} GET{p99}  {now.uploads} uploads done, {now.uploading} in flight "
        f"({human_bytes(now.bytes_uploaded)})  {now.lost} lost, {now.duplicated} duplicated, {now.corrupted} corrupted"
    )
