"""What the probe sends, with every default. Refuses a plan that proves nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from changeover.model.errors import ChangeoverError, Problem
from changeover.probe.ledger_row import RequestKind


@dataclass(frozen=True)
class TrafficPlan:
    """Traffic of one run. `rate` 0 sends no GETs, `uploads` 0 no uploads; at least one must be more than 0."""

    url: str
    ca_file: Path | None = None
    """The CA that must have signed the edge's certificate. None: the CAs of the system."""
    rate: float = 300.0
    """GETs per second, on a schedule that slow responses do not delay. Every second GET fetches a blob."""
    connections: int = 16
    """Keep-alive connections that share the GETs. A GET waits while all are busy, and its latency includes the wait."""
    fresh_share: float = 0.1
    """Share of the GETs that open a new connection, as first-time visitors do."""
    uploads: int = 4
    """Concurrent uploads. Each starts after the previous one; every second one is chunked."""
    upload_size: int = 50_000_000
    upload_seconds: float = 20.0
    """Seconds in which one body is sent. After a lost upload the next one starts only when this time is over, so that
    a server that refuses uploads does not receive a thousand of them in a second."""
    blob_size: int = 16_384
    timeout: float = 30.0
    """Seconds. A GET without a response this long after it was due is lost. So is an upload or a read-back
    without progress for this long."""

    def __post_init__(self) -> None:
        wrong = [what for fault, what in self._rules() if fault]
        if wrong:
            raise ChangeoverError(*(Problem(what, where="traffic plan") for what in wrong))

    def _rules(self) -> tuple[tuple[bool, str], ...]:
        return (
            (not _is_address(self.url), f"{self.url!r} is not an http:// or https:// address"),
            (self.rate < 0 or self.uploads < 0, "rate and uploads must not be negative"),
            (
                self.rate == 0 and self.uploads == 0,
                "rate and uploads are both 0: a run without requests proves nothing",
            ),
            (self.connections < 1, "connections must be at least 1"),
            (not 0 <= self.fresh_share <= 1, "fresh_share must be from 0 to 1"),
            (self.upload_size < 1 or self.blob_size < 1, "upload_size and blob_size must be at least 1 byte"),
            (self.upload_seconds <= 0 or self.timeout <= 0, "upload_seconds and timeout must be more than 0"),
        )

    @property
    def planned(self) -> tuple[RequestKind, ...]:
        """The kinds of request of which the run must have a success."""
        kinds: list[RequestKind] = []
        if self.rate:
            kinds.append("get")
        if self.uploads:
            kinds += ["upload", "readback"]
        return tuple(kinds)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number or is too large
        return False
