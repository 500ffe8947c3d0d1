"""What a controller measures beside its decisions, for the figures of its chain: what is in flight, and its guards.

It asks nothing: the values are those that the controller has seen. Only instances that it counts have some, which are
those that leave or drain, and with `order: in-flight` those that serve. Where the figures cannot be written, it says so
once, and no rollout waits.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from changeover.engine.figures import FiguresStore, GuardSample, Labels
from changeover.model.instance import InFlight
from changeover.model.revision import template_of
from changeover.rollout.guard.evaluate import GuardRun, Seen
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.machine import Machine

PAUSE = 2.0
"""Seconds between two writes."""

_COUNTED = (Phase.ADMITTED, Phase.LEAVING, Phase.DRAINING)


class Measured:
    """The measured values of one controller. `warn` gets a line where they cannot be written."""

    def __init__(
        self,
        store: FiguresStore,
        machines: Mapping[str, Machine],
        now: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._store, self._machines, self._now, self._warn = store, machines, now, warn
        self._guards: dict[str, dict[tuple[str, Labels], float]] = {}
        self._samples: list[GuardSample] = []
        self._failed = False

    def sampled(self, tier: str, run: GuardRun, seen: Seen) -> None:
        """Keep the last samples of a tier's guards, and record this one."""
        self._guards[tier] = guard_values(tier, run)
        self._samples.append(guard_sample(tier, run, seen))

    async def run(self) -> None:
        """Write until cancelled. Samples are then recorded once more: those that end a rollout come last."""
        try:
            while True:
                await asyncio.to_thread(
                    self._write, partial(self._store.show, "controller", self._values(), self._now())
                )
                await asyncio.to_thread(self._write, self._record)
                await asyncio.sleep(PAUSE)
        finally:
            self._write(self._record)

    def _record(self) -> None:
        samples, self._samples = self._samples, []
        self._store.record(samples)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except sqlite3.Error as error:
            if not self._failed:
                self._failed = True
                self._warn(f"the figures for /metrics cannot be written: {error}; the rollout goes on")

    def _values(self) -> dict[tuple[str, Labels], float]:
        values: dict[tuple[str, Labels], float] = {}
        for tier, machine in self._machines.items():
            values |= in_flight_values(tier, machine.fleet)
            if machine.tier.moving:
                values |= self._guards.get(tier, {})
            else:
                self._guards.pop(tier, None)
        return values


def guard_values(tier: str, run: GuardRun) -> dict[tuple[str, Labels], float]:
    """The last sample of each condition unless it was missing, and what the condition allows where that is a number."""
    values: dict[tuple[str, Labels], float] = {}
    for standing in run.verdict.conditions:
        labels = (tier, standing.key)
        if standing.value is not None and not standing.last_missing:
            values["guard_value", labels] = standing.value
        if (limit := run.conditions[standing.key].at_most) is not None:
            values["guard_threshold", labels] = limit
    return values


def guard_sample(tier: str, run: GuardRun, seen: Seen) -> GuardSample:
    """A sample as the run took it: one that the run cannot use is missing."""
    condition = run.conditions[seen.key]
    standing = next(one for one in run.verdict.conditions if one.key == seen.key)
    value, baseline = (None, None) if standing.last_missing else (standing.value, standing.baseline)
    return GuardSample(
        tier, seen.key, seen.at, value, baseline, condition.at_most, condition.interval, standing.last_missing
    )


def in_flight_values(tier: str, fleet: Fleet) -> dict[tuple[str, Labels], float]:
    """What is in flight by template. A sum with an unknown part is unknown, and has no value."""
    seen: dict[str, list[InFlight]] = {}
    for member in fleet.where(*_COUNTED):
        if member.in_flight is not None:
            seen.setdefault(template_of(member.template), []).append(member.in_flight)
    values: dict[tuple[str, Labels], float] = {}
    for version, counts in seen.items():
        parts: Mapping[str, Iterable[int | None]] = {
            "requests_in_flight": [one.requests for one in counts],
            "uploads_in_flight": [len(one.uploads) for one in counts],
            "upload_left_bytes": [one.bytes_left for one in counts],
        }
        for name, numbers in parts.items():
            known = [number for number in numbers if number is not None]
            if len(known) == len(counts):
                values[name, (tier, version)] = sum(known)
    return values
