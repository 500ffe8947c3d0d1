"""What the journal records, as data: the lease's holder, rollouts, releases, requests of other commands, log lines.

Refuses to know how any of it is stored: that is `serialise` and `schema`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from changeover.kit import process
from changeover.model.update import Strategy
from changeover.rollout.tier.actions import Action

Outcome = Literal["completed", "undone", "failed"]


@dataclass(frozen=True)
class Holder:
    """The process that holds the lease, its purpose, and the time when it took it.

    `epoch` grows each time that the lease is taken.
    """

    epoch: int
    pid: int
    born: int
    purpose: str
    since: float

    def is_alive(self) -> bool:
        return process.is_alive(self.pid, self.born)


@dataclass(frozen=True)
class KeeperProcess:
    """The keeper that was left behind. `journal_format`: the format that its version of the program writes."""

    pid: int
    born: int
    journal_format: int

    def is_alive(self) -> bool:
        return process.is_alive(self.pid, self.born)


@dataclass(frozen=True)
class RolloutRow:
    """One rollout of one tier. `ended` and `outcome` are None while it is unfinished.

    `hooks_done`: the hooks after the rollout have run.
    """

    id: int
    tier: str
    from_template: str
    to_template: str
    started: float
    ended: float | None
    outcome: Outcome | None
    reason: str | None
    hooks_done: bool


@dataclass(frozen=True)
class Release:
    """A rollout of several tiers as one. Templates are keyed by tier.

    `undo_reason`: why the release goes back; None while it goes forward. `strategy`: the one that the operator named;
    None for the strategy that the chain file gives each tier.
    """

    id: int
    to_templates: Mapping[str, str]
    from_templates: Mapping[str, str]
    strategy: Strategy | None
    started: float
    undo_reason: str | None
    outcome: Outcome | None = None
    """None while it is unfinished."""
    ended: float | None = None


@dataclass(frozen=True)
class ActionRequest:
    """A request of another command to the controller, not answered yet.

    `action` None: an action of another version of the program, or, with an `instance`, the end of its drain.
    """

    id: int
    tier: str
    action: Action | None
    requested_by: str
    instance: str = ""


LONG_LIVED = "long-lived"
"""Kind of the line about long-lived connections that a drain cut, as its policy for them says."""
DRAIN_NOW = "drain --now "
"""Before the name of an instance, in the place of an action."""
REQUEST = "request"
"""Kind of the line with the user and the command that asked for a rollout."""
INTERRUPTION = "interruption"
"""Kind of the line that says what broke requests, or may have, while a rollout was in progress."""
DEATH = "death"
"""Kind of the line about an instance that died while a rollout was in progress, and broke no request."""

DISAGREEMENT = "disagreement"
"""Kind of the line that says how the platform's own view of a tier differs from the rollout that has ended."""


@dataclass(frozen=True)
class LogLine:
    """One line of the log, before it has a time.

    `kind`: event, command, phase, note, hook, request, death, long-lived, disagreement or interruption.
    """

    kind: str
    text: str
    instance: str = ""


@dataclass(frozen=True)
class LogRow:
    """One line of the log as it is stored."""

    at: float
    instance: str
    kind: str
    text: str


@dataclass(frozen=True)
class LogEntry:
    """One line of the log with all that is stored of it. `seq` grows with every line of the journal."""

    seq: int
    at: float
    rollout: int | None
    tier: str
    instance: str
    kind: str
    text: str
