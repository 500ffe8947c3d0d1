"""One row of the ledger: one request and what became of it. Refuses clocks and files.

Times are seconds since the epoch on one clock that never leaps, so that rows of a run can be subtracted from
each other. Bytes are those of bodies, as the client counted them: `bytes_sent` is what its kernel took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal

RequestKind = Literal["get", "upload", "readback", "check"]
RequestOutcome = Literal["ok", "lost", "corrupted", "duplicated"]
ConnectionUse = Literal["keep-alive", "fresh", "none"]
"""Whether the connection had served a request before, was opened for this one, or was never had."""
RowNote = Literal["read by the writer", "left to the writer", "stored although lost"]
"""What is worth knowing of a row that is ok.

- `left to the writer`: the instance that stored the upload answered; the prober hung up to ask another one;
- `read by the writer`: no other instance could be got to answer, so the one that stored it was read from;
- `stored although lost`: the client was told of a failure, and the bytes are there once.
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
        """Seconds since the request was due, not since it was sent: the server is why it had to wait."""
        return self.finished - self.scheduled

    def to_dict(self) -> dict[str, object]:
        """For JSON; what is None is left out, times are cut to microseconds."""
        row: dict[str, object] = {}
        for name in _NAMES:
            value = getattr(self, name)
            if value is not None:
                row[name] = round(value, 6) if isinstance(value, float) else value
        row["latency_ms"] = round(self.latency * 1000, 3)
        return row


_NAMES = tuple(field.name for field in fields(LedgerRow))
