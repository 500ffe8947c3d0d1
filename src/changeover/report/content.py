"""What a report says, as frozen data that survives JSON. Refuses to read files and to draw: `build` and `page` do that.

Times are seconds since the epoch. The page is made from this data alone, and carries it, so that `verify` can make the
page again and compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict

from changeover.probe.records.row import RequestKind
from changeover.probe.verdict import Verdict

FORMAT = 2
"""Version of this layout. Raise it when a reader of the old layout would misread the new one."""

_PAUSE = 1.0
"""Seconds between the end of one probe and the start of the next that leave a gap in the proof."""

Conclusion = Literal["clean", "broken", "unproved"]
HEADLINES: Mapping[Conclusion, str] = MappingProxyType(
    {"clean": "No request broke", "broken": "Requests broke", "unproved": "Not proved"}
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LedgerFile(_Part):
    """A ledger as the report read it. A probe that still ran has added rows since; they are after `size`."""

    name: str
    sha256: str
    """Of the first `size` bytes."""
    size: int
    """Bytes."""
    planned: tuple[RequestKind, ...] | None
    """Kinds of request that the probe planned; None in a ledger of an older version, which does not say."""
    growing: bool
    """Whether a probe still wrote it: the outcome of its requests in flight was not known."""
    ended: bool
    """Whether the probe wrote its end. False with `growing` false: it was killed, and never knew that outcome."""


class Moment(_Part):
    """GETs that ended within one interval of the picture."""

    at: float
    """Start of the interval."""
    ok: int
    broken: int
    p50_ms: float | None
    p99_ms: float | None


class UploadBar(_Part):
    """One upload, from its first byte to its end."""

    started: float
    finished: float
    size: int
    instance: str
    version: str
    outcome: str


class LossMark(_Part):
    """Requests that broke within one interval of the picture, while one tier moved and for one reason."""

    at: float
    """End of the first of them."""
    tier: str
    """The tier that was moving, `none`, or `unknown`."""
    reason: str
    count: int


class Loss(_Part):
    """One request that broke. `tier`: the tier that was moving then, `none`, or `unknown`."""

    at: float
    kind: str
    path: str
    outcome: str
    reason: str
    tier: str
    instance: str
    connection: str


class Requests(_Part):
    """Everything that the report takes from ledgers. `from_ledgers` computes it again from the same bytes."""

    ledgers: tuple[LedgerFile, ...]
    verdict: Verdict
    """Without its first failures: `losses` lists more of them, without the queries of their paths."""
    whole: bool
    """The verdict is of all rows: the ledgers were named, or there is no rollout. Otherwise it is of their time."""
    others: int
    """Rows of other times, which the verdict leaves out."""
    others_broken: int
    sent: tuple[tuple[float, float], ...]
    """Of each ledger: when its first request was due, and when its last one ended."""
    first: float
    """When the first request of the ledgers was due."""
    last: float
    """When the last one ended."""
    interval: float
    """Seconds of each of the `moments`."""
    moments: tuple[Moment, ...]
    uploads: tuple[UploadBar, ...]
    uploads_in_window: int
    """Uploads within the window of the picture; more than there are bars where some are not drawn."""
    marks: tuple[LossMark, ...]
    losses: tuple[Loss, ...]
    """The first ones; the verdict counts all."""


class Span(_Part):
    """An instance in one phase. `end` None: it was still in it when the report was made."""

    phase: str
    start: float
    end: float | None


class InstanceLine(_Part):
    """One instance in a rollout."""

    name: str
    template: str
    is_new: bool
    """It was created by this rollout."""
    spans: tuple[Span, ...]
    drained_in: float | None
    """Seconds from its removal's start to nothing in flight."""
    cut: str
    killed: bool
    died: bool


class Serving(_Part):
    """From `at` on, `count` instances of the tier served."""

    at: float
    count: int


