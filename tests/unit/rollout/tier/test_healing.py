"""Instances that die, at rest and during a rollout, are replaced: events in, commands out."""

from __future__ import annotations

import pytest
from tests.unit.rollout.playbook import (
    BUSY,
    IDLE,
    A,
    B,
    C,
    D,
    Expected,
    Said,
    Script,
    draining,
    leaving,
    script,
)

from changeover.model.instance import InFlight
from changeover.rollout.commands import (
    Admit,
    Command,
    CreateInstance,
    Finish,
    LameDuck,
    Note,
    Remove,
    Stop,
    WakeAt,
)
from changeover.rollout.events import (
    ActionRequested,
    Event,
    InFlightSeen,
    InstanceGone,
    InstanceReady,
    RouterConfirmed,
    Started,
    StopSent,
    Tick,
)
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.context import degraded
from changeover.rollout.tier.settings import RolloutTiming

TIMING = RolloutTiming()


def test_an_instance_that_dies_while_paused_is_replaced_from_the_old_template_and_ever_less_often() -> None:
    with script(size=2, surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(ActionRequested(0, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(InstanceGone(0, A)).expect(Said("died", A), Remove(A))
        s.event(RouterConfirmed(0, A, admitted=False))
        s.event(InstanceGone(0, C)).expect(Said("did not start", C), WakeAt(1), Remove(C))
        s.event(RouterConfirmed(0, C, admitted=False))
        s.event(Tick(1)).expect(CreateInstance("web-v1-4", "v1"))
        s.event(InstanceGone(1, "web-v1-4")).expect(Said("did not start", "web-v1-4"), WakeAt(3), Remove("web-v1-4"))
        s.event(RouterConfirmed(1, "web-v1-4", admitted=False))
        s.event(Tick(2.9))
        s.event(Tick(3)).expect(CreateInstance("web-v1-5", "v1"))


def test_a_dead_instance_of_a_tier_at_rest_is_replaced_and_no_rollout_is_reported() -> None:
    with script() as s:
        s.event(InstanceGone(0, A, "out of memory")).expect(
            Note("died while admitted: out of memory", A, "warning"), Remove(A), CreateInstance("web-v1-3", "v1")
        )
        s.event(RouterConfirmed(1, A, admitted=False))
        s.serve("web-v1-3", at=2)
        assert s.phases() == {B: "admitted", "web-v1-3": "admitted"}


def test_an_instance_at_rest_that_keeps_failing_is_tried_again_ever_less_often() -> None:
    with script() as s:
        s.event(InstanceGone(0, A)).expect(Said("died", A), Remove(A), CreateInstance("web-v1-3", "v1"))
        s.event(RouterConfirmed(0, A, admitted=False))
        now = 0.0
        for serial, pause in enumerate((1, 2, 4, 8, 16, TIMING.max_backoff, TIMING.max_backoff), start=3):
            dead, following = f"web-v1-{serial}", f"web-v1-{serial + 1}"
            s.event(InstanceGone(now, dead)).expect(Said("did not start", dead), WakeAt(now + pause), Remove(dead))
            s.event(RouterConfirmed(now, dead, admitted=False))
            s.event(Tick(now + pause - 0.1))
            now += pause
            s.event(Tick(now)).expect(CreateInstance(following, "v1"))


def test_an_instance_at_rest_that_hangs_at_its_start_is_replaced_by_another() -> None:
    with script(progress_deadline=60) as s:
        hangs, following = "web-v1-3", "web-v1-4"
        s.event(InstanceGone(0, A)).expect(Said("died", A), Remove(A), CreateInstance(hangs, "v1"))
        s.event(RouterConfirmed(0, A, admitted=False))
        s.event(Tick(60)).expect(*leaving(hangs), Said(f"{hangs} was not ready after 60 s", hangs))
        s.event(Tick(61)).expect(CreateInstance(following, "v1"))  # there is room for it: surge is 1
        s.drop(hangs, at=62)
        s.serve(following, at=63)
        assert s.phases() == {B: "admitted", following: "admitted"}


def test_an_old_instance_that_does_not_come_back_is_replaced() -> None:
    with script(size=2, surge=1, progress_deadline=60) as s:
        draining(s)
        s.event(ActionRequested(100, Action.ABORT, reason="errors went up")).expect(
            Said("going back"), LameDuck(A, on=False)
        )
        for at in range(102, 160, 2):
            s.event(Tick(at)).expect(LameDuck(A, on=False))
        s.event(Tick(160)).expect(*leaving(A), Said(f"{A} was not ready after 60 s", A))
        s.leave(A, at=161).expect(CreateInstance("web-v1-4", "v1"))


ROLL: tuple[tuple[Event, tuple[Command, ...]], ...] = (
    (Started(0, "v2"), (CreateInstance(C, "v2"),)),
    (InstanceReady(1, C), ()),
    (Tick(2), (Admit(C),)),
    (RouterConfirmed(3, C, admitted=True), leaving(A)),
    (RouterConfirmed(4, A, admitted=False), ()),
    (InFlightSeen(4, A, IDLE), ()),
    (InFlightSeen(4, A, IDLE), (Stop(A),)),
    (StopSent(4, A), ()),
)
"""A roll until its first old instance got its stop signal."""


NEXT = CreateInstance(D, "v2")


@pytest.mark.parametrize(
    ("name", "phase", "following"),
    [
        (C, "creating", (Said("did not start", C), Remove(C), NEXT)),
        (C, "warming", (Said("did not start", C), Remove(C), NEXT)),
        (C, "ready", (Said("died while ready", C), Remove(C), NEXT)),
        (C, "admitted", (Said("died while admitted", C), Remove(C), NEXT)),
        (B, "admitted", (Said("died while admitted", B), Remove(B), NEXT)),
        (A, "leaving", (Said("died while leaving", A), Remove(A), NEXT)),
        (A, "draining", (Said("died while draining", A), NEXT)),
        (A, "drained", (NEXT,)),
        (A, "stopping", (NEXT,)),
    ],
)
def test_an_instance_that_dies_during_a_roll_is_missed_and_replaced(
    name: str, phase: str, following: tuple[Expected, ...]
) -> None:
    with script(size=2, surge=1) as s:
        for event, commands in ROLL:
            s.event(event).expect(*commands)
            if s.phases().get(name) == phase:
                break
        assert s.phases()[name] == phase
        s.event(InstanceGone(5, name)).expect(*following)


def test_an_instance_that_died_stays_listed_until_its_routers_have_dropped_it() -> None:
    with script() as s:
        s.event(InstanceGone(0, A)).expect(Said("died", A), Remove(A), CreateInstance("web-v1-3", "v1"))
        s.event(Tick(2)).expect(Remove(A))
        s.event(RouterConfirmed(3, A, admitted=False))
        assert A not in s.phases()


def die_at_rest(s: Script, serial: int, at: float) -> None:
    dead = f"web-v1-{serial}"
    s.event(InstanceGone(at, dead)).expect(
        Said("died", dead), Remove(dead), CreateInstance(f"web-v1-{serial + 1}", "v1")
    )
    s.event(RouterConfirmed(at, dead, admitted=False))
    s.serve(f"web-v1-{serial + 1}", at=at + 1)


def test_instances_at_rest_that_keep_dying_after_they_served_are_replaced_ever_less_often() -> None:
    with script(size=1) as s:
        now = 0.0
        for serial in (1, 2, 3):  # the first one had served for long; two deaths may be chance
            die_at_rest(s, serial, now)
            now += 10
        for serial, pause in enumerate((1, 2, 4, 8, 16, TIMING.max_backoff, TIMING.max_backoff), start=4):
            dead, following = f"web-v1-{serial}", f"web-v1-{serial + 1}"
            s.event(InstanceGone(now, dead)).expect(
                Said("died", dead), Said(f"keep dying: {serial - 1} in a row"), WakeAt(now + pause), Remove(dead)
            )
            assert "keep failing" in degraded(s.machine.settings, s.machine.tier, 1, now)
            s.event(RouterConfirmed(now, dead, admitted=False))
            s.event(Tick(now + pause - 0.1))
            now += pause
            s.event(Tick(now)).expect(CreateInstance(following, "v1"))
            s.serve(following, at=now)
            now += 20


def test_an_instance_that_went_on_serving_ends_the_row_of_deaths() -> None:
    with script(size=1) as s:
        die_at_rest(s, 1, at=0)
        die_at_rest(s, 2, at=10)
        die_at_rest(s, 3, at=20)
        assert degraded(s.machine.settings, s.machine.tier, 1, 30) == ""
        die_at_rest(s, 4, at=22 + TIMING.settled)
        die_at_rest(s, 5, at=30 + TIMING.settled)
        die_at_rest(s, 6, at=40 + TIMING.settled)
        assert degraded(s.machine.settings, s.machine.tier, 1, 45 + TIMING.settled) == ""


def test_a_version_that_keeps_dying_after_its_rollout_is_degraded_and_names_the_way_back() -> None:
    with script(size=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=2).expect(*leaving(A))
        s.leave(A, at=5).expect(Finish("completed"))
        now = 10.0
        for serial in (2, 3):
            dead, following = f"web-v2-{serial}", f"web-v2-{serial + 1}"
            s.event(InstanceGone(now, dead)).expect(Said("died", dead), Remove(dead), CreateInstance(following, "v2"))
            s.event(RouterConfirmed(now, dead, admitted=False))
            s.serve(following, at=now)
            now += 5
        s.event(InstanceGone(now, "web-v2-4")).expect(
            Said("died", "web-v2-4"), Said("`changeover undo web` returns to v1"), WakeAt(now + 1), Remove("web-v2-4")
        )
        assert "`changeover undo web` returns to v1" in degraded(s.machine.settings, s.machine.tier, 0, now)
        s.event(ActionRequested(now, Action.UNDO)).expect(Said("requested by"), CreateInstance("web-v1-5", "v1"))


def test_a_tier_at_rest_with_too_few_instances_is_degraded() -> None:
    with script(size=2) as s:
        assert degraded(s.machine.settings, s.machine.tier, 1, 0) == "1 of 2 instances serve"
        assert degraded(s.machine.settings, s.machine.tier, 2, 0) == ""


@pytest.mark.parametrize(("in_flight", "cut"), [(BUSY, str(BUSY)), (IDLE, "")])
def test_what_an_instance_had_in_flight_when_it_died_while_it_drained_is_lost(in_flight: InFlight, cut: str) -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(InFlightSeen(6, A, in_flight))
        member = s.machine.fleet.members[A]
        s.event(InstanceGone(7, A)).expect(Said("died while draining", A), NEXT)
        assert (member.cut, member.died) == (cut, 7)
