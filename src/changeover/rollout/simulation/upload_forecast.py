"""Which uploads a drain would cut, at the rates they have now. Refuses to guess: what cannot be known is `unknown`."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from changeover.model.instance import Upload

TOO_YOUNG = 1.0
"""Seconds an upload must have been under way before its rate says anything."""

Fate = Literal["ends", "drained", "held", "cut", "unknown"]
"""`ends` before its instance leaves; `drained` within the deadline; `held`: the drain waits for it beyond the deadline;
`cut` at the deadline; `unknown`: it did not say how long it is, or is too young to have a rate."""


@dataclass(frozen=True)
class Passing:
    """An upload that passes through a tier that is going to be rolled.

    `instance` is None where the tier does not see uploads one by one: then it is on some instance of it. `leaves` and
    `needs` are seconds from now: until that instance (or the first one) begins to leave, and until the upload has ended
    (None: unknown).
    """

    tier: str
    instance: str | None
    upload: Upload
    leaves: float
    needs: float | None
    fate: Fate


def needs(upload: Upload) -> float | None:
    """Seconds until it has ended at the mean rate it has had so far; inf when it stands still; None when unknown."""
    if upload.left is None or upload.seconds < TOO_YOUNG:
        return None
    return upload.left * upload.seconds / upload.received if upload.received else inf


def fate(ends: float | None, leaves: float, deadline: float, *, cut: bool) -> Fate:
    """What becomes of an upload that ends in `ends` seconds, on an instance that begins to leave in `leaves`.

    `deadline`: seconds that a drain may take; `cut`: whether it is cut then, or waited for.
    """
    if ends is None:
        return "unknown"
    if ends <= leaves:
        return "ends"
    if ends <= leaves + deadline:
        return "drained"
    return "cut" if cut else "held"
