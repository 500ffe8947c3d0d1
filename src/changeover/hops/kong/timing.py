"""How often a Kong is asked, and how long its commands may take. Seconds."""

from __future__ import annotations

from dataclasses import dataclass

from changeover.kit import http


@dataclass(frozen=True)
class KongTiming:
    """Seconds. Tests pass shorter ones."""

    answer: float = http.TIMEOUT
    """Within which an Admin API must answer a request."""
    look: float = 0.1
    """Between two rounds of questions to the nodes: the controller looks more often than an Admin API should answer."""
    push: float = 2.0
    """Between two pushes of the configuration that a ready node should have already."""
    reload: float = 20.0
    """Within which `kong reload` must end; it starts an interpreter of its own first."""
