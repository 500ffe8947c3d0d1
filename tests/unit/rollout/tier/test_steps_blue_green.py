"""Blue-green from the first new instance to the end of the bake: events in, commands out."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from tests.unit.rollout.playbook import (
    UPLOAD,
    C,
    D,
    Said,
    Script,
    leaving,
    script,
)

from changeover.rollout.commands import (
    Admit,
    CreateInstance,
    Finish,
    LameDuck,
    Refuse,
    Remove,
    StepReached,
    Stop,
    WakeAt,
)
from changeover.rollout.events import (
    ActionRequested,
    InFlightSeen,
    InstanceGone,
    InstanceReady,
    RouterConfirmed,
    Started,
    StepAllowed,
    Tick,
)
from changeover.rollout.tier.actions import Action, TierStatus


def switched(s: Script, name: str, *, at: float) -> Script:
    """The one instance of a new colour is ready, and so all of it: it is admitted. What follows is to be expected."""
    s.event(InstanceReady(at, name))
    s.event(Tick(at + 1)).expect(StepReached("switch to v2", ""), Admit(name))
    return s.event(RouterConfirmed(at + 1, name, admitted=True))


def test_a_third_colour_is_rolled_to_for_there_is_no_room_beside_two_others() -> None:
    with script(size=1, strategy="blue-green") as s:
        a, b, c = "web-v1-1", "web-v2-2", "web-v3-3"
        s.event(Started(0, "v2")).expect(CreateInstance(b, "v2"))
        switched(s, b, at=3).expect(*leaving(a))
        s.event(Started(5, "v3")).expect(Said("no switch between two colours"))
        s.leave(a, at=6).expect(CreateInstance(c, "v3"))


def test_a_new_colour_is_admitted_the_moment_it_is_whole() -> None:
    with script(size=2, strategy="blue-green", bake=30) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"), CreateInstance(D, "v2"))
        s.event(InstanceReady(1, C))
        s.event(InstanceReady(2, D))
        s.event(Tick(2))
        s.event(Tick(3)).expect(StepReached("switch to v2", ""), Admit(C), Admit(D))
        s.event(Tick(4.9))
        s.event(Tick(5)).expect(Admit(C), Admit(D))


@pytest.mark.parametrize("policy", ["cut", "wait"])
def test_the_drain_deadline_of_a_colour_that_is_kept_warm_counts_from_the_end_of_that(
    policy: Literal["cut", "wait"],
) -> None:
    with script(size=1, strategy="blue-green", bake=100, deadline=30, policy=policy) as s:
        a, b = "web-v1-1", "web-v2-2"
        s.event(Started(0, "v2")).expect(CreateInstance(b, "v2"))
        switched(s, b, at=3).expect(*leaving(a))
        s.event(RouterConfirmed(5, a, admitted=False)).expect(
            Said("kept warm for 100 s"), StepReached("", "switch to v2"), WakeAt(105)
        )
        s.event(InFlightSeen(34, a, UPLOAD))
        s.event(Tick(36))  # 30 s have passed, and it is still wanted
        s.restart()
        s.event(Tick(105)).expect(WakeAt(135))
        s.event(Tick(134))
        if policy == "cut":
            s.event(Tick(135)).expect(Said("cutting", a), Stop(a, kill=True))
        else:
            s.event(Tick(135)).expect(Said("still waiting", a))


def test_a_warm_colour_that_is_wanted_back_has_no_deadline_until_it_leaves_again() -> None:
    with script(size=1, strategy="blue-green", bake=100, deadline=30, policy="cut") as s:
        a, b = "web-v1-1", "web-v2-2"
        s.event(Started(0, "v2")).expect(CreateInstance(b, "v2"))
        switched(s, b, at=3).expect(*leaving(a))
        s.event(RouterConfirmed(5, a, admitted=False)).expect(
            Said("kept warm for 100 s"), StepReached("", "switch to v2")
        )
        s.event(InFlightSeen(34, a, UPLOAD))
        s.event(ActionRequested(90, Action.ABORT, reason="errors went up")).expect(
            Said("going back"), LameDuck(a, on=False)
        )
        s.serve(a, at=91).expect(*leaving(b))
        s.leave(b, at=93).expect(Finish("undone", "errors went up"))


COLOURS: dict[str, Any] = {"size": 1, "strategy": "blue-green"}


BLUE, GREEN = "web-v1-1", "web-v2-2"


def complete(s: Script) -> None:
    """The new colour is ready beside the old one, and no router has admitted it."""
    s.event(Started(0, "v2")).expect(CreateInstance(GREEN, "v2"))
    s.event(InstanceReady(1, GREEN))
    s.event(Tick(2))


def test_a_switch_that_waits_to_be_promoted_waits_for_as_long_as_it_takes() -> None:
    with script(**COLOURS, hold=True) as s:
        complete(s)
        s.expect(Said("waits for `promote`"), StepReached("switch to v2", ""))
        s.event(Tick(9000))
        assert (s.machine.status, s.machine.held_back) == (TierStatus.HOLDING, [GREEN])
        s.event(ActionRequested(9001, Action.RESUME)).expect(Refuse("it waits for `promote`"))
        s.event(ActionRequested(9002, Action.PROMOTE)).expect(Said("promote, requested by an operator"), Admit(GREEN))
        assert s.machine.held_back == []
        s.event(RouterConfirmed(9004, GREEN, admitted=True)).expect(*leaving(BLUE))


def test_hooks_are_asked_before_the_switch_and_may_object() -> None:
    with script(**COLOURS, ask_first=True) as s:
        complete(s)
        s.expect(StepReached("switch to v2", ""))
        s.event(StepAllowed(3, "smoke")).expect(Said("paused: smoke"))
        s.restart()
        s.event(Tick(9000))
        assert (s.machine.status, s.machine.held_back) == (TierStatus.PAUSED, [GREEN])
        s.event(ActionRequested(9001, Action.PROMOTE)).expect(Said("promote, requested by an operator"), Admit(GREEN))


def test_a_pause_while_the_hooks_are_asked_outlasts_their_answer() -> None:
    with script(**COLOURS, ask_first=True) as s:
        complete(s)
        s.expect(StepReached("switch to v2", ""))
        s.event(ActionRequested(3, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(StepAllowed(4))
        s.event(Tick(9000))
        s.event(ActionRequested(9001, Action.RESUME)).expect(Said("resume, requested by an operator"), Admit(GREEN))


def test_a_resume_is_not_the_answer_of_the_hooks() -> None:
    with script(**COLOURS, ask_first=True) as s:
        complete(s)
        s.expect(StepReached("switch to v2", ""))
        s.event(ActionRequested(3, Action.RESUME)).expect(Said("resume, requested by an operator"))
        s.restart()
        awaiting = s.machine.tier.awaiting  # the next controller asks the hooks again
        assert awaiting is not None
        assert (awaiting.step, awaiting.done) == ("switch to v2", "")
        s.event(StepAllowed(4)).expect(Admit(GREEN))
        s.event(StepAllowed(5))  # a second answer is none


def test_an_old_instance_that_dies_before_the_switch_is_replaced_also_while_paused() -> None:
    for pause in (False, True):
        with script(**COLOURS, hold=True) as s:
            complete(s)
            s.expect(Said("waits for `promote`"), StepReached("switch to v2", ""))
            if pause:
                s.event(ActionRequested(3, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
            s.event(InstanceGone(4, BLUE)).expect(Said("died", BLUE), Remove(BLUE), CreateInstance("web-v1-3", "v1"))
            s.event(RouterConfirmed(4, BLUE, admitted=False))
            s.serve("web-v1-3", at=5)
            assert s.phases() == {"web-v1-3": "admitted", GREEN: "ready"}
