"""Instances that serve and are not ready any more, all of them: none leaves before another one serves."""

from __future__ import annotations

from tests.unit.rollout.playbook import IDLE, A, B, C, Said, leaving, script

from changeover.rollout.commands import Admit, CreateInstance, Stop
from changeover.rollout.events import InFlightSeen, InstanceReady, InstanceUnready, RouterConfirmed, Started, Tick


def test_old_instances_that_are_not_ready_stay_while_no_instance_serves() -> None:
    with script(size=2, surge=1) as s:
        s.event(InstanceUnready(0, A)).expect(Said("not ready any more", A))
        s.event(InstanceUnready(0, B)).expect(Said("not ready any more", B))
        s.event(Started(1, "v2")).expect(CreateInstance(C, "v2"))
        assert s.phases() == {A: "creating", B: "creating", C: "creating"}
        s.event(InstanceReady(2, C))
        s.event(Tick(3)).expect(Admit(C))
        s.event(RouterConfirmed(3, C, admitted=True)).expect(*leaving(A), *leaving(B))


def test_without_room_for_a_new_instance_the_old_ones_leave_one_at_a_time() -> None:
    with script(size=2, surge=0, unavailable=1) as s:
        s.event(InstanceUnready(0, A)).expect(Said("not ready any more", A))
        s.event(InstanceUnready(0, B)).expect(Said("not ready any more", B))
        s.event(Started(1, "v2")).expect(*leaving(A))
        s.leave(A, at=2).expect(CreateInstance(C, "v2"))
        assert s.phases()[B] == "creating"
        s.serve(C, at=3).expect(*leaving(B))


def test_at_rest_an_instance_that_stays_unready_is_replaced_before_it_leaves() -> None:
    with script(size=1, surge=1, progress_deadline=60) as s:
        s.event(InstanceUnready(0, A)).expect(Said("not ready any more", A))
        s.event(Tick(60)).expect(
            Said("stays until another instance is ready", A),
            Said("was not ready after 60 s", A),
            CreateInstance("web-v1-2", "v1"),
        )
        s.serve("web-v1-2", at=65).expect(*leaving(A))


def test_an_instance_that_was_given_up_and_is_ready_again_serves_until_there_is_one_too_many() -> None:
    with script(size=1, surge=1, progress_deadline=60) as s:
        s.event(InstanceUnready(0, A)).expect(Said("not ready any more", A))
        s.event(Tick(60)).expect(Said("stays until", A), Said("was not ready", A), CreateInstance("web-v1-2", "v1"))
        s.serve(A, at=65)
        s.serve("web-v1-2", at=67).expect(*leaving(A))


def test_with_another_instance_that_serves_an_unready_one_leaves_at_its_deadline() -> None:
    with script(size=2, surge=1, progress_deadline=60) as s:
        s.event(InstanceUnready(0, A)).expect(Said("not ready any more", A))
        s.event(Tick(60)).expect(*leaving(A), Said("was not ready after 60 s", A))
        s.event(Tick(61)).expect(CreateInstance("web-v1-3", "v1"))


def test_an_old_instance_is_not_stopped_while_those_that_replaced_it_are_not_ready() -> None:
    with script(size=1, surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=1).expect(*leaving(A))
        s.event(RouterConfirmed(3, A, admitted=False))
        s.event(InstanceUnready(4, "web-v2-2")).expect(Said("not ready any more", "web-v2-2"))
        for at in (5, 6, 7):
            s.event(InFlightSeen(at, A, IDLE))
        assert s.phases()[A] == "draining"
        s.serve("web-v2-2", at=8)
        s.event(InFlightSeen(10, A, IDLE)).expect(Stop(A))


def test_a_drain_deadline_cuts_nothing_while_those_that_replaced_the_instance_are_not_ready() -> None:
    with script(size=1, surge=1, deadline=10, policy="cut") as s:
        s.event(Started(0, "v2")).expect(CreateInstance("web-v2-2", "v2"))
        s.serve("web-v2-2", at=1).expect(*leaving(A))
        s.event(RouterConfirmed(3, A, admitted=False))
        s.event(InstanceUnready(4, "web-v2-2")).expect(Said("not ready any more", "web-v2-2"))
        s.event(Tick(14))
        s.serve("web-v2-2", at=15)
        s.event(Tick(17)).expect(Said("cutting", A), Stop(A, kill=True))
