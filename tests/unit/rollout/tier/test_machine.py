"""What a tier does, told as stories: events in, commands out. Times are seconds."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import pytest
from tests.unit.rollout.playbook import BUSY, IDLE, A, B, C, D, E, Expected, F, Said, Script, leaving, script

from changeover.model.instance import InFlight, Upload
from changeover.rollout.commands import (
    Admit,
    Command,
    CreateInstance,
    Finish,
    LameDuck,
    Note,
    Refuse,
    Remove,
    SetWeight,
    StepReached,
    Stop,
    WakeAt,
)
from changeover.rollout.events import (
    ActionRequested,
    Event,
    GuardJudged,
    InFlightSeen,
    InstanceGone,
    InstanceReady,
    InstanceUnready,
    RouterConfirmed,
    Started,
    StepAllowed,
    StopSent,
    Tick,
    Unconfirmed,
    WeightSeen,
)
from changeover.rollout.tier.actions import ANSWERS, Action, TierStatus
from changeover.rollout.tier.settings import CanaryStep, RolloutTiming

TIMING = RolloutTiming()
UPLOAD = InFlight(requests=1, connections=1, uploads=(Upload(12_700_000, 25_000_000, 60.0),))


# -- one instance after the other ----------------------------------------------------------------------------------


def test_a_roll_replaces_one_instance_after_the_other_and_tells_when_it_is_done() -> None:
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


# -- readiness -----------------------------------------------------------------------------------------------------


def test_an_instance_that_is_not_ready_for_long_enough_begins_anew() -> None:
    with script(min_ready=5) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(1, C))
        s.event(InstanceUnready(5, C))
        s.event(InstanceReady(6, C))
        s.event(Tick(10))
        s.event(Tick(11)).expect(Admit(C))


def test_an_instance_that_is_unready_again_before_it_was_confirmed_must_show_readiness_anew() -> None:
    with script(min_ready=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(1, C))
        s.event(Tick(2)).expect(Admit(C))
        s.event(InstanceUnready(2.1, C))
        s.event(RouterConfirmed(2.2, C, admitted=True))  # what the router said a moment ago moves nothing
        s.event(InstanceReady(3, C))
        s.event(Tick(4)).expect(Admit(C))


def test_without_min_ready_an_instance_is_admitted_as_soon_as_it_is_ready() -> None:
    with script(size=1, min_ready=0, running=None) as s:
        s.event(Started(0, "v1")).expect(CreateInstance("web-v1-1", "v1"))
        s.event(InstanceReady(1, "web-v1-1")).expect(Admit("web-v1-1"))


# -- draining ------------------------------------------------------------------------------------------------------


def draining(s: Script) -> None:
    """A is out of every router, C serves in its place. It is 5 o'clock."""
    s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
    s.serve(C, at=2).expect(*leaving(A))
    s.event(RouterConfirmed(5, A, admitted=False))


def test_a_drain_ends_the_moment_nothing_is_left_long_before_its_deadline() -> None:
    with script(deadline=600) as s:
        draining(s)
        s.event(InFlightSeen(5.1, A, UPLOAD))
        s.event(InFlightSeen(30, A, IDLE))
        s.event(InFlightSeen(30.01, A, IDLE)).expect(Stop(A))


def test_one_empty_look_is_not_enough_to_stop_an_instance() -> None:
    with script() as s:
        draining(s)
        s.event(InFlightSeen(6, A, IDLE))
        s.event(InFlightSeen(7, A, BUSY))  # a late connection of a router's other thread
        s.event(InFlightSeen(8, A, IDLE))
        s.event(InFlightSeen(9, A, IDLE)).expect(Stop(A))


def test_empty_looks_before_the_removal_was_confirmed_do_not_count() -> None:
    with script() as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.serve(C, at=2).expect(*leaving(A))
        s.event(InFlightSeen(4, A, IDLE))
        s.event(InFlightSeen(4.1, A, IDLE))
        s.event(RouterConfirmed(4.2, A, admitted=False))
        s.event(InFlightSeen(4.3, A, IDLE))
        s.event(InFlightSeen(4.4, A, IDLE)).expect(Stop(A))


