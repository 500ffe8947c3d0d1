"""What to send: the one home of every default of the probe. Refuses a load that could not prove anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from changeover.model.errors import ChangeoverError, Problem
from changeover.probe.ledger_row import RequestKind


@dataclass(frozen=True)
class TrafficPlan:
    """Traffic for one run. `rate` 0 sends no GETs, `uploads` 0 none of those; not both."""

    url: str
    ca_file: Path | None = None
    """Who may have signed the edge's certificate. None: whom the system trusts."""
    rate: float = 300.0
    """GETs per second, sent on schedule whatever the answers do. Every other one is a blob."""
    connections: int = 16
    """Keep-alive connections that share the GETs. A GET that finds all of them busy waits; its time runs."""
    fresh_share: float = 0.1
    """Share of the GETs that open a connection of their own, as first-time visitors do."""
    uploads: int = 4
    """Uploads at any moment, back to back; alternately chunked and with Content-Length."""
    upload_size: int = 50_000_000
    upload_seconds: float = 20.0
    """How long the body of one upload takes. After a lost one, its place stays empty for the rest of that
    time: a refused upload must not be followed by a thousand more in the same second."""
    blob_size: int = 16_384
    timeout: float = 30.0
    """Seconds. A GET not answered this long after it was due is lost; so is an upload or read-back on which
    nothing moved for as long."""

    def __post_init__(self) -> None:
        wrong = [what for fault, what in self._rules() if fault]
        if wrong:
            raise ChangeoverError(*(Problem(what, where="load") for what in wrong))

    def _rules(self) -> tuple[tuple[bool, str], ...]:
        return (
            (not _is_address(self.url), f"{self.url!r} is not an http:// or https:// address"),
            (self.rate < 0 or self.uploads < 0, "rate and uploads may be 0 but not less"),
            (
                self.rate == 0 and self.uploads == 0,
                "rate and uploads are both 0: nothing sent proves nothing",
            ),
            (self.connections < 1, "at least 1 connection is needed"),
            (not 0 <= self.fresh_share <= 1, "fresh_share is a share, from 0 to 1"),
            (self.upload_size < 1 or self.blob_size < 1, "upload_size and blob_size are at least 1 byte"),
            (self.upload_seconds <= 0 or self.timeout <= 0, "upload_seconds and timeout must be more than 0"),
        )

    @property
    def planned(self) -> tuple[RequestKind, ...]:
        """The kinds of request of which the verdict must have seen some."""
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
    except ValueError:  # a port that is no number, or too large a one
        return False
