"""Which process may write to a chain: one command at a time, and the keeper only in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.model.errors import ChangeoverError, fail

KEEPER = "healing"
"""Purpose under which the keeper holds the lease: briefly, and worth waiting for. Stored; versions share this word."""


@dataclass(frozen=True)
class LeaseTiming:
    """Seconds."""

    keeper_patience: float = 60.0
    """That a command waits for the keeper, which gives up an attempt after 15 s."""
    look: float = 0.1
    """Between two attempts to take the lease."""


@contextmanager
def lease(journal: Journal, purpose: str, at: float) -> Iterator[None]:
    """Hold the lease while the block runs. Raises ChangeoverError while another process holds it."""
    try:
        journal.take_lease(purpose, at)
    except LeaseHeld as held:
        raise _held(held) from held
    try:
        yield
    finally:
        journal.release_lease()


@asynccontextmanager
async def patient_lease(
    journal: Journal, purpose: str, at: float, timing: LeaseTiming = LeaseTiming()
) -> AsyncIterator[None]:
    """The same, but waits for the keeper, which holds the lease only while it replaces dead instances."""
    deadline = time.monotonic() + timing.keeper_patience
    while True:
        try:
            journal.take_lease(purpose, at)
            break
        except LeaseHeld as held:
            if held.holder.purpose != KEEPER or time.monotonic() > deadline:
                raise _held(held) from held
        await asyncio.sleep(timing.look)
    try:
        yield
    finally:
        journal.release_lease()


def _held(held: LeaseHeld) -> ChangeoverError:
    return fail(
        f"another command is working on this chain: {held}",
        state="Nothing was changed; the other command goes on.",
        next="Wait until it has ended (`changeover status --watch` shows its progress), then run this command again.",
    )
