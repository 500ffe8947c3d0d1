"""How long the engine waits for what. Every default has its reason beside it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UploadTiming:
    """Durations in seconds. The defaults suit production; tests pass shorter ones."""

    idle_commit: float = 0.25
    """Received bytes are committed after this long without another byte."""
    max_commit_delay: float = 2.0
    """Received bytes are committed after this long even if more bytes keep arriving."""
    interrupt_timeout: float = 5.0
    """An interrupted request of this process has this long to commit and end; then it is fenced out."""
    collect_interval: float = 600.0
    """Pause between two collections of expired uploads."""
    handler_lease: float = 10.0
    """How long other processes wait for the process that calls the handler, once they have seen its lease. The process
    renews its lease three times in that time. All instances of a store must have the same value. Clients wait for about
    half a minute. If that process has died, there must be time left for another call."""
    response_poll: float = 0.1
    """Pause between two reads while another process calls the handler, and before a failed write is retried."""
    listener_timeout: float = 5.0
    """At the end of a process `on_event` has this long for the events that it has not received yet."""
