"""A rollout that turns back, and one that has nothing to go back to: events in, commands out."""

from __future__ import annotations

import itertools

from tests.unit.rollout.playbook import (
    BUSY,
    IDLE,
    A,
    B,
    C,
    D,
    E,
    F,
    Said,
    Script,
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


def test_a_template_that_never_gets_ready_is_undone_and_nothing_that_served_was_touched() -> None:
    with script(progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(Tick(59.9))
        reason = f"{C} was not ready after 60 s (progress_deadline)"
        s.event(Tick(60)).expect(*leaving(C), Note(f"going back from v2 to v1: {reason}", level="warning"))
        s.drop(C, at=61).expect(Finish("undone", reason))
        assert s.phases() == {A: "admitted", B: "admitted"}


def test_an_answer_that_comes_too_late_is_named_as_the_reason() -> None:
    with script(progress_deadline=60) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(InstanceUnready(59, C, "it did not answer within 2 s, its health.timeout"))
        reason = f"{C} was not ready after 60 s (progress_deadline): it did not answer within 2 s, its health.timeout"
        s.event(Tick(60)).expect(*leaving(C), Note(f"going back from v2 to v1: {reason}", level="warning"))


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


def test_an_instance_that_got_its_stop_signal_does_not_come_back() -> None:
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
