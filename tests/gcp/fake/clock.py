"""The time of the fake: every delay of Google's is divided by one factor, so that a test takes seconds.

Only what Google does goes faster: operations, boots, drains, shutdowns, intervals between checks. Traffic, the
programs on the VMs and the answers to checks take the time that they take, and so a group gives them all of its
initialDelaySec.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Delays:
    """Seconds at speed 1. A world may set each."""

    operation: float = 2
    """Between the answer to a change and its operation DONE. Not documented; seconds in recorded logs."""
    provision: float = 10
    """From CREATING to a running startup script. Not documented."""
    retry: float = 10
    """Until a failed creation is tried again. Not documented."""
    after_drain: float = 60
    """deleteInstances: "it can take up to 60 seconds after the connection draining duration has elapsed"."""
    propagation: float = 10
    """From a failed check that getHealth tells of, or from a removal, to the last proxy that knows it. Google does not
    publish it; without it, a client could take the API's word for what the traffic does."""
    shutdown: float = 90
    """Guest shutdown: the page on shutdown scripts gives 90 s; then the power is off."""
    preemption: float = 30
    """The page on Spot VMs: a shutdown period of up to 30 s."""
    wait: float = 120
    """operations.wait: "This method waits for no more than the 2 minutes"."""
    look: float = 1
    """Between two looks of a group at its own instances. Not documented."""
    autoscale: float = 60
    """coolDownPeriodSec: "The default initialization period is 60 seconds"."""


class Clock:
    def __init__(self, speed: float, delays: Delays) -> None:
        self.speed = speed
        self.delays = delays

    def real(self, seconds: float) -> float:
        """Seconds on the machine's clock for that many of Google's."""
        return seconds / self.speed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(self.real(seconds))

    def stamp(self) -> str:
        """Now, as the API writes it: RFC 3339 with milliseconds and an offset."""
        return datetime.now(UTC).isoformat(timespec="milliseconds")
