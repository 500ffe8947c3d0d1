"""What a controller reports: progress to its listener, and to the journal what broke requests, or may have.

Refuses to decide anything, and to learn anything of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import DEATH, INTERRUPTION, LogLine
from changeover.engine.runtime import Progress, ProgressListener
from changeover.model.instance import DeathCost
from changeover.rollout import commands as do
from changeover.rollout import events as on
from changeover.rollout.members.member import Member
from changeover.rollout.tier.decision import Decision


def in_rollout(journal: JournalReader, listener: ProgressListener) -> ProgressListener:
    """A listener that adds the rollout in progress to what names none, as `Journal.write_incident` does."""

    def listen(event: Progress) -> None:
        if event.rollout is None and (rows := journal.in_progress()):
            row = next((row for row in rows if row.tier == event.tier), rows[-1])
            event = replace(event, rollout=row.id)
        listener(event)

    return listen


class Reports:
    """The reports of one controller."""

    def __init__(self, journal: Journal, listener: ProgressListener, chain: str, now: Callable[[], float]) -> None:
        self.listener = in_rollout(journal, listener)
        self._journal, self._chain, self._now = journal, chain, now

    def step(self, at: float, tier: str, decision: Decision, rollout: int | None) -> None:
        """What one step of a tier did, after the journal has it."""
        for move in decision.moved:
            text = f"{move.before} -> {move.after}"
            self.listener(Progress(at, tier, text, move.member.name, moved=move, rollout=rollout))
        for command in decision.commands:
            if isinstance(command, do.Note):
                self.listener(Progress(at, tier, command.text, command.name, command.level, rollout=rollout))
            elif isinstance(command, do.Refuse):
                self.listener(Progress(at, tier, command.reason, level="warning", rollout=rollout))

    def warn(self, text: str) -> None:
        """Progress about the chain as a whole."""
        self.listener(Progress(self._now(), "", text, level="warning", about=self._chain))

    def interruption(self, text: str) -> None:
        """Write that requests of any tier were broken meanwhile."""
        self._journal.write_incident(self._now(), LogLine(INTERRUPTION, text))

    def balancer_ended(self) -> None:
        """Write that the platform's load balancer ended."""
        self.interruption("The load balancer ended, and every connection through it.")

    def death(self, tier: str, member: Member | None, event: on.InstanceGone) -> None:
        """Write what the death of an instance cost, before the step that follows: a killed controller loses neither."""
        if member is None or not member.may_carry:
            return
        cost = event.cost or DeathCost(unknown="its routers were not asked")
        text = f"{event.name} of tier {tier} died while {member.phase}: {cost}."
        self._journal.write_incident(self._now(), LogLine(DEATH if cost.is_nothing else INTERRUPTION, text, event.name))