def test_an_idle_connection_keeps_an_instance_as_a_request_does() -> None:
    with script() as s:
        draining(s)
        for at in (6, 7, 8):
            s.event(InFlightSeen(at, A, InFlight(requests=0, connections=1)))
        assert s.phases()[A] == "draining"


def test_after_the_deadline_a_patient_drain_says_so_once_and_goes_on() -> None:
    with script(deadline=600, policy="wait") as s:
        draining(s)
        s.event(InFlightSeen(604, A, UPLOAD))
        s.event(Tick(605)).expect(
            Note(
                "drain deadline passed: still waiting for 1 upload with 12.3 MB to come, 1 connection",
                A,
                "warning",
            )
        )
        s.event(Tick(700))
        s.event(InFlightSeen(4000, A, UPLOAD))
        s.event(InFlightSeen(5000, A, IDLE))
        s.event(InFlightSeen(5001, A, IDLE)).expect(Stop(A))


def test_after_the_deadline_an_impatient_drain_cuts_and_says_what() -> None:
    with script(deadline=600, policy="cut") as s:
        draining(s)
        s.event(InFlightSeen(604, A, UPLOAD))
        s.event(Tick(604.9))
        s.event(Tick(605)).expect(
            Note("drain deadline passed: cutting 1 upload with 12.3 MB to come, 1 connection", A, "warning"),
            Stop(A, kill=True),
        )
        member = s.machine.fleet.members[A]
        assert member.cut == "1 upload with 12.3 MB to come, 1 connection"


def test_what_could_not_be_counted_is_cut_at_the_deadline_too_and_named_as_unknown() -> None:
    with script(deadline=600, policy="cut") as s:
        draining(s)
        s.event(Unconfirmed(8, A, "HAProxy", silent=True)).expect(Said("no confirmation from HAProxy", A))
        s.event(Tick(605)).expect(Said("cutting what could not be counted", A), Stop(A, kill=True))


def test_an_instance_that_ends_by_itself_while_it_drains_was_missed() -> None:
    with script() as s:
        draining(s)
        s.event(InFlightSeen(6, A, UPLOAD))
        s.event(InstanceGone(7, A, "segmentation fault")).expect(
            Note("died while draining: segmentation fault", A, "warning"), CreateInstance(D, "v2")
        )


def test_an_instance_that_does_not_end_after_its_stop_signal_is_killed() -> None:
    with script() as s:
        draining(s)
        s.event(InFlightSeen(6, A, IDLE))
        s.event(InFlightSeen(7, A, IDLE)).expect(Stop(A))
        s.event(StopSent(7, A))
        s.event(Tick(7 + TIMING.stop_grace - 0.1))
        s.event(Tick(7 + TIMING.stop_grace)).expect(Said("killed", A), Stop(A, kill=True))
        s.event(InstanceGone(18, A)).expect(CreateInstance(D, "v2"))


# -- what is not seen to have worked -------------------------------------------------------------------------------


def test_commands_without_visible_effect_are_given_again() -> None:
    with script(min_ready=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(1, C))
        s.event(Tick(2)).expect(Admit(C))
        s.event(Tick(3.9))
        s.event(Tick(4)).expect(Admit(C))
        s.event(RouterConfirmed(5, C, admitted=True)).expect(*leaving(A))
        s.event(Tick(7)).expect(*leaving(A))
        s.event(RouterConfirmed(8, A, admitted=False))
        s.event(Tick(10.5))  # now it is the instance that is waited for
        s.event(InFlightSeen(11, A, IDLE))
        s.event(InFlightSeen(12, A, IDLE)).expect(Stop(A))
        s.event(Tick(14)).expect(Stop(A))
        s.event(StopSent(14, A))
        s.event(Tick(16.5))


def test_an_instance_that_comes_back_is_told_so_until_it_is_ready() -> None:
    with script() as s:
        draining(s)
        s.event(ActionRequested(6, Action.ABORT, reason="changed my mind")).expect(
            Said("going back"), LameDuck(A, on=False)
        )
        s.event(Tick(7.9))
        s.event(Tick(8)).expect(LameDuck(A, on=False))
        s.event(InstanceReady(9, A))
        s.event(Tick(10)).expect(Admit(A))


