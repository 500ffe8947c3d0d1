"""`drain --now` in each phase of an instance: what it ends, and why it is refused."""

from __future__ import annotations

import pytest
from tests.unit.rollout.playbook import BUSY, IDLE, A, C, Said, draining, leaving, script

from changeover.rollout.commands import Admit, CreateInstance, LameDuck, Refuse, StepReached, Stop
from changeover.rollout.events import (
    ActionRequested,
    DrainEndRequested,
    InFlightSeen,
    InstanceGone,
    InstanceReady,
    RouterConfirmed,
    Started,
    StopSent,
    Tick,
)
from changeover.rollout.members.drain_now import REFUSED, table
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Action


def refused(phase: Phase) -> Refuse:
    return Refuse(REFUSED[phase])


def test_what_is_in_flight_is_cut_and_named_before_the_deadline() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(InFlightSeen(6, A, BUSY))
        s.event(DrainEndRequested(7, A, "ann")).expect(
            Said(f"drain ended by ann: cutting {BUSY}", A), Stop(A, kill=True)
        )
        assert s.machine.fleet.members[A].cut == str(BUSY)
        s.event(DrainEndRequested(8, A)).expect(refused(Phase.DRAINED))
        s.event(StopSent(8, A))
        s.event(DrainEndRequested(8, A)).expect(refused(Phase.STOPPING))


def test_what_cannot_be_counted_is_cut_as_unknown() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(DrainEndRequested(7, A)).expect(Said("cutting unknown", A), Stop(A, kill=True))
        assert s.machine.fleet.members[A].cut == "unknown"


def test_an_instance_that_is_empty_is_stopped_and_nothing_was_cut() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(InFlightSeen(6, A, IDLE))
        s.event(DrainEndRequested(7, A)).expect(Said("nothing was in flight", A), Stop(A))
        assert s.machine.fleet.members[A].cut == ""


def test_a_drain_beyond_its_deadline_ends_too() -> None:
    with script(size=2, surge=1, deadline=10) as s:
        draining(s)
        s.event(InFlightSeen(6, A, BUSY))
        s.event(Tick(20)).expect(Said("still waiting", A))
        s.event(DrainEndRequested(21, A)).expect(Said("cutting", A), Stop(A, kill=True))


def test_it_works_while_the_rollout_is_paused_and_abort_works_before_and_after_it() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(InFlightSeen(6, A, BUSY))
        s.event(ActionRequested(7, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(DrainEndRequested(8, A)).expect(Said("cutting", A), Stop(A, kill=True))
        s.event(ActionRequested(9, Action.ABORT, reason="enough")).expect(Said("going back"))
        s.event(StopSent(9, A))
        s.event(InstanceGone(10, A)).expect(CreateInstance("web-v1-4", "v1"))
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(ActionRequested(7, Action.ABORT, reason="enough")).expect(Said("going back"), LameDuck(A, on=False))
        s.event(DrainEndRequested(8, A)).expect(refused(Phase.CREATING))


def test_an_instance_that_a_router_may_still_use_is_not_cut() -> None:
    with script(size=2, surge=1) as s:
        s.event(DrainEndRequested(0, A)).expect(refused(Phase.ADMITTED))
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(DrainEndRequested(1, C)).expect(refused(Phase.CREATING))
        s.serve(C, at=2).expect(*leaving(A))
        s.event(DrainEndRequested(4, A)).expect(refused(Phase.LEAVING))


def test_an_old_colour_is_kept_for_the_way_back() -> None:
    with script(size=1, strategy="blue-green", bake=60.0) as s:
        old, new = "web-v1-1", "web-v2-2"
        s.event(Started(0, "v2")).expect(CreateInstance(new, "v2"))
        s.event(InstanceReady(1, new))
        s.event(Tick(2)).expect(StepReached("switch to v2", ""), Admit(new))
        s.event(RouterConfirmed(2, new, admitted=True)).expect(*leaving(old))
        s.event(RouterConfirmed(3, old, admitted=False)).expect(Said("kept warm"), StepReached("", "switch to v2"))
        s.event(DrainEndRequested(4, old)).expect(
            Refuse("it is kept for the way back until the rollout has passed its bake")
        )


@pytest.mark.parametrize("phase", list(Phase))
def test_each_phase_has_a_row_on_the_page(phase: Phase) -> None:
    done = "yes" if phase is Phase.DRAINING else "no"
    assert f"| `{phase}` | {done} | " in table()
