"""One run of the probe, from the first GET to the verdict.

The caller stops the run. The probe then finishes the requests in flight, verifies each upload and computes the verdict.
Every wait is bounded, so that a run always ends. Refuses to continue without its ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from changeover.model.errors import ChangeoverError
from changeover.probe.copy_checks import CopyChecks
from changeover.probe.gets import send_gets
from changeover.probe.http.client import ProbeTarget
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow
from changeover.probe.session import Session, TierStateReader
from changeover.probe.traffic_plan import TrafficPlan
from changeover.probe.uploads import send_uploads
from changeover.probe.verdict import Verdict, judge

_REPORT_INTERVAL = 1.0  # seconds between two progress reports, and the longest time that a row stays in memory


@dataclass(frozen=True)
class ProbeProgress:
    """The state of a run. `seconds` since its start; `p99` in milliseconds, None before the first response."""

    seconds: float
    gets: int
    uploads: int
    uploading: int
    bytes_uploaded: int
    lost: int
    duplicated: int
    corrupted: int
    p99: float | None


async def run(
    plan: TrafficPlan,
    *,
    ledger: Ledger,
    stop: asyncio.Event,
    tier_state: TierStateReader | None = None,
    progress: Callable[[ProbeProgress], None] | None = None,
    on_row: Callable[[LedgerRow], None] | None = None,
) -> Verdict:
    """Send `plan` until `stop`, then compute the verdict. The caller closes the ledger.

    The row of a failed request holds the result of `tier_state`; its key `moving` names the tier that is
    rolled. `on_row` gets every row. Raises ChangeoverError when the URL, a file of the TLS settings or the ledger
    cannot be used.
    """
    session = Session(plan, await ProbeTarget.resolve(plan.url, plan.tls), ledger, stop, tier_state, on_row)
    try:
        async with asyncio.TaskGroup() as group:
            reports = group.create_task(_report(session, progress))
            await _send(session)
            reports.cancel()
    except ExceptionGroup as errors:
        raise _user_error(errors) from errors
    ledger.flush()
    return judge(ledger.tally, plan.planned)


async def _send(session: Session) -> None:
    copies = CopyChecks(session)
    async with asyncio.TaskGroup() as group:
        if session.plan.gets:
            group.create_task(send_gets(session))
        for post in session.plan.posts:
            group.create_task(send_uploads(session, post, copies))
    await copies.finish()


async def _report(session: Session, progress: Callable[[ProbeProgress], None] | None) -> None:
    began = session.clock.now()
    while True:
        await asyncio.sleep(_REPORT_INTERVAL)
        session.ledger.flush()
        if progress:
            progress(_snapshot(session, session.clock.now() - began))


def _snapshot(session: Session, seconds: float) -> ProbeProgress:
    tally = session.ledger.tally
    corrupted = tally.count(outcome="corrupted")
    return ProbeProgress(
        seconds=seconds,
        gets=tally.count(kind="get"),
        uploads=tally.count(kind="upload"),
        uploading=session.uploading,
        bytes_uploaded=tally.bytes_uploaded,
        lost=tally.count(outcome="lost") + corrupted,
        duplicated=tally.count(outcome="duplicated"),
        corrupted=corrupted,
        p99=tally.latency.quantile(0.99) * 1000 if tally.latency.count else None,
    )


def _user_error(errors: ExceptionGroup[Exception]) -> Exception:
    """The error that has a message for the user, if any: one full disk fails many tasks at once."""
    for error in errors.exceptions:
        found = _user_error(error) if isinstance(error, ExceptionGroup) else error
        if isinstance(found, ChangeoverError):
            return found
    return errors
