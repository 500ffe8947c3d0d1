"""One run of the probe, from the first GET to the verdict.

Ends by being stopped: what is in flight is finished, what was uploaded is proved, and only then judged. Every
wait in it is bounded, so that it always ends. Refuses to go on without its ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from changeover.model.errors import ChangeoverError
from changeover.probe.client import ProbeTarget
from changeover.probe.copy_checks import CopyChecks
from changeover.probe.gets import send_gets
from changeover.probe.ledger import Ledger
from changeover.probe.session import Session, TierState
from changeover.probe.traffic_plan import TrafficPlan
from changeover.probe.uploads import send_uploads
from changeover.probe.verdict import Verdict, judge

_BEAT = 1.0  # seconds between two progress reports, and the longest a row stays in memory


@dataclass(frozen=True)
class ProbeProgress:
    """Where a run stands. `seconds` since it began; `p99` in milliseconds, None before the first answer."""

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
    load: TrafficPlan,
    *,
    ledger: Ledger,
    stop: asyncio.Event,
    tier_state: TierState | None = None,
    progress: Callable[[ProbeProgress], None] | None = None,
) -> Verdict:
    """Send `load` until `stop`, then judge. The ledger stays open; it belongs to the caller.

    `tier_state` is asked when a request went wrong, and what it says goes into the row; its key `moving`
    names the tier that moves. Raises ChangeoverError when the URL, the CA or the ledger cannot be used.
    """
    session = Session(load, await ProbeTarget.resolve(load.url, load.ca_file), ledger, stop, tier_state)
    try:
        async with asyncio.TaskGroup() as group:
            beat = group.create_task(_beat(session, progress))
            await _send(session)
            beat.cancel()
    except ExceptionGroup as errors:
        raise _plainest(errors) from errors
    ledger.flush()
    return judge(ledger.tally, load.planned)


async def _send(session: Session) -> None:
    copies = CopyChecks(session)
    async with asyncio.TaskGroup() as group:
        if session.load.rate:
            group.create_task(send_gets(session))
        if session.load.uploads:
            group.create_task(send_uploads(session, copies))
    await copies.settle()


async def _beat(session: Session, progress: Callable[[ProbeProgress], None] | None) -> None:
    began = session.clock.now()
    while True:
        await asyncio.sleep(_BEAT)
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


def _plainest(errors: ExceptionGroup[Exception]) -> Exception:
    """The one meant for the user, if any: a ledger that cannot be written fails in many tasks at once."""
    for error in errors.exceptions:
        found = _plainest(error) if isinstance(error, ExceptionGroup) else error
        if isinstance(found, ChangeoverError):
            return found
    return errors
