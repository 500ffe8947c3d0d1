"""Who may write to a chain: one command at a time, and the keeper only in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.model.errors import ChangeoverError, fail

KEEPER = "healing"
"""Purpose under which the keeper holds the lease: briefly, and worth waiting for."""
KEEPER_PATIENCE = 60.0


@contextmanager
def lease(journal: Journal, purpose: str, at: float) -> Iterator[None]:
    """Hold the chain while the block runs. Raises ChangeoverError while somebody else does."""
    try:
        journal.take_lease(purpose, at)
    except LeaseHeld as held:
        raise _held(held) from held
    try:
        yield
    finally:
        journal.release_lease()


@asynccontextmanager
async def patient_lease(journal: Journal, purpose: str, at: float) -> AsyncIterator[None]:
    """The same, but waits for the keeper, who holds the chain only while it replaces what died."""
    deadline = time.monotonic() + KEEPER_PATIENCE
    while True:
        try:
            journal.take_lease(purpose, at)
            break
        except LeaseHeld as held:
            if held.holder.purpose != KEEPER or time.monotonic() > deadline:
                raise _held(held) from held
        await asyncio.sleep(0.1)
    try:
        yield
    finally:
        journal.release_lease()


def _held(held: LeaseHeld) -> ChangeoverError:
    return fail(
        f"another command is at work on this chain: {held}",
        state="Nothing was changed; it goes on.",
        next="Wait for it to end (`changeover status --watch` shows how far it is), then run this again.",
    )
