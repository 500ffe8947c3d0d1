"""The trace of a release that has ended, sent where the standard variables of OpenTelemetry say.

The command prints why a trace could not be sent. That changes neither the rollout nor the exit code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import Release, RolloutRow
from changeover.engine.release.outcome import rolled_before
from changeover.model.errors import fail
from changeover.traces import otlp
from changeover.traces.spans import RolloutLog, span_id, spans_of, trace_id


async def send_trace(journal: JournalReader, release: Release | None, note: Callable[[str], None]) -> bool:
    """Send it if there is a collector, and note whether that succeeded. Call it without the lease. Returns the same."""
    if release is None or release.ended is None or not (where := otlp.endpoint()):
        return False
    rollouts = [
        RolloutLog(row, journal.log(row.id), rolled_before(journal, row).broke) for row in journal.rollouts_of(release)
    ]
    trace = trace_id(release)
    try:
        await otlp.send(spans_of(release, rollouts), trace, partial(span_id, release))
    except otlp.NotSent as error:
        again = f" `changeover show {rollouts[-1].row.id} --otlp` sends it again." if rollouts else ""
        note(f"The trace {trace:032x} was not sent to {where}: {error}.{again}")
        return False
    note(f"The trace {trace:032x} was sent to {where}.")
    return True


async def send_last_trace(journal: JournalReader, note: Callable[[str], None]) -> None:
    """That of the release that has just ended."""
    await send_trace(journal, journal.last_release(), note)


def send_again(journal: JournalReader, row: RolloutRow, note: Callable[[str], None]) -> None:
    """That of the release of a rollout. Raises ChangeoverError where nothing was sent."""
    release = journal.release_of(row)
    if release is None:
        raise fail(f"rollout {row.id} has no trace: `up` started its tier", next="Name a rollout that `roll` began.")
    if release.ended is None:
        raise fail(
            f"the release of rollout {row.id} has not ended",
            next="Its trace is sent at its end. `changeover resume` continues it.",
        )
    if not otlp.endpoint():
        raise fail(
            "no collector is named, or the variables of OpenTelemetry switch traces off",
            next="Set OTEL_EXPORTER_OTLP_ENDPOINT, such as http://127.0.0.1:4318.",
        )
    reasons: list[str] = []
    if not asyncio.run(send_trace(journal, release, reasons.append)):
        raise fail(reasons[-1])
    note(reasons[-1])
