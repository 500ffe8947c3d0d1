"""How long a command stays with a rollout: until it ends, waits for an operator, or the command's time is over."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from changeover.cli import exits
from changeover.cli.options.values import seconds
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.reading import JournalReader
from changeover.engine.keeper.crash_loops import reported_meanwhile
from changeover.engine.keeper.health import unfinished
from changeover.engine.release.outcome import Released
from changeover.engine.runtime import ProgressListener
from changeover.kit.user import current_user
from changeover.model.errors import ChangeoverError, fail
from changeover.platforms.local.logs import bounded
from changeover.ports import Launches
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Action, TierStatus, status_of
from changeover.wiring import Wired

TimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        parser=seconds,
        metavar="TIME",
        help="Pause a rollout that has not ended after this time, and exit with 5.",
    ),
]
WaitTimeoutOption = Annotated[
    float | None, typer.Option("--timeout", parser=seconds, metavar="TIME", help="Exit with 5 after this time.")
]
ExitWhenPausedOption = Annotated[
    bool,
    typer.Option(
        "--exit-when-paused",
        help="Exit with 5 when the rollout is paused or waits for `promote`, after running drains. For CI.",
    ),
]

_LOOK = 0.2
"""Seconds between two looks at the rollout."""
_ANSWER = 2.0
"""Seconds that the controller has to pause the rollout when the time is over. It is this process, so it is not busy."""
_LEAVING = frozenset({Phase.LEAVING, Phase.DRAINING, Phase.DRAINED, Phase.STOPPING})


async def stay(
    work: Coroutine[Any, Any, Released], journal: Journal, timeout: float | None = None, exit_when_paused: bool = False
) -> Released:
    """The outcome of `work`, which controls the rollout. Raises ChangeoverError with code 5 if the command leaves."""
    async with bounded(journal.folder):
        return await _outcome(asyncio.ensure_future(work), journal, timeout, exit_when_paused)


def with_crash_loops(
    work: Coroutine[Any, Any, Released], found: Wired, journal: Journal, on_progress: ProgressListener
) -> Coroutine[Any, Any, Released]:
    """`work`, which reports crash loops of other tiers too, where no keeper does: on Google Cloud."""
    if isinstance(found.platform, Launches):
        return work
    return reported_meanwhile(work, found.runtime, journal, on_progress)


async def _outcome(
    task: asyncio.Future[Released], journal: Journal, timeout: float | None, exit_when_paused: bool
) -> Released:
    started = time.monotonic()
    try:
        while not (await asyncio.wait({task}, timeout=_LOOK))[0]:
            if exit_when_paused and (why := waits_for_operator(journal)) and not _is_draining(journal):
                raise left(journal, why)
            if timeout is not None and time.monotonic() - started > timeout:
                await _pause(journal)
                raise left(
                    journal, f"did not end within {timeout:g} s; {waits_for_operator(journal) or 'it goes back'}"
                )
        return task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def waits_for_operator(journal: JournalReader) -> str:
    """What the rollout in progress waits for, if only an operator can end that; else nothing."""
    for row in journal.rollouts(unfinished=True):
        state = journal.tier(row.tier)
        if state is not None and state.paused:
            return f"is paused: {state.paused}"
        if state is not None and status_of(state.state) is TierStatus.HOLDING:
            return "waits for `promote`"
    return ""


def left(journal: JournalReader, why: str) -> ChangeoverError:
    """The error of a command that ends while the rollout is unfinished."""
    return fail(
        f"the rollout ({unfinished(journal)}) {why}",
        state="Instances of both templates may serve.",
        next="`changeover resume` or `changeover promote` continues it, `changeover abort` takes it back.",
        exit_code=exits.UNFINISHED,
    )


def _is_draining(journal: JournalReader) -> bool:
    return any(journal.fleet(row.tier).count(_LEAVING) for row in journal.rollouts(unfinished=True))


async def _pause(journal: Journal) -> None:
    """Ask the controller to pause. One that goes back refuses, and one between two tiers has nothing to pause."""
    for row in journal.rollouts(unfinished=True):
        number = journal.request_action(row.tier, Action.PAUSE.value, f"{current_user()} (--timeout)", time.time())
        deadline = time.monotonic() + _ANSWER
        while journal.answer_to(number) is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