class RolloutPart(_Part):
    """One rollout of one tier, as the journal has it."""

    id: int
    tier: str
    from_template: str
    to_template: str
    restart: bool
    started: float
    ended: float | None
    outcome: str
    """`completed`, `undone`, `failed` or `unfinished`."""
    reason: str
    requested_by: str
    instances: tuple[InstanceLine, ...]
    instances_in_all: int
    """More than `instances` holds where a report does not show all."""
    serving: tuple[Serving, ...]
    """Empty where the journal no longer knows every instance of that time."""
    floor: int | None
    """Instances that had to serve at any time: size - max_unavailable. None: not known."""
    broke: tuple[str, ...]
    forgotten: bool
    """The journal no longer has an instance whose drain was cut, or that was killed, and no line says what it broke."""
    long_lived: tuple[str, ...]
    deaths: tuple[str, ...]
    disagreements: tuple[str, ...]

    @property
    def lowest(self) -> int | None:
        """The fewest instances that served during it; None where that is not known."""
        return min((one.count for one in self.serving), default=None)


class CommandPart(_Part):
    """The command that ran under the traffic of a probe."""

    argv: tuple[str, ...]
    started: float
    ended: float
    exit_code: int
    steady_again: float | None
    broken_before: int
    broken_during: int
    broken_after: int


class Report(_Part):
    format: int
    made: float
    version: str
    """Of this program."""
    subject: str
    """What the report is about: a chain, or a URL."""
    start: float
    """Start of the window of the pictures."""
    end: float
    requests: Requests | None
    rollouts: tuple[RolloutPart, ...]
    command: CommandPart | None
    chain_sha256: str | None
    """Of the chain file as the state folder holds it."""
    software: Mapping[str, str]
    """Software -> its version."""

    @property
    def gaps(self) -> tuple[str, ...]:
        """Why the report proves less than that no request broke, in sentences; empty: it proves that."""
        if self.requests is None:
            return ("No probe sent traffic in that time, so nothing shows what clients saw.",)
        found = []
        began = min((one.started for one in self.rollouts), default=self.requests.first)
        ended = max((one.ended or self.made for one in self.rollouts), default=self.requests.last)
        if self.requests.first > began:
            found.append(f"The traffic began {self.requests.first - began:.1f} s after the rollout.")
        growing = any(one.growing for one in self.requests.ledgers)
        if self.requests.last < ended and not growing:
            found.append(f"The traffic ended {ended - self.requests.last:.1f} s before the rollout.")
        covered = self.requests.first
        for start, end in sorted(self.requests.sent):
            if min(start, ended) - max(covered, began) > _PAUSE:
                pause = f"from {max(covered, began) - began:.1f} s to {min(start, ended) - began:.1f} s"
                found.append(f"No probe sent {pause} after the start of the rollout.")
            covered = max(covered, end)
        missing = self.requests.verdict.kinds_without_success
        if missing:
            found.append(f"No {' or '.join(missing)} succeeded.")
        if any(one.planned is None for one in self.requests.ledgers):
            found.append("The ledger does not say which kinds of request were planned.")
        if growing:
            found.append("The probe was still sending: the outcome of its requests in flight was not known yet.")
        found += [
            f"The probe was killed: ledger {one.name} has no end; the outcome of its requests in flight is not known."
            for one in self.requests.ledgers
            if not (one.ended or one.growing)
        ]
        found += [
            f"Rollout {one.id} of tier {one.tier}: the chain was taken down since, so the journal no longer says which "
            "requests the controller cut."
            for one in self.rollouts
            if one.forgotten
        ]
        found += [f"Rollout {one.id} of tier {one.tier} is unfinished." for one in self.rollouts if one.ended is None]
        return tuple(found)

    @property
    def aside(self) -> tuple[str, ...]:
        """What broke at other times, in sentences."""
        broken = self.requests.others_broken if self.requests else 0
        return (f"At other times, {broken:,} requests of these ledgers broke. They are not counted here.",) * bool(
            broken
        )

    @property
    def broke(self) -> tuple[str, ...]:
        """What the controller recorded as an interruption of service, in sentences."""
        return tuple(dict.fromkeys(text for one in self.rollouts for text in one.broke))

    @property
    def conclusion(self) -> Conclusion:
        verdict = self.requests.verdict if self.requests else None
        if self.broke or (verdict is not None and (verdict.lost or verdict.duplicated)):
            return "broken"
        return "unproved" if self.gaps else "clean"

    @property
    def summary(self) -> str:
        """The verdict in absolute counts."""
        return self.requests.verdict.summary if self.requests else "no requests were counted"
