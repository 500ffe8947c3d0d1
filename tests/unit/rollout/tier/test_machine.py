"""A rolling rollout from its first instance to its last: events in, commands out. Times are seconds."""

from __future__ import annotations

import pytest
from tests.unit.rollout.playbook import (
    BUSY,
    IDLE,
    A,
    B,
    C,
    D,
    E,
    Said,
    draining,
    leaving,
    script,
)

from changeover.rollout.commands import (
    Admit,
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
    InFlightSeen,
    InstanceGone,
    InstanceReady,
    InstanceUnready,
    RouterConfirmed,
    Started,
    StopSent,
    Tick,
)
from changeover.rollout.tier.actions import Action


def test_a_roll_replaces_one_instance_after_the_other_and_reports_when_it_is_done() -> None:
    with script(size=2, surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(2, C))
        s.event(Tick(2.9))
        s.event(Tick(3)).expect(Admit(C))
        s.event(RouterConfirmed(4, C, admitted=True)).expect(LameDuck(A, on=True), Remove(A))
        s.event(RouterConfirmed(5, A, admitted=False))
        s.event(InFlightSeen(6, A, BUSY))
        s.event(InFlightSeen(7, A, IDLE))
        s.event(InFlightSeen(8, A, IDLE)).expect(Stop(A))
        s.event(StopSent(8, A))
        s.event(InstanceGone(9, A)).expect(CreateInstance(D, "v2"))
        s.event(InstanceReady(10, D))
        s.event(Tick(11)).expect(Admit(D))
        s.event(RouterConfirmed(12, D, admitted=True)).expect(LameDuck(B, on=True), Remove(B))
        s.event(RouterConfirmed(13, B, admitted=False))
        s.event(InFlightSeen(14, B, IDLE))
        s.event(InFlightSeen(15, B, IDLE)).expect(Stop(B))
        s.event(StopSent(15, B))
        s.event(InstanceGone(16, B)).expect(Finish("completed"))
        assert s.phases() == {C: "admitted", D: "admitted"}


def test_without_surge_an_old_instance_leaves_before_a_new_one_comes() -> None:
    with script(size=2, surge=0, unavailable=1) as s:
        s.event(Started(0, "v2")).expect(*leaving(A))
        s.leave(A, at=1).expect(CreateInstance(C, "v2"))
        s.serve(C, at=2).expect(*leaving(B))
        s.leave(B, at=4).expect(CreateInstance(D, "v2"))
        s.serve(D, at=5).expect(Finish("completed"))


def test_with_a_surge_as_large_as_the_tier_all_new_instances_come_at_once() -> None:
    with script(size=2, surge=2) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"), CreateInstance(D, "v2"))
        s.event(InstanceReady(1, C))
        s.event(InstanceReady(1, D))
        s.event(Tick(2)).expect(Admit(C), Admit(D))
        s.event(RouterConfirmed(3, C, admitted=True)).expect(*leaving(A))
        s.event(RouterConfirmed(3, D, admitted=True)).expect(*leaving(B))
        s.leave(A, at=4)
        s.leave(B, at=5).expect(Finish("completed"))


