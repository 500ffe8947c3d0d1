"""Which uploads a drain would cut, at the rates they have now. Refuses to guess: what cannot be known is `unknown`."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from changeover.model.instance import Upload

TOO_YOUNG = 1.0
"""Seconds that an upload must have been in flight before its rate means anything: the first bytes come in a burst."""

UploadOutcome = Literal["ends", "drained", "held", "cut", "unknown"]
"""`ends` before its instance leaves; `drained` within the deadline; `held`: the drain waits for it beyond the deadline;
`cut` at the deadline; `unknown`: the client announced no length, or the upload is too young to have a rate."""


@dataclass(frozen=True)
class PassingUpload:
    """An upload that passes through a tier that is going to be rolled. Times are seconds from now."""

    tier: str
    instance: str | None
    """None where the tier does not see uploads one by one: the upload is on some instance of it."""
    upload: Upload
    leaves: float
    """Until the instance begins to leave; without one, until the first instance of the tier does."""
    seconds_left: float | None
    """Until the upload has ended; None: unknown."""
    outcome: UploadOutcome


def seconds_left(upload: Upload) -> float | None:
    """Seconds until it has ended at the mean rate it has had so far; inf when it stands still; None when unknown."""
    if upload.left is None or upload.seconds < TOO_YOUNG:
        return None
    return upload.left * upload.seconds / upload.received if upload.received else inf


def upload_outcome(ends: float | None, leaves: float, deadline: float, *, cut: bool) -> UploadOutcome:
    """The outcome of an upload that ends in `ends` seconds, on an instance that begins to leave in `leaves`.

    `deadline`: seconds that a drain may take; `cut`: whether it is cut then, or waited for.
    """
    if ends is None:
        return "unknown"
    if ends <= leaves:
        return "ends"
    if ends <= leaves + deadline:
        return "drained"
    return "cut" if cut else "held"
