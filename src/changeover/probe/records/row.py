"""One row of the ledger: a request and its result. Refuses clocks and files.

Times are seconds since the epoch, from one monotonic clock, so that the times of a run can be subtracted from each
other. Bytes count bodies only; `bytes_sent` counts the bytes that the client's kernel accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

RequestKind = Literal["get", "upload", "readback", "check"]
RequestOutcome = Literal["ok", "lost", "corrupted", "duplicated"]
ConnectionUse = Literal["keep-alive", "fresh", "none"]
"""The connection had carried a request before, was opened for this request, or was never established."""
RowNote = Literal["read by the writer", "left to the writer", "stored although lost", "answered only"]
"""A remark on a row that is ok.

- `left to the writer`: the instance that stored the upload responded, and the probe closed the connection to reach
  another one;
- `read by the writer`: no other instance responded, so the probe read from the one that stored the upload;
- `stored although lost`: the client received an error, and the server holds the upload once;
- `answered only`: the server answered the upload, and nothing proves that it received the bytes.
"""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    kind: RequestKind
    path: str
    scheduled: float
    started: float
    finished: float
    connection: ConnectionUse
    outcome: RequestOutcome
    reason: str | None = None
    status: int | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    sha256: str | None = None
    ref: str | None = None
    instance: str | None = None
    version: str | None = None
    note: RowNote | None = None
    tier_state: Mapping[str, object] | None = None

    @property
    def latency(self) -> float:
        """Seconds since the request was due, not since it was sent: the server caused the wait in between."""
        return self.finished - self.scheduled

    def to_dict(self) -> dict[str, object]:
        """For JSON: without fields that are None, times rounded to microseconds."""
        row: dict[str, object] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if value is not None:
                row[name] = round(value, 6) if isinstance(value, float) else value
        row["latency_ms"] = round(self.latency * 1000, 3)
        return row


_NAMES = tuple(field.name for field in fields(LedgerRow))
