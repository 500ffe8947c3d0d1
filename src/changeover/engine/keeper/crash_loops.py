"""Runs the hooks and sends the notifications of a crash loop: a template at rest whose instances keep failing.

Refuses to hold up the keeper: the hooks run beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from changeover.engine.hooks.run import HookRunner
from changeover.engine.journal.reading import JournalReader
from changeover.engine.runtime import ChainRuntime, ProgressListener, rollout_settings
from changeover.kit.clock import Clock
from changeover.model.hooks import HookPayload, Point, page_of
from changeover.model.revision import template_of
from changeover.rollout.tier.context import degraded

LOOK = 1.0
"""Seconds between two looks of a command that rolls."""

Result = TypeVar("Result")


class CrashLoops:
    """Each crash loop is reported once, until an instance of its tier stays."""

    def __init__(self, runtime: ChainRuntime, journal: JournalReader, on_progress: ProgressListener) -> None:
        self._runtime, self._journal, self._on_progress = runtime, journal, on_progress
        self._known: frozenset[str] = frozenset()
        self._version: tuple[int, int] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Begin to report the crash loops that are new. Time alone ends one and begins none."""
        version = self._journal.version()
        if version == self._version and not self._known:
            return
        self._version = version
        now = Clock(not_before=self._journal.latest()).now()
        found: dict[str, HookPayload] = {}
        for tier in self._runtime.chain.tiers:
            state, settings = self._journal.tier(tier.name), rollout_settings(tier, weighed=False)
            if state is not None and (why := degraded(settings, state, settings.size, now)):
                found[tier.name] = self._payload(tier.name, template_of(state.goal), why, now)
        for name in found.keys() - self._known:
            task = asyncio.create_task(self._report(found[name]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        self._known = frozenset(found)

    async def _report(self, payload: HookPayload) -> None:
        chain = self._runtime.chain
        runner = HookRunner(
            chain.hooks,
            chain.notify,
            self._on_progress,
            lambda _, __: None,  # the journal needs the lease, and the listener has the outcome
            now=Clock().now,
            folder=self._runtime.folder,
        )
        async with runner:
            await runner.run(Point.ON_CRASH_LOOP, payload)

    def _payload(self, tier: str, template: str, why: str, now: float) -> HookPayload:
        last = max((row.id for row in self._journal.rollouts() if row.tier == tier), default=0)
        counts = Counter(member.phase.value for member in self._journal.fleet(tier))
        chain = self._runtime.chain
        page = page_of(chain.page, 0)
        return HookPayload(chain.name, last, tier, "", template, now, reason=why, counts=counts, page=page)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let what is being reported end, unless the keeper is stopped: a hook and a message have their timeouts."""
        if kind is not None:
            for task in self._running:
                task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


async def reported_meanwhile(
    work: Coroutine[Any, Any, Result], runtime: ChainRuntime, journal: JournalReader, on_progress: ProgressListener
) -> Result:
    """The result of a rollout. Crash loops of other tiers are reported while it lasts, for a chain without a keeper."""
    task = asyncio.ensure_future(work)
    try:
        async with CrashLoops(runtime, journal, on_progress) as loops:
            while not (await asyncio.wait({task}, timeout=LOOK))[0]:
                loops.look()
        return await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