def test_it_asks_to_be_woken_for_everything_that_time_alone_brings() -> None:
    with script(min_ready=1, deadline=600, progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"), WakeAt(60))
        s.event(InstanceReady(2, C)).expect(WakeAt(3))
        s.event(Tick(3)).expect(Admit(C))
        s.event(RouterConfirmed(4, C, admitted=True)).expect(*leaving(A))
        s.event(RouterConfirmed(5, A, admitted=False)).expect(WakeAt(605))


def test_the_first_start_of_a_tier_is_a_roll_from_nothing() -> None:
    with script(size=2, running=None) as s:
        first, second = "web-v1-1", "web-v1-2"
        s.event(Started(0, "v1")).expect(CreateInstance(first, "v1"), CreateInstance(second, "v1"))
        s.event(InstanceReady(1, first))
        s.event(InstanceReady(1, second))
        s.event(Tick(2)).expect(Admit(first), Admit(second))
        s.event(RouterConfirmed(3, first, admitted=True))
        s.event(RouterConfirmed(3, second, admitted=True)).expect(Finish("completed"))


def test_rolling_to_the_template_that_runs_is_done_at_once() -> None:
    with script() as s:
        s.event(Started(0, "v1")).expect(Finish("completed"))
        assert s.phases() == {A: "admitted", B: "admitted"}


def test_asking_again_for_the_same_goal_changes_nothing() -> None:
    with script() as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(Started(1, "v2"))
        assert s.machine.tier.previous == "v1"


def test_an_old_instance_leaves_for_one_that_serves_though_others_are_not_admitted_yet() -> None:
    with script(size=3, surge=2) as s:
        old, c, d = "web-v1-1", "web-v2-4", "web-v2-5"
        s.event(Started(0, "v2")).expect(CreateInstance(c, "v2"), CreateInstance(d, "v2"))
        s.event(InstanceReady(1, c))
        s.event(InstanceReady(1, d))
        s.event(Tick(2)).expect(Admit(c), Admit(d))
        s.event(RouterConfirmed(3, c, admitted=True)).expect(*leaving(old))  # whatever becomes of d


def test_a_new_instance_that_is_not_ready_for_a_while_holds_up_no_other() -> None:
    with script(size=3, surge=3) as s:
        first, second, c, d, e = "web-v1-1", "web-v1-2", "web-v2-4", "web-v2-5", "web-v2-6"
        s.event(Started(0, "v2")).expect(*(CreateInstance(name, "v2") for name in (c, d, e)))
        s.serve(c, at=1).expect(*leaving(first))
        s.event(RouterConfirmed(3, first, admitted=False))
        s.event(InstanceUnready(3, c)).expect(Said("is not ready any more", c))
        s.serve(d, at=4)  # it stands in for c
        s.serve(e, at=6).expect(*leaving(second))


def test_a_new_goal_in_the_middle_of_a_roll_keeps_the_way_back_to_what_was_whole() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(Started(6, "v3"))  # no room yet: A still drains
        s.leave(A, at=7).expect(CreateInstance("web-v3-4", "v3"))
        s.event(ActionRequested(8, Action.ABORT, reason="v3 is worse")).expect(
            Note("going back from v3 to v1: v3 is worse", level="warning"), *leaving("web-v3-4")
        )
        s.drop("web-v3-4", at=9).expect(CreateInstance("web-v1-5", "v1"))
        s.serve("web-v1-5", at=10).expect(*leaving(C))
        s.leave(C, at=12).expect(Finish("undone", "v3 is worse"))
        assert s.phases() == {B: "admitted", "web-v1-5": "admitted"}


def test_going_back_by_hand_takes_the_old_instances_in_again() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(Started(6, "v1")).expect(LameDuck(A, on=False))
        s.serve(A, at=7).expect(*leaving(C))
        s.leave(C, at=9).expect(Finish("completed"))


def test_an_instance_that_served_and_died_is_healed_after_the_roll_where_it_may_be_missing() -> None:
    with script(size=2, surge=1, unavailable=1) as s:
        s.event(Started(0, "v2")).expect(*leaving(A), CreateInstance(C, "v2"))
        s.leave(A, at=1).expect(CreateInstance(D, "v2"))
        s.serve(C, at=2).expect(*leaving(B))
        s.event(RouterConfirmed(3, B, admitted=False))
        s.serve(D, at=4)  # the tier is whole, but for the old instance that still drains
        s.event(InstanceGone(6, C)).expect(Said("died while admitted", C), Remove(C), CreateInstance(E, "v2"))
        s.leave(B, at=7).expect(Finish("completed"))
        s.event(RouterConfirmed(8, C, admitted=False))
        s.serve(E, at=9)
        assert s.phases() == {D: "admitted", E: "admitted"}


def test_an_instance_that_never_served_is_waited_for_though_it_may_be_missing() -> None:
    with script(size=2, surge=1, unavailable=1) as s:
        s.event(Started(0, "v2")).expect(*leaving(A), CreateInstance(C, "v2"))
        s.leave(A, at=1).expect(CreateInstance(D, "v2"))
        s.serve(C, at=2).expect(*leaving(B))
        s.leave(B, at=4)
        s.serve(D, at=5).expect(Finish("completed"))


def test_an_instance_that_died_and_may_not_be_missing_is_replaced_before_the_roll_is_done() -> None:
    with script(size=2, surge=2) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"), CreateInstance(D, "v2"))
        s.serve(C, at=1).expect(*leaving(A))
        s.leave(A, at=2)
        s.serve(D, at=3).expect(*leaving(B))
        s.event(RouterConfirmed(5, B, admitted=False))
        s.event(InstanceGone(6, C)).expect(Said("died while admitted", C), Remove(C), CreateInstance(E, "v2"))
        s.event(RouterConfirmed(6, C, admitted=False))
        s.leave(B, at=7)
        s.serve(E, at=8).expect(Finish("completed"))


def test_a_tier_that_became_smaller_lets_its_oldest_instance_go() -> None:
    with script(size=3) as s:
        s.change_rules(size=2)
        s.event(Tick(0)).expect(*leaving(A))
        s.leave(A, at=1)
        assert s.phases() == {B: "admitted", "web-v1-3": "admitted"}


def test_an_unexpected_command_is_shown_with_the_events_that_led_to_it() -> None:
    with pytest.raises(AssertionError) as told, script() as s:
        s.event(Started(0, "v2")).expect(Admit(C))
    assert "Started(at=0, goal='v2'" in str(told.value)
    assert "! Admit(name='web-v2-3', weight=100)  CreateInstance(name='web-v2-3', template='v2')" in str(told.value)


def test_a_story_that_leaves_a_command_unexpected_is_wrong() -> None:
    with pytest.raises(AssertionError, match="CreateInstance"), script() as s:
        s.event(Started(0, "v2"))
