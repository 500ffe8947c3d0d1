"""Sums over the lines of a journal's log, taken a line at a time, so that no scrape reads the whole log again.

The log is never shortened, so a new reader comes to the same sums. Refuses files and clocks.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from changeover.engine.journal.records import INTERRUPTION, LogEntry
from changeover.rollout.members.phases import Cause, Phase

_ENDS: Mapping[str, str] = MappingProxyType(
    {
        Cause.EMPTIED: "emptied",
        Cause.DEADLINE_CUT: "deadline",
        Cause.LONG_LIVED_CUT: "long_lived",
        Cause.ENDED_BY_OPERATOR: "operator",
        Cause.READMITTED: "readmitted",
        Cause.EXITED: "died",
    }
)
"""Why a drain ended, as a label."""
_CREATED = re.compile(r"create instance: template (\S+?)(?:,|$)")


class LogCounts:
    """The sums of one journal. Keys are tiers, and for drains the tier and the end."""

    def __init__(self) -> None:
        self.seq = 0
        """The last line that was counted."""
        self.admissions: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.interruptions: Counter[str] = Counter()
        self.replacements: Counter[str] = Counter()
        self.drains: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.ready: dict[str, list[float]] = defaultdict(list)
        self.progress: dict[int, float] = {}
        """Rollout -> when it last moved."""
        self._creating: dict[str, float] = {}
        self._draining: dict[str, float] = {}
        self._templates: dict[str, str] = {}
        """Of the instances that were created and are not gone."""
        self._rollout: dict[str, int] = {}
        """The last one of each tier."""
        self._missing: Counter[tuple[str, str]] = Counter()
        """Tier and template of instances that failed, and in whose place none was created yet."""

    def take(self, entries: Iterable[LogEntry]) -> None:
        """Count the lines that follow those before."""
        for entry in entries:
            self.seq = entry.seq
            if entry.rollout is not None and self._rollout.get(entry.tier) != entry.rollout:
                self._rollout[entry.tier] = entry.rollout
                for key in [key for key in self._missing if key[0] == entry.tier]:
                    del self._missing[key]  # the rollout decides by itself what it creates
            if entry.kind == INTERRUPTION:
                self.interruptions[entry.tier] += 1
            elif entry.kind == "command" and (created := _CREATED.match(entry.text)):
                self._created(entry, created[1])
            elif entry.kind == "phase":
                self._moved(entry)
            if entry.rollout is not None and (entry.kind == "phase" or entry.text.startswith("step reached")):
                self.progress[entry.rollout] = entry.at

    def _created(self, entry: LogEntry, template: str) -> None:
        if entry.instance in self._creating:
            return  # the same command, once more
        self._creating[entry.instance] = entry.at
        self._templates[entry.instance] = template
        if self._missing[entry.tier, template] > 0:
            self._missing[entry.tier, template] -= 1
            self.replacements[entry.tier] += 1

    def _moved(self, entry: LogEntry) -> None:
        step, _, cause = entry.text.partition(": ")
        before, _, after = step.partition(" -> ")
        if after == Phase.FAILED and (template := self._templates.get(entry.instance)) is not None:
            self._missing[entry.tier, template] += 1
        if after == Phase.GONE:
            self._templates.pop(entry.instance, None)
        if before == Phase.DRAINING and (since := self._draining.pop(entry.instance, None)) is not None:
            self.drains[entry.tier, _ENDS.get(cause, "other")].append(entry.at - since)
        if after == Phase.DRAINING:
            self._draining[entry.instance] = entry.at
        since = self._creating.pop(entry.instance, None) if before == Phase.CREATING else None
        if since is not None and after == Phase.WARMING:
            self.ready[entry.tier].append(entry.at - since)
        if after == Phase.ADMITTED:
            self.admissions[entry.tier] += 1
        if after == Phase.FAILED or (before, after) == (Phase.DRAINING, Phase.GONE):
            self.failures[entry.tier] += 1
