"""What a rule finds of one object: violated, met with its margin, or unknown with what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from changeover.audit.setting import Replacement
from changeover.conf.place import Place


class Severity(StrEnum):
    """In the order of --fail-on."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Effect(StrEnum):
    """The outcome of one request, if the finding is not corrected."""

    OK = "ok"  # it is answered
    RETRIED = "retried"  # it fails once, and a hop or the client may safely repeat it
    ERROR = "error"  # it is answered with an error, or its connection is reset before it was read
    REFUSED = "refused"  # it is answered with 413
    CUT = "cut"  # it is in flight, and its connection is closed
    DUPLICATED = "duplicated"  # it is carried out twice
    STALE = "stale"  # it is answered by an instance that is out of its balancer


class Outcome(StrEnum):
    """In the order of a report."""

    VIOLATED = "violated"
    UNKNOWN = "unknown"
    MET = "met"


@dataclass(frozen=True, slots=True)
class Finding:
    """`what` is one sentence without its full stop."""

    outcome: Outcome
    place: Place
    object: str
    """The thing that it is about: an upstream, a server, a unit. With the rule it identifies the finding."""
    what: str
    get: Effect = Effect.OK
    post: Effect = Effect.OK
    consequence: str = ""
    fix: str = ""
    missing: str = ""
    numbers: Mapping[str, float | str | None] = field(default_factory=dict)
    replacement: Replacement | None = None
    """Where one literal of its line has one value that is right."""


def violated(
    place: Place,
    object: str,
    what: str,
    *,
    get: Effect,
    post: Effect,
    consequence: str,
    fix: str,
    numbers: Mapping[str, float | str | None] | None = None,
    replacement: Replacement | None = None,
) -> Finding:
    return Finding(Outcome.VIOLATED, place, object, what, get, post, consequence, fix, "", numbers or {}, replacement)


def met(place: Place, object: str, what: str, numbers: Mapping[str, float | str | None] | None = None) -> Finding:
    return Finding(Outcome.MET, place, object, what, numbers=numbers or {})


def unknown(place: Place, object: str, what: str, missing: str) -> Finding:
    """`missing` names what has to be given: a file, or an assumption."""
    return Finding(Outcome.UNKNOWN, place, object, what, missing=missing)