def test_a_router_that_is_silent_delays_everything_and_undoes_nothing() -> None:
    with script(progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(1, C))
        s.event(Tick(2)).expect(Admit(C))
        for at in range(10, 300, 10):
            s.event(Unconfirmed(at, C, "HAProxy", silent=True)).expect(
                Note("ready: no confirmation from HAProxy; waiting", C, "warning")
            )
            s.event(Tick(at)).expect(Admit(C))
        s.event(RouterConfirmed(301, C, admitted=True)).expect(*leaving(A))


def test_a_silent_router_holds_back_a_removal_for_as_long_as_it_takes() -> None:
    with script(deadline=10, policy="cut") as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.serve(C, at=2).expect(*leaving(A))
        for at in range(10, 100, 10):
            s.event(Unconfirmed(at, A, "HAProxy", silent=True)).expect(Said("leaving: no confirmation", A))
            s.event(Tick(at)).expect(*leaving(A))
        s.event(RouterConfirmed(100, A, admitted=False))  # the deadline counts from here
        s.event(InFlightSeen(105, A, BUSY))
        s.event(Tick(109.9))
        s.event(Tick(110)).expect(Said("cutting", A), Stop(A, kill=True))


def test_a_router_that_says_no_does_not_delay_for_ever() -> None:
    with script(progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceReady(1, C))
        s.event(Tick(2)).expect(Admit(C))
        s.event(Unconfirmed(30, C, "HAProxy (check L7STS)", silent=False)).expect(Said("HAProxy (check L7STS)", C))
        s.event(Tick(59)).expect(Admit(C))
        s.event(Tick(60)).expect(
            *leaving(C),
            Note(
                "going back from v2 to v1: web-v2-3 was not healthy at its router after 60 s (progress_deadline)",
                level="warning",
            ),
        )


# -- undoing -------------------------------------------------------------------------------------------------------


