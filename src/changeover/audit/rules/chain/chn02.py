"""CHN02: two tiers are changed at the same time."""

from __future__ import annotations

from collections.abc import Iterator

from changeover.audit.assumptions import Assumptions
from changeover.audit.finding import Effect, Finding, Severity, met, violated
from changeover.audit.rule import GOOGLE_CLOUD, Rule
from changeover.audit.view import View

_STABLE = ("status", "isStable")


def check(view: View, asked: Assumptions) -> Iterator[Finding]:
    seen = [one for one in view.google.of("instanceGroupManager") if one.body.flag(*_STABLE) is not None]
    changing = [one for one in seen if one.body.flag(*_STABLE) is False]
    for manager in seen:
        services = view.google.services(manager)
        others = [
            one.object
            for one in changing
            if one.name != manager.name and not (services and services == view.google.services(one))
        ]
        if manager in changing and others:
            yield violated(
                manager.at(*_STABLE),
                manager.object,
                f"it is not stable, and neither is {', '.join(others)}: both are changed at the same time",
                get=Effect.ERROR,
                post=Effect.ERROR,
                consequence="each tier counts on the other to be whole: a GET and a POST may meet a tier that drains "
                "behind one that has lost capacity",
                fix="one tier after the other, from the inside out: wait-until --stable between them",
            )
        else:
            state = "is stable" if manager not in changing else "is the only tier that changes"
            yield met(manager.at(*_STABLE), manager.object, f"it {state}")


def _described(name: str, stable: str) -> str:
    return f"kind: compute#instanceGroupManager\nname: {name}\ntargetSize: 3\nstatus:\n{stable}"


RULE = Rule(
    id="CHN02",
    name="two-tiers-at-once",
    severity=Severity.ERROR,
    what="Two managed instance groups are changed at the same time.",
    why="A drain of one tier assumes that the tiers beside it serve with full capacity, and keep their connections. "
    "While two change at once, requests of the one are sent into the drain of the other. Tiers are rolled one after "
    "the other, the innermost first. Groups behind the same backend service are one tier.",
    sources=("https://cloud.google.com/compute/docs/instance-groups/getting-info-about-migs#verify_stability",),
    bad={
        "edge.yaml": _described("edge", "  # expect: CHN02\n  isStable: false\n"),
        "inner.yaml": _described("inner", "  # expect: CHN02\n  isStable: false\n"),
    },
    good={
        "edge.yaml": _described("edge", "  isStable: true\n"),
        "inner.yaml": _described("inner", "  isStable: false\n"),
    },
    fix="Wait until a group is stable before the next one is changed.",
    check=check,
    lab=GOOGLE_CLOUD,
)
