"""What is read of one chain for one look at it, at most once a second however many clients look.

A chain that cannot be read gives a snapshot with a fault: the page shows the fault, and never old numbers as new ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from changeover import chain_files
from changeover.engine.figures import Figures, GuardSample, read_figures, read_samples
from changeover.engine.journal.reading import JournalReader
from changeover.engine.runtime import rollout_settings
from changeover.kit.clock import Clock
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.guard import Guard, resolve
from changeover.report.build import counted_time
from changeover.report.content import RolloutPart
from changeover.report.rollouts import rollout_part
from changeover.rollout.tier import context
from changeover.rollout.tier.actions import Action, Answer, TierStatus, status_of
from changeover.rollout.tier.requests import answered
from changeover.rollout.tier.state import Failed, Holding, Paused, Stepping, TierState, Undoing
from changeover.web.page.losses import Losses, LossReader
from changeover.web.sources import Data, Sources

JOURNAL = "journal.db"
"""In the state folder. A snapshot of a folder without one opens nothing: to open a journal creates it."""
AGE = 1.0
"""Seconds for which one snapshot answers every client."""
HISTORY = 100
"""Rollouts that the page lists: the last ones."""
PAST_AGE = 60.0
"""Seconds for which a rollout that ended longer ago than that is not read again."""


@dataclass(frozen=True)
class Course:
    """Where a tier's rollout is. `reason`: why it is paused, goes back or failed, or the step that hooks allow.

    `steps`: those of a canary, in words. `step`: the one that it is at. `left`: seconds until time alone ends it.
    `watched`: seconds until its newest instance has served for long enough to complete the rollout.
    """

    status: TierStatus
    reason: str = ""
    awaits_hooks: bool = False
    steps: Sequence[str] = ()
    step: int | None = None
    left: float | None = None
    watched: float = 0.0
    answers: Mapping[Action, Answer] = field(default_factory=dict)
    """What the tier answers to each action now."""


@dataclass(frozen=True)
class Snapshot:
    """One chain at one moment. `status`, `rollouts`: as `status --json` and `history --json` have them."""

    at: float
    status: Data
    rollouts: Sequence[Data] = ()
    courses: Mapping[str, Course] = field(default_factory=dict)
    """By tier."""
    templates: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By tier, as the chain file names them."""
    restarted: frozenset[str] = frozenset()
    """Names of instances that a restart in progress created: the template does not tell them from the others."""
    probed: Mapping[str, float] = field(default_factory=dict)
    """Requests of probes by outcome, since the journal's beginning; empty where none ran."""
    fault: str = ""
    """Why the chain could not be read; everything else is then empty."""


@dataclass(frozen=True)
class RolloutRead:
    """One rollout. `shown`: as `show --json` has it. `part`: as the report has it. `losses`, `samples`: of its time.

    `conditions`: those that guard it now, by the chain file, and what each allows at most.
    """

    shown: Data
    part: RolloutPart
    losses: Losses
    samples: Sequence[GuardSample]
    conditions: Mapping[str, float | None]