def test_a_template_that_never_gets_ready_is_undone_and_nothing_that_served_was_touched() -> None:
    with script(progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(Tick(59.9))
        reason = f"{C} was not ready after 60 s (progress_deadline)"
        s.event(Tick(60)).expect(*leaving(C), Note(f"going back from v2 to v1: {reason}", level="warning"))
        s.drop(C, at=61).expect(Finish("undone", reason))
        assert s.phases() == {A: "admitted", B: "admitted"}


def test_old_instances_serve_again_before_new_ones_leave() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(InFlightSeen(6, A, BUSY))
        s.event(ActionRequested(7, Action.ABORT, reason="errors went up")).expect(
            Note("going back from v2 to v1: errors went up", level="warning"), LameDuck(A, on=False)
        )
        s.event(InFlightSeen(8, A, IDLE))
        s.event(InFlightSeen(8.1, A, IDLE))  # it is not draining any more
        s.serve(A, at=9).expect(*leaving(C))
        s.leave(C, at=11).expect(Finish("undone", "errors went up"))


def test_every_old_instance_that_can_come_back_serves_again_before_any_new_one_leaves() -> None:
    with script(size=2, surge=2) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"), CreateInstance(D, "v2"))
        s.event(InstanceReady(1, C))
        s.event(InstanceReady(1, D))
        s.event(Tick(2)).expect(Admit(C), Admit(D))
        s.event(RouterConfirmed(3, C, admitted=True)).expect(*leaving(A))
        s.event(RouterConfirmed(3, D, admitted=True)).expect(*leaving(B))
        s.event(ActionRequested(4, Action.ABORT, reason="errors went up")).expect(
            Said("going back"), LameDuck(A, on=False), LameDuck(B, on=False)
        )
        s.event(InstanceReady(4.5, A))
        s.event(InstanceReady(4.6, B))
        s.event(Tick(6)).expect(Admit(A), Admit(B))
        s.event(RouterConfirmed(6.1, A, admitted=True))  # enough would serve without C, but B is on its way
        s.event(RouterConfirmed(6.2, B, admitted=True)).expect(*leaving(C), *leaving(D))


def test_an_old_instance_leaves_for_one_that_serves_though_others_are_not_admitted_yet() -> None:
    with script(size=3, surge=2) as s:
        old, c, d = "web-v1-1", "web-v2-4", "web-v2-5"
        s.event(Started(0, "v2")).expect(CreateInstance(c, "v2"), CreateInstance(d, "v2"))
        s.event(InstanceReady(1, c))
        s.event(InstanceReady(1, d))
        s.event(Tick(2)).expect(Admit(c), Admit(d))
        s.event(RouterConfirmed(3, c, admitted=True)).expect(*leaving(old))  # whatever becomes of d


def test_a_new_instance_that_is_not_ready_for_a_while_holds_up_nobody() -> None:
    with script(size=3, surge=3) as s:
        first, second, c, d, e = "web-v1-1", "web-v1-2", "web-v2-4", "web-v2-5", "web-v2-6"
        s.event(Started(0, "v2")).expect(*(CreateInstance(name, "v2") for name in (c, d, e)))
        s.serve(c, at=1).expect(*leaving(first))
        s.event(RouterConfirmed(3, first, admitted=False))
        s.event(InstanceUnready(3, c)).expect(Said("is not ready any more", c))
        s.serve(d, at=4)  # it stands in for c
        s.serve(e, at=6).expect(*leaving(second))


def test_an_instance_that_was_told_to_stop_does_not_come_back() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(InFlightSeen(6, A, IDLE))
        s.event(InFlightSeen(7, A, IDLE)).expect(Stop(A))
        s.event(ActionRequested(8, Action.ABORT, reason="errors went up")).expect(Said("going back"))
        s.event(StopSent(8, A))
        s.event(InstanceGone(9, A)).expect(CreateInstance("web-v1-4", "v1"))
        s.serve("web-v1-4", at=10).expect(*leaving(C))
        s.leave(C, at=12).expect(Finish("undone", "errors went up"))


def test_three_instances_that_die_at_their_start_undo_the_roll() -> None:
    with script(surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        for dead, following in ((C, D), (D, E)):
            s.event(InstanceGone(1, dead, "bad flag")).expect(
                Note(f"{dead} did not start: bad flag", dead, "warning"), Remove(dead), CreateInstance(following, "v2")
            )
            s.event(RouterConfirmed(1, dead, admitted=False))
        s.event(InstanceGone(2, E, "bad flag")).expect(
            Said("did not start: bad flag", E), Said("going back from v2 to v1"), Remove(E)
        )
        s.event(RouterConfirmed(3, E, admitted=False)).expect(Finish("undone", f"{E} did not start: bad flag"))


def test_failures_before_an_instance_served_are_forgotten_once_one_does() -> None:
    with script(surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        for dead, following in ((C, D), (D, E)):
            s.event(InstanceGone(1, dead)).expect(
                Said("did not start", dead), Remove(dead), CreateInstance(following, "v2")
            )
            s.event(RouterConfirmed(1, dead, admitted=False))
        s.serve(E, at=2).expect(*leaving(A))
        s.leave(A, at=4).expect(CreateInstance(F, "v2"))
        s.event(InstanceGone(5, F)).expect(Said("did not start", F), Remove(F), CreateInstance("web-v2-7", "v2"))
        assert s.status == "rolling"


EIGHT = [f"web-v2-{n}" for n in range(9, 17)]
"""What a roll of a tier of eight creates beside it."""


def eight_at_once(s: Script) -> None:
    s.event(Started(0, "v2")).expect(*(CreateInstance(name, "v2") for name in EIGHT))


def fail(s: Script, name: str, following: str, at: float = 1) -> None:
    s.event(InstanceGone(at, name)).expect(Said("did not start", name), Remove(name), CreateInstance(following, "v2"))
    s.event(RouterConfirmed(at, name, admitted=False))


def test_of_many_that_are_started_at_once_half_must_fail_until_the_roll_is_undone() -> None:
    with script(size=8, surge=8) as s:
        eight_at_once(s)
        for name, following in zip(EIGHT, ("web-v2-17", "web-v2-18", "web-v2-19"), strict=False):
            fail(s, name, following)
        dead, *others = (name for name, phase in s.phases().items() if phase == "creating")
        s.event(InstanceGone(1, dead, "bad flag")).expect(
            Said("did not start: bad flag", dead),
            Said("going back from v2 to v1"),
            Remove(dead),
            *itertools.chain(*(leaving(name) for name in others)),
        )


def test_an_instance_that_gets_to_serve_makes_up_for_one_that_failed() -> None:
    with script(size=8, surge=8) as s:
        eight_at_once(s)
        following = (f"web-v2-{n}" for n in itertools.count(17))
        for name in EIGHT[:3]:
            fail(s, name, next(following))
        s.serve(EIGHT[3], at=2).expect(*leaving("web-v1-1"))
        s.serve(EIGHT[4], at=3).expect(*leaving("web-v1-2"))
        fail(s, EIGHT[5], next(following), at=4)  # the fourth
        assert s.status == "rolling"


def test_an_instance_that_hangs_at_its_start_while_another_got_to_serve_is_replaced() -> None:
    with script(size=2, surge=2, progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"), CreateInstance(D, "v2"))
        s.serve(C, at=2).expect(*leaving(A))
        s.leave(A, at=4)
        s.event(Tick(60)).expect(*leaving(D), Said("was not ready after 60 s", D), CreateInstance(E, "v2"))
        s.drop(D, at=61)
        s.event(Tick(120)).expect(  # by now nothing got to serve for as long
            *leaving(E),
            Said(f"going back from v2 to v1: {E} was not ready after 60 s"),
            CreateInstance("web-v1-6", "v1"),
        )
        s.drop(E, at=121)


def test_a_first_start_that_fails_has_nothing_to_go_back_to() -> None:
    with script(size=1, running=None) as s:
        names = [f"web-v1-{n}" for n in (1, 2, 3)]
        s.event(Started(0, "v1")).expect(CreateInstance(names[0], "v1"))
        for dead, following in itertools.pairwise(names):
            s.event(InstanceGone(1, dead)).expect(
                Said("did not start", dead), Remove(dead), CreateInstance(following, "v1")
            )
            s.event(RouterConfirmed(1, dead, admitted=False))
        s.event(InstanceGone(2, names[2], "bad flag")).expect(
            Said("did not start", names[2]), Finish("failed", f"{names[2]} did not start: bad flag"), Remove(names[2])
        )
        s.event(RouterConfirmed(3, names[2], admitted=False))
        s.event(Tick(100))


def test_a_goal_that_failed_can_be_asked_for_again() -> None:
    with script(size=1, running=None, progress_deadline=60) as s:
        first, second = "web-v1-1", "web-v1-2"
        s.event(Started(0, "v1")).expect(CreateInstance(first, "v1"))
        s.event(Tick(60)).expect(
            *leaving(first), Finish("failed", f"{first} was not ready after 60 s (progress_deadline)")
        )
        s.drop(first, at=61)
        s.event(Started(62, "v1")).expect(CreateInstance(second, "v1"))
        s.serve(second, at=63).expect(Finish("completed"))


def test_a_running_template_that_cannot_be_made_whole_fails_and_is_healed_on() -> None:
    with script(size=2) as s:
        dead = [f"web-v1-{n}" for n in (3, 4, 5)]
        s.event(InstanceGone(0, A)).expect(Said("died", A), Remove(A), CreateInstance(dead[0], "v1"))
        s.event(RouterConfirmed(0, A, admitted=False))
        s.event(Started(1, "v1"))
        for name, following in itertools.pairwise(dead):
            s.event(InstanceGone(2, name)).expect(
                Said("did not start", name), Remove(name), CreateInstance(following, "v1")
            )
            s.event(RouterConfirmed(2, name, admitted=False))
        s.event(InstanceGone(3, dead[2], "bad flag")).expect(
            Said("did not start", dead[2]), Finish("failed", f"{dead[2]} did not start: bad flag"), Remove(dead[2])
        )
        s.event(RouterConfirmed(3, dead[2], admitted=False))
        s.event(Tick(7)).expect(CreateInstance("web-v1-6", "v1"))
        s.serve("web-v1-6", at=8)
        assert s.phases() == {B: "admitted", "web-v1-6": "admitted"}


def test_going_back_by_hand_cannot_be_aborted_into_nothing() -> None:
    with script(size=2, surge=1) as s:
        draining(s)
        s.event(Started(6, "v1")).expect(LameDuck(A, on=False))
        s.event(ActionRequested(7, Action.ABORT, reason="which way now?")).expect(Finish("failed", "which way now?"))
        s.serve(A, at=7).expect(*leaving(C))
        s.leave(C, at=9)
        assert s.phases() == {A: "admitted", B: "admitted"}


def test_nobody_can_abort_a_tier_at_rest_nor_an_undoing() -> None:
    with script() as s:
        s.event(ActionRequested(0, Action.ABORT)).expect(Refuse(ANSWERS[TierStatus.RESTING, Action.ABORT].text))
        s.event(Started(1, "v2")).expect(CreateInstance(C, "v2"))
        s.event(ActionRequested(2, Action.ABORT, reason="errors went up")).expect(Said("going back"), *leaving(C))
        s.event(ActionRequested(3, Action.ABORT)).expect(Refuse(ANSWERS[TierStatus.UNDOING, Action.ABORT].text))
        s.drop(C, at=4).expect(Finish("undone", "errors went up"))


# -- another goal while one is not reached -------------------------------------------------------------------------


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


# -- in steps, and paused ------------------------------------------------------------------------------------------


HALF = (CanaryStep("share", 50), CanaryStep("pause"))


def test_an_old_instance_that_dies_beside_a_canary_is_replaced_by_one_of_its_own() -> None:
    with script(size=2, surge=1, strategy="canary", steps=HALF, weighed=True) as s:
        s.event(Started(0, "v2")).expect(
            StepReached("set weight 50 %", ""), CreateInstance(C, "v2"), SetWeight(A, 128), SetWeight(B, 128)
        )
        s.event(InstanceGone(1, A)).expect(Said("died while admitted", A), Remove(A), CreateInstance("web-v1-4", "v1"))


def test_a_canary_without_room_beside_the_old_instances_takes_the_place_of_some() -> None:
    with script(size=2, surge=0, unavailable=1, strategy="canary", steps=HALF, weighed=True) as s:
        s.event(Started(0, "v2")).expect(StepReached("set weight 50 %", ""), *leaving(A), SetWeight(B, 256))
        s.leave(A, at=1).expect(CreateInstance(C, "v2"))


def test_all_of_the_traffic_is_rolled_to_for_there_is_no_room_beside_all_old_instances() -> None:
    with script(
        size=2, surge=1, strategy="canary", steps=(CanaryStep("share", 100), CanaryStep("pause")), weighed=True
    ) as s:
        s.event(Started(0, "v2")).expect(StepReached("set weight 100 %", ""), CreateInstance(C, "v2"))
        s.serve(C, at=1).expect(*leaving(A))
        s.leave(A, at=3).expect(CreateInstance(D, "v2"))
        s.serve(D, at=4).expect(*leaving(B))
        s.leave(B, at=6).expect(Said("step 1 of 2 done"), StepReached("pause until promoted", "set weight 100 %"))


def test_a_fresh_baseline_comes_with_the_canary_and_takes_the_place_of_the_oldest() -> None:
    with script(
        size=2, surge=1, strategy="canary", steps=(CanaryStep("share", 50), CanaryStep("pause")), fresh=True
    ) as s:
        young = "web-v1-4"
        s.event(Started(0, "v2")).expect(StepReached("set weight 50 %", ""), CreateInstance(C, "v2"))
        s.serve(C, at=1).expect(*leaving(A))
        s.leave(A, at=3).expect(CreateInstance(young, "v1"))
        s.serve(young, at=4).expect(*leaving(B))
        s.leave(B, at=6).expect(Said("step 1 of 2 done"), StepReached("pause until promoted", "set weight 50 %"))
        assert s.phases() == {C: "admitted", young: "admitted"}
        s.event(ActionRequested(7, Action.PROMOTE)).expect(
            StepReached("", "pause until promoted"), Said("promote, requested by"), CreateInstance("web-v2-5", "v2")
        )


def test_a_fresh_baseline_beside_a_weighed_canary_that_took_all_the_room_waits_for_the_oldest_to_leave() -> None:
    with script(size=2, surge=1, strategy="canary", steps=HALF, weighed=True, fresh=True) as s:
        s.event(Started(0, "v2")).expect(
            StepReached("set weight 50 %", ""), CreateInstance(C, "v2"), SetWeight(A, 128), SetWeight(B, 128)
        )
        s.event(WeightSeen(0, A, 128))
        s.event(WeightSeen(0, B, 128))
        s.event(InstanceReady(1, C))
        s.event(Tick(2)).expect(Admit(C, 256))
        s.event(RouterConfirmed(2, C, admitted=True)).expect(*leaving(A), SetWeight(B, 256))
        s.event(WeightSeen(2, B, 256))
        s.leave(A, at=3).expect(CreateInstance("web-v1-4", "v1"), SetWeight(B, 128))


def switched(s: Script, name: str, *, at: float) -> Script:
    """The one instance of a new colour is ready, and so all of it: it is let in. What follows is to be expected."""
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


def test_a_time_to_wait_in_a_step_asks_to_be_woken_however_the_step_was_come_to() -> None:
    steps = (
        CanaryStep("pause", stay=30),
        CanaryStep("pause"),
        CanaryStep("pause", stay=40),
        CanaryStep("analyse", stay=50),
        CanaryStep("pause", stay=60),
    )
    says = tuple(map(str, steps))
    with script(strategy="canary", steps=steps) as s:
        s.event(Started(0, "v2")).expect(StepReached(says[0], ""), WakeAt(30))
        s.event(ActionRequested(10, Action.PAUSE)).expect(Said("paused"))
        s.event(ActionRequested(20, Action.RESUME)).expect(WakeAt(50), Said("resume, requested by an operator"))
        s.event(Tick(50)).expect(Said("step 1 of 5 done"), StepReached(says[1], says[0]))
        s.event(ActionRequested(60, Action.PROMOTE)).expect(
            StepReached(says[2], says[1]), WakeAt(100), Said("promote, requested by an operator")
        )
        s.event(Tick(100)).expect(Said("step 3 of 5 done"), StepReached(says[3], says[2]), WakeAt(150))
        s.event(GuardJudged(140, "passed", "numbers")).expect(
            Said("analysis passed"), StepReached(says[4], says[3]), WakeAt(200)
        )


def test_a_weight_that_was_not_seen_is_given_again() -> None:
    with script(size=2, strategy="canary", steps=HALF, weighed=True) as s:
        s.event(Started(0, "v2")).expect(
            StepReached("set weight 50 %", ""), CreateInstance(C, "v2"), SetWeight(A, 128), SetWeight(B, 128)
        )
        s.event(WeightSeen(0.5, A, 128))
        s.event(Tick(1.9))
        s.event(Tick(2)).expect(SetWeight(B, 128))
        s.event(WeightSeen(3, B, 128))
        s.event(Tick(5))
        s.event(WeightSeen(8, B, 100))  # the router was started again, and knows nothing
        s.event(Tick(9)).expect(SetWeight(B, 128))


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
    """The new colour is ready beside the old one, and nobody has let it in."""
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


def test_whoever_is_to_be_asked_is_asked_before_the_switch_and_may_object() -> None:
    with script(**COLOURS, ask_first=True) as s:
        complete(s)
        s.expect(StepReached("switch to v2", ""))
        s.event(StepAllowed(3, "smoke")).expect(Said("paused: smoke"))
        s.restart()
        s.event(Tick(9000))
        assert (s.machine.status, s.machine.held_back) == (TierStatus.PAUSED, [GREEN])
        s.event(ActionRequested(9001, Action.PROMOTE)).expect(Said("promote, requested by an operator"), Admit(GREEN))


def test_a_pause_while_somebody_is_asked_outlasts_the_answer() -> None:
    with script(**COLOURS, ask_first=True) as s:
        complete(s)
        s.expect(StepReached("switch to v2", ""))
        s.event(ActionRequested(3, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(StepAllowed(4))
        s.event(Tick(9000))
        s.event(ActionRequested(9001, Action.RESUME)).expect(Said("resume, requested by an operator"), Admit(GREEN))


def test_a_resume_is_not_the_answer_of_whoever_is_asked() -> None:
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


def test_after_the_last_step_it_is_said_that_it_was_taken() -> None:
    with script(size=1, strategy="canary", steps=(CanaryStep("pause", stay=30),)) as s:
        s.event(Started(0, "v2")).expect(StepReached("pause 30 s", ""))
        s.event(Tick(30)).expect(
            Said("step 1 of 1 done"), StepReached("", "pause 30 s"), CreateInstance("web-v2-2", "v2")
        )


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


def test_there_are_no_steps_to_the_template_that_runs_already() -> None:
    with script(strategy="canary", steps=HALF) as s:
        s.event(Started(0, "v1")).expect(Finish("completed"))


def test_what_is_turned_round_on_its_way_back_is_healed_and_paused_no_more() -> None:
    with script(size=1, surge=1) as s:
        a, b = "web-v1-1", "web-v2-2"
        s.event(Started(0, "v2")).expect(CreateInstance(b, "v2"))
        s.serve(b, at=1).expect(*leaving(a))
        s.event(Started(3, "v1")).expect(LameDuck(a, on=False))
        s.event(ActionRequested(4, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(GuardJudged(5, "failed", "numbers")).expect(Finish("failed", "guard: numbers"))
        s.serve(a, at=6).expect(*leaving(b))


def test_a_rollout_stays_paused_when_another_controller_takes_over() -> None:
    with script(size=2, surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(ActionRequested(1, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.restart()
        s.serve(C, at=2)  # it is let in, but nobody leaves for it
        s.event(ActionRequested(9, Action.RESUME)).expect(Said("resume, requested by an operator"), *leaving(A))


def test_what_dies_while_paused_is_replaced_from_the_old_template_and_ever_less_often() -> None:
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


# -- what dies -----------------------------------------------------------------------------------------------------


def test_a_dead_instance_of_a_tier_at_rest_is_replaced_and_nobody_is_told_of_a_rollout() -> None:
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


def test_what_served_and_died_is_healed_after_the_roll_where_it_may_be_missing() -> None:
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


def test_what_never_served_is_waited_for_though_it_may_be_missing() -> None:
    with script(size=2, surge=1, unavailable=1) as s:
        s.event(Started(0, "v2")).expect(*leaving(A), CreateInstance(C, "v2"))
        s.leave(A, at=1).expect(CreateInstance(D, "v2"))
        s.serve(C, at=2).expect(*leaving(B))
        s.leave(B, at=4)
        s.serve(D, at=5).expect(Finish("completed"))


def test_what_died_and_may_not_be_missing_is_replaced_before_the_roll_is_done() -> None:
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
"""A roll until its first old instance has been told to stop."""

NEXT = CreateInstance(D, "v2")


@pytest.mark.parametrize(
    ("name", "phase", "following"),
    [
        (C, "creating", (Said("did not start", C), Remove(C), NEXT)),
        (C, "warming", (Said("did not start", C), Remove(C), NEXT)),
        (C, "ready", (Said("did not start", C), Remove(C), NEXT)),
        (C, "admitted", (Said("died while admitted", C), Remove(C), NEXT)),
        (B, "admitted", (Said("died while admitted", B), Remove(B), NEXT)),
        (A, "leaving", (Said("died while leaving", A), Remove(A), NEXT)),
        (A, "draining", (Said("died while draining", A), NEXT)),
        (A, "drained", (Said("died while drained", A), NEXT)),
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


def test_an_instance_that_died_stays_listed_until_its_routers_have_let_go_of_it() -> None:
    with script() as s:
        s.event(InstanceGone(0, A)).expect(Said("died", A), Remove(A), CreateInstance("web-v1-3", "v1"))
        s.event(Tick(2)).expect(Remove(A))
        s.event(RouterConfirmed(3, A, admitted=False))
        assert A not in s.phases()


def test_a_tier_that_became_smaller_lets_its_oldest_instance_go() -> None:
    with script(size=3) as s:
        s.change_rules(size=2)
        s.event(Tick(0)).expect(*leaving(A))
        s.leave(A, at=1)
        assert s.phases() == {B: "admitted", "web-v1-3": "admitted"}


# -- the script itself ---------------------------------------------------------------------------------------------


def test_a_command_that_nobody_expected_is_shown_with_the_events_that_led_to_it() -> None:
    with pytest.raises(AssertionError) as told, script() as s:
        s.event(Started(0, "v2")).expect(Admit(C))
    assert "Started(at=0, goal='v2'" in str(told.value)
    assert "! Admit(name='web-v2-3', weight=100)  CreateInstance(name='web-v2-3', template='v2')" in str(told.value)


def test_a_story_that_leaves_a_command_unexpected_is_wrong() -> None:
    with pytest.raises(AssertionError, match="CreateInstance"), script() as s:
        s.event(Started(0, "v2"))
