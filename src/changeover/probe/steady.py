"""Whether the traffic is steady: every planned kind of request succeeds, and nothing has failed for a while.

A function of rows, with the time as an argument. Refuses clocks. Silence is not steadiness: requests that hang produce
no rows, so each kind needs a recent success, and each path of a GET a success since the beginning.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from urllib.parse import urlsplit

from changeover.probe.records.row import LedgerRow, RequestKind
from changeover.probe.traffic_plan import TrafficPlan


class SteadyWatch:
    """Takes every row. `hold`: seconds without a failure."""

    def __init__(self, plan: TrafficPlan, hold: float, at: float) -> None:
        traffic, prefix = plan.traffic, urlsplit(plan.url).path.rstrip("/")
        self._paths = {prefix + get.path for get in traffic.get}
        cycle = sum(get.weight for get in traffic.get) / traffic.rate
        longest = max((post.time for post in traffic.post), default=0.0)
        self._longest_silence: dict[RequestKind, float] = {
            kind: hold + 2 / traffic.rate if kind == "get" else hold + 2 * longest + traffic.timeout
            for kind in plan.planned
        }
        self.hold = hold
        self.limit = 30.0 + hold + 3 * longest + 2 * cycle + traffic.timeout
        """Seconds after which traffic that is not steady counts as failed: three uploads, two GETs of each path."""
        self.reasons: Counter[str] = Counter()
        """Failures since the last `begin`."""
        self.begin(at)

    def begin(self, at: float) -> None:
        """Start anew: only requests that start from now on count as successes."""
        self.began = at
        self.reasons.clear()
        self._failed = at
        self._ok: dict[RequestKind, float] = {}
        self._paths_ok: set[str] = set()
        self._paths_failed: dict[str, float] = {}
        """Path of a GET -> the time of its first failure."""

    def saw(self, row: LedgerRow) -> None:
        if row.outcome != "ok":
            self.reasons[row.reason or "unknown"] += 1
            self._failed = max(self._failed, row.finished)
            if row.kind == "get":
                self._paths_failed.setdefault(row.path, row.finished)
        elif row.started >= self.began:
            self._ok[row.kind] = row.finished
            if row.kind == "get":
                self._paths_ok.add(row.path)

    def is_steady(self, at: float) -> bool:
        fresh = all(at - self._ok.get(kind, -inf) <= silence for kind, silence in self._longest_silence.items())
        return fresh and self._paths <= self._paths_ok and at - self._failed >= self.hold

    def never_answers(self, at: float) -> bool:
        """Whether all requests, or those of one path, failed for as long as would make the traffic steady."""
        if not self._ok and self.reasons:
            return at - self.began >= self.hold
        return any(at - self._paths_failed[path] >= self.hold for path in self._never())

    def too_late(self, at: float) -> bool:
        return at - self.began >= self.limit

    def why(self) -> str:
        """What keeps the traffic from being steady: `12 connect refused, 3 status 503; no successful upload`."""
        failures = ", ".join(f"{number} {reason}" for reason, number in self.reasons.most_common(3))
        missing = [kind for kind in self._longest_silence if kind not in self._ok]
        silent = [f"no successful {' or '.join(missing)}"] if missing else []
        never = [f"{path} never succeeded" for path in self._never()[:3]] if self._ok else []
        return "; ".join([*filter(None, [failures]), *silent, *never]) or "requests stay without an answer"

    def _never(self) -> list[str]:
        """Paths that failed and never succeeded."""
        return sorted(self._paths_failed.keys() - self._paths_ok)