class ChainReader:
    """Reads one state folder."""

    def __init__(self, folder: Path, sources: Sources) -> None:
        self.folder = folder
        self._sources = sources
        self._last: tuple[float, Snapshot] | None = None
        self._reading = asyncio.Lock()
        self._losses = LossReader(folder)
        self._past: dict[int, Data] = {}
        self._past_read = 0.0

    @property
    def fresh(self) -> Snapshot | None:
        """The last snapshot, unless it is older than AGE."""
        return self._last[1] if self._last is not None and time.monotonic() - self._last[0] < AGE else None

    async def take(self) -> Snapshot:
        """The chain as it is, AGE old at most."""
        async with self._reading:
            if (last := self.fresh) is None:
                last = await self._read()
                # From its end on: on a busy machine it takes longer than AGE, and all that wait would read in turn.
                self._last = time.monotonic(), last
            return last

    async def rollout(self, number: int, now: float) -> RolloutRead:
        """One rollout as it is at `now`. Raises ChangeoverError."""
        async with self._reading:
            return await asyncio.to_thread(self._rollout, number, now)

    def _rollout(self, number: int, now: float) -> RolloutRead:
        shown = self._sources.show(self.folder, number)
        with contextlib.closing(JournalReader(self.folder / JOURNAL)) as journal:
            row = next((row for row in journal.rollouts() if row.id == number), None)
            if row is None:
                raise fail(f"no rollout {number}", where=str(self.folder))
            end = now if row.ended is None else row.ended
            part = rollout_part(journal, row, self._floor(row.tier, end))
        samples = read_samples(self.folder, row.tier, row.started, end)
        # A first start has no old version, and is not guarded.
        conditions = self._conditions(row.tier) if row.ended is None and row.from_template else {}
        return RolloutRead(shown, part, self._losses.between(*counted_time([row], now)), samples, conditions)

    def _conditions(self, tier: str) -> Mapping[str, float | None]:
        chain = self._chain()
        return {
            f"{guard.name}/{condition.name}": condition.at_most
            for one in (chain.tiers if chain else ())
            if one.name == tier
            for guard in _guards(chain, one)
            for condition in guard.conditions
        }

    def _chain(self) -> Chain | None:
        """The chain as its state folder has it."""
        copy = self.folder / chain_files.COPY
        return chain_files.read_chain(copy, stored=True)[0].chain if copy.exists() else None

    def _floor(self, tier: str, until: float) -> int | None:
        """Instances of a tier that have to serve. The chain file says nothing of a time before it was last written."""
        copy = self.folder / chain_files.COPY
        if not copy.exists() or copy.stat().st_mtime > until:
            return None
        chain = self._chain()
        return next((one.size - one.unavailable for one in (chain.tiers if chain else ()) if one.name == tier), None)

    async def _read(self) -> Snapshot:
        try:
            status = await self._sources.status(self.folder)
            if not (self.folder / JOURNAL).exists():
                return Snapshot(time.time(), status)
            return await asyncio.to_thread(self._snapshot, status)
        except (ChangeoverError, OSError, sqlite3.Error) as error:
            return Snapshot(time.time(), {}, fault=str(error))

    def _snapshot(self, status: Data) -> Snapshot:
        rollouts = self._history()
        chain = self._chain()
        tiers = chain.tiers if chain else ()
        with contextlib.closing(JournalReader(self.folder / JOURNAL)) as journal:
            now = Clock(not_before=journal.latest()).now()  # the controllers' clock, which never goes back
            found = {tier.name: journal.tier(tier.name) for tier in tiers}
            restarted = [
                member.name
                for row in rollouts
                if row["ended"] is None and row["restart"]
                for member in journal.members_since(row["tier"], row["started"])
                if min(member.times.values(), default=now) >= row["started"]
            ]
        return Snapshot(
            now,
            status,
            rollouts,
            {
                tier.name: course(tier, _guards(chain, tier), state, now)
                for tier in tiers
                if (state := found[tier.name]) is not None
            },
            {tier.name: list(tier.templates) for tier in tiers},
            frozenset(restarted),
            _probed(read_figures(self.folder, now)),
        )

    def _history(self) -> Sequence[Data]:
        """The last rollouts. Those that ended a while ago are read once a minute: each read goes through its log."""
        now = time.monotonic()
        if now - self._past_read >= PAST_AGE:
            self._past, self._past_read = {}, now
        first = max(self._past, default=0) + 1
        found = {row["id"]: row for row in self._sources.history(self.folder, first, HISTORY)}
        everything = {**self._past, **found}
        recent = time.time() - PAST_AGE
        for row in found.values():
            if row["ended"] is None or row["ended"] > recent:
                break  # it, and those after it, are read each time
            self._past[row["id"]] = row
        return [everything[number] for number in sorted(everything)[-HISTORY:]]


def _guards(chain: Chain | None, tier: Tier) -> Sequence[Guard]:
    return resolve(tier.update.guard, chain.guards) if chain else ()


def course(tier: Tier, guards: Sequence[Guard], state: TierState, now: float) -> Course:
    """Where a rollout is, by the journal's state of its tier. `guards`: those of the tier."""
    settings = rollout_settings(tier, weighed=False, guards=guards)
    rollout = state.rollout
    watched = 0.0 if rollout is None else state.admitted_at + context.watch_time(settings, rollout) - now
    position, awaits = state.position, state.awaiting
    reason = state.state.reason if isinstance(state.state, Paused | Undoing | Failed) else ""
    left = context.step_ends(settings, state) - now
    return Course(
        status_of(state.state),
        reason or (awaits.step if awaits else ""),
        awaits is not None,
        [str(step) for step in settings.steps] if context.canary_step(settings, state) else (),
        position.step if isinstance(position, Stepping | Holding) else None,
        max(0.0, left) if isfinite(left) and not state.stopped else None,
        max(0.0, watched),
        {action: answered(state, action) for action in Action},
    )


def _probed(figures: Figures) -> Mapping[str, float]:
    found: dict[str, float] = defaultdict(float)
    for (name, labels), value in figures.counts.items():
        if name == "probe_requests_total" and len(labels) == 2:
            found[labels[1]] += value
    return dict(found)
