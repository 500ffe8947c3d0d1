"""Which failed calls are made again, and when. Pure: a failure and the number of attempts give a pause, or none.

The client of Google repeats nothing but reads that got 503. Here every call may be repeated: a mutation has a request
id, by which the API knows it again when it had its effect and the answer was lost.
"""

from __future__ import annotations

from dataclasses import dataclass

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_LIMITED = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED"})


@dataclass(frozen=True)
class RetryTiming:
    """Seconds, unless a field says otherwise."""

    first: float = 0.5
    """Before the second attempt; each further pause is twice as long."""
    longest: float = 8.0
    """Between two attempts."""
    limited: float = 15.0
    """Before an attempt after the quota was used up: Google refills it on the minute."""
    attempts: int = 6
    """How many attempts a call has, about half a minute of them; a look comes again by itself."""
    answer: float = 30.0
    """Until a call without an answer counts as failed."""


@dataclass(frozen=True)
class Failure:
    """A call that got no good answer. `code`: the HTTP status; None: no answer at all."""

    code: int | None
    reason: str
    message: str
    final: bool = False
    """Whether there was no answer, and will be none to the same call: its credentials were refused."""

    @property
    def limited(self) -> bool:
        """Whether the project's quota of calls is used up."""
        return self.code == 429 or (self.code == 403 and self.reason in _LIMITED)

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed a little later."""
        return (self.code is None and not self.final) or self.limited or self.code in _TRANSIENT

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code is not None else self.message


def pause(failure: Failure, attempt: int, timing: RetryTiming) -> float | None:
    """Seconds until the next attempt; None: there is none. `attempt`: how many have failed."""
    if not failure.transient or attempt >= timing.attempts:
        return None
    if failure.limited:
        return timing.limited
    return float(min(timing.longest, timing.first * 2 ** (attempt - 1)))
