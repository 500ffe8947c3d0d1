"""The result of a run in absolute counts. Refuses a clean verdict when a planned kind of request has no success.

`lost` counts requests without a correct response: none at all, a wrong status, or wrong bytes (the last also count as
`corrupted`). `duplicated` counts uploads that the server stored more than once; their clients lost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from changeover.model.units import human_bytes
from changeover.probe.records.row import LedgerRow, RequestKind
from changeover.probe.records.tally import Tally

KINDS: tuple[RequestKind, ...] = ("get", "upload", "readback", "check")


@dataclass(frozen=True)
class KindCounts:
    """Requests of one kind. `lost` includes `corrupted`."""

    sent: int
    ok: int
    lost: int
    corrupted: int
    duplicated: int


@dataclass(frozen=True)
class LatencySummary:
    """Latency of the GETs in milliseconds, from when each was due."""

    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True)
class VersionSeen:
    """Answers of one version. Times in seconds since the epoch."""

    answers: int
    broken: int
    first: float
    last: float


@dataclass(frozen=True)
class Verdict:
    counts: Mapping[str, KindCounts]
    failures_by_reason: Mapping[str, int]
    failures_by_moving_tier: Mapping[str, int]
    get_latency_ms: LatencySummary | None
    bytes_uploaded: int
    uploads_by_instance: Mapping[str, int]
    uploads_by_version: Mapping[str, int]
    gets_by_version: Mapping[str, int]
    versions: Mapping[str, VersionSeen]
    """GETs and uploads whose response names its version, in the order of the first answers."""
    uploads_answered_only: int
    """Successful uploads of which nothing proves that the server received the bytes."""
    uploads_read_back: int
    """Uploads that were fetched again and equal the bytes that were sent."""
    uploads_read_back_by_writer: int
    """Of these, fetched from the instance that stored them, because no other instance responded."""
    uploads_lost_but_stored: int
    """Uploads whose client received an error although the server stored them, once."""
    kinds_without_success: tuple[str, ...]
    """Planned kinds of request without a single success."""
    first_failures: tuple[LedgerRow, ...]
    duration_seconds: float

    @property
    def lost(self) -> int:
        return sum(count.lost for count in self.counts.values())

    @property
    def corrupted(self) -> int:
        return sum(count.corrupted for count in self.counts.values())

    @property
    def duplicated(self) -> int:
        return sum(count.duplicated for count in self.counts.values())

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.kinds_without_success)

    @property
    def summary(self) -> str:
        """`0 lost, 0 duplicated, 0 corrupted of 41,380 GET and 96 POST (4.8 GB)`: all but uploads are GET."""
        posts = self.counts["upload"].sent
        gets = sum(count.sent for count in self.counts.values()) - posts
        if not gets and not posts:
            return "the probe sent no requests, which proves nothing"
        text = (
            f"{self.lost:,} lost, {self.duplicated:,} duplicated, {self.corrupted:,} corrupted "
            f"of {gets:,} GET and {posts:,} POST ({human_bytes(self.bytes_uploaded)})"
        )
        if self.uploads_answered_only:
            text += f"; {self.uploads_answered_only:,} POST answered only, receipt not proved"
        return (
            f"{text}; no successful {' or '.join(self.kinds_without_success)}, so this proves nothing"
            if self.kinds_without_success
            else text
        )

    def to_dict(self) -> dict[str, object]:
        """For JSON: every field and every derived property."""
        return {
            "summary": self.summary,
            "clean": self.clean,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "corrupted": self.corrupted,
            **asdict(self),
            "first_failures": [row.to_dict() for row in self.first_failures],
        }


def judge(tally: Tally, planned: Iterable[RequestKind] = ("get",)) -> Verdict:
    """The verdict over a tally. Each of the `planned` kinds needs at least one success."""
    latency = tally.latency
    read_by_writer = tally.notes["read by the writer"]
    return Verdict(
        counts={kind: _count(tally, kind) for kind in KINDS},
        failures_by_reason=_largest_first(tally.reasons),
        failures_by_moving_tier=_largest_first(tally.moving),
        get_latency_ms=LatencySummary(*(round(latency.quantile(share) * 1000, 3) for share in (0.5, 0.9, 0.99, 1.0)))
        if latency.count
        else None,
        bytes_uploaded=tally.bytes_uploaded,
        uploads_by_instance=dict(sorted(tally.uploads_by_instance.items())),
        uploads_by_version=dict(sorted(tally.uploads_by_version.items())),
        gets_by_version=dict(sorted(tally.gets_by_version.items())),
        versions={
            name: VersionSeen(seen.answers, seen.broken, round(seen.first, 3), round(seen.last, 3))
            for name, seen in sorted(tally.versions.items(), key=lambda item: item[1].first)
        },
        uploads_answered_only=tally.notes["answered only"],
        uploads_read_back=tally.count(kind="readback", outcome="ok") - tally.notes["left to the writer"],
        uploads_read_back_by_writer=read_by_writer,
        uploads_lost_but_stored=tally.notes["stored although lost"],
        kinds_without_success=tuple(kind for kind in planned if not tally.count(kind=kind, outcome="ok")),
        first_failures=tuple(tally.first_failures),
        duration_seconds=(tally.ended or 0.0) - (tally.began or 0.0),
    )


def judge_rows(rows: Iterable[LedgerRow], planned: Iterable[RequestKind] = ("get",)) -> Verdict:
    """The verdict over rows, for example those of a stored ledger."""
    tally = Tally()
    for row in rows:
        tally.add(row)
    return judge(tally, planned)


def _count(tally: Tally, kind: RequestKind) -> KindCounts:
    corrupted = tally.count(kind=kind, outcome="corrupted")
    return KindCounts(
        sent=tally.count(kind=kind),
        ok=tally.count(kind=kind, outcome="ok"),
        lost=tally.count(kind=kind, outcome="lost") + corrupted,
        corrupted=corrupted,
        duplicated=tally.count(kind=kind, outcome="duplicated"),
    )


def _largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
