"""The outcome of rollouts and releases: the end of each instance, and what broke requests meanwhile.

One place decides whether an outcome is an interruption of service (`broke`). Refuses to change anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import DEATH, DISAGREEMENT, INTERRUPTION, LONG_LIVED, Outcome, RolloutRow
from changeover.engine.log_lines import cut_in_words, killed_in_words
from changeover.rollout.commands import Finish
from changeover.rollout.members.member import KILLED, Member
from changeover.rollout.members.phases import Phase


@dataclass(frozen=True)
class Rolled:
    """The outcome of one rollout, with every instance that took part in it."""

    row: RolloutRow
    finish: Finish
    seconds: float
    members: tuple[Member, ...]
    serving: int
    interruptions: tuple[str, ...] = ()
    """What broke requests of the chain during the rollout, or may have, in sentences."""
    long_lived: tuple[str, ...] = ()
    """Long-lived connections that drains cut by the tier's own policy for them, in sentences. They are no losses."""
    deaths: tuple[str, ...] = ()
    """Instances of the chain that died during the rollout and broke no request, in sentences."""
    disagreements: tuple[str, ...] = ()
    """How the platform's own view of the tier differs from this outcome, or may differ, in sentences."""

    @property
    def died(self) -> tuple[Member, ...]:
        """Instances that had served and ended by themselves during the rollout."""
        return tuple(member for member in self.members if member.died is not None and self.lasted_at(member.died))

    @property
    def broke(self) -> tuple[str, ...]:
        """What broke requests, or may have, in sentences. Any of them makes the outcome an interruption of service."""
        died = self.died
        cut = [
            f"{member.name}: died with {member.cut} in flight." if member in died else cut_in_words(member)
            for member in self.members
            if member.cut and self.lasted_at(member.times.get(Phase.DRAINED, member.died))
        ]
        killed = [
            killed_in_words(member)
            for member in self.members
            if member.killed and self.lasted_at(member.times.get(KILLED))
        ]
        return tuple(dict.fromkeys((*self.interruptions, *cut, *killed)))  # the log has most of them, too

    def lasted_at(self, at: float | None) -> bool:
        """Whether that was during it: an instance that it created may be cut by a later one. None: it may have been."""
        return at is None or self.row.started <= at <= (inf if self.row.ended is None else self.row.ended)


@dataclass(frozen=True)
class Released:
    """The outcome of a release: the rollouts of its tiers in order, those that took one back included."""

    outcome: Outcome
    parts: tuple[Rolled, ...]

    @property
    def broke(self) -> tuple[str, ...]:
        """What broke requests in any of them."""
        return tuple(dict.fromkeys(text for part in self.parts for text in part.broke))

    @property
    def is_settled(self) -> bool:
        """Whether the platform's own view agrees with all of them."""
        return not any(part.disagreements for part in self.parts)


def last_released(journal: JournalReader) -> Released | None:
    """The outcome of the last release that has ended; None before the first one."""
    release = journal.last_release()
    if release is None:
        return None
    parts = [rolled_before(journal, row) for row in journal.rollouts() if row.started >= release.started]
    return Released(release.outcome or "failed", tuple(parts))


def rolled_before(journal: JournalReader, row: RolloutRow) -> Rolled:
    """A rollout of the past, or the one under way, with the instances that took part in it and are not forgotten."""
    end = inf if row.ended is None else row.ended
    members = journal.members_since(row.tier, row.started)
    return Rolled(
        row,
        Finish(row.outcome or "failed", row.reason or ""),
        (row.ended or row.started) - row.started,
        tuple(member for member in members if min(member.times.values(), default=0.0) <= end),
        journal.fleet(row.tier).serving,
        *incidents(journal, row),
    )


class Incidents(NamedTuple):
    """What happened in a rollout beside its steps, in sentences: the fields of `Rolled` with these names."""

    interruptions: tuple[str, ...]
    long_lived: tuple[str, ...]
    deaths: tuple[str, ...]
    disagreements: tuple[str, ...]


def incidents(journal: JournalReader, row: RolloutRow) -> Incidents:
    lines = journal.log(row.id)
    texts = (
        [line.text for line in lines if line.kind == INTERRUPTION],
        [f"{line.instance}: {line.text}." for line in lines if line.kind == LONG_LIVED],
        [line.text for line in lines if line.kind == DEATH],
        [line.text for line in lines if line.kind == DISAGREEMENT],
    )
    return Incidents(*(tuple(dict.fromkeys(found)) for found in texts))
