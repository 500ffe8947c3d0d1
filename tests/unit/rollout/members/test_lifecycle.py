"""What an instance of a rollout goes through: readiness, draining, and commands without visible effect."""

from __future__ import annotations

import pytest
from tests.unit.rollout.playbook import (
    BUSY,
    IDLE,
    UPLOAD,
    A,
    C,
    D,
    Said,
    draining,
    leaving,
    script,
)

from changeover.model.instance import InFlight
from changeover.rollout.commands import (
    Admit,
    CreateInstance,
    LameDuck,
    Note,
    Stop,
)
from changeover.rollout.events import (
    ActionRequested,
    Event,
    InFlightSeen,
    InstanceGone,
    InstanceReady,
    InstanceUnready,
    RouterConfirmed,
    Started,
    StopSent,
    Tick,
    Unconfirmed,
)
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Action
from changeover.rollout.tier.settings import RolloutTiming

TIMING = RolloutTiming()


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
        s.event(RouterConfirmed(2.2, C, admitted=True))  # a confirmation from a moment ago moves nothing
        s.event(InstanceReady(3, C))
        s.event(Tick(4)).expect(Admit(C))


@pytest.mark.parametrize(
    ("follows_health", "then", "phase"),
    [
        (True, [], Phase.WARMING),
        (True, [InstanceUnready(2, C)], Phase.CREATING),
        (True, [ActionRequested(2, Action.ABORT)], Phase.LEAVING),
        (True, [ActionRequested(2, Action.ABORT), RouterConfirmed(3, C, admitted=False)], Phase.DRAINING),
        (False, [Tick(6)], Phase.READY),
        (False, [Tick(6), InstanceUnready(7, C)], Phase.CREATING),
        (False, [Tick(6), ActionRequested(7, Action.ABORT)], Phase.LEAVING),
    ],
)
def test_an_instance_that_its_routers_could_send_requests_to_may_carry_some_whatever_came_after(
    follows_health: bool, then: list[Event], phase: Phase
) -> None:
    with script(min_ready=5, follows_health=follows_health) as s:
        for event in (Started(0, "v2"), InstanceReady(1, C), *then):
            s.machine.handle(event)
        member = s.machine.fleet.members[C]
        assert member.phase is phase
        assert member.may_carry
        s.machine.handle(InstanceGone(9, C))
        assert member.died == 9


@pytest.mark.parametrize("then", [[], [ActionRequested(2, Action.ABORT)]])
def test_an_instance_that_no_router_was_asked_to_use_carries_nothing(then: list[Event]) -> None:
    with script(min_ready=5) as s:
        for event in (Started(0, "v2"), InstanceReady(1, C), *then):
            s.machine.handle(event)
        assert not s.machine.fleet.members[C].may_carry


def test_without_min_ready_an_instance_is_admitted_as_soon_as_it_is_ready() -> None:
    with script(size=1, min_ready=0, running=None) as s:
        s.event(Started(0, "v1")).expect(CreateInstance("web-v1-1", "v1"))
        s.event(InstanceReady(1, "web-v1-1")).expect(Admit("web-v1-1"))


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


def test_an_adopted_instance_is_drained_although_it_was_never_seen_to_become_ready() -> None:
    with script() as s:
        for member in s.machine.fleet:
            member.times = {"created": -800.0, Phase.ADMITTED: -800.0}
        draining(s)
        s.event(InFlightSeen(6, A, UPLOAD))
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


def test_after_the_deadline_a_patient_drain_warns_once_and_goes_on() -> None:
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


def test_after_the_deadline_an_impatient_drain_cuts_and_names_what() -> None:
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


def test_requests_that_could_not_be_counted_are_cut_at_the_deadline_too_and_named_as_unknown() -> None:
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


def test_an_instance_that_does_not_end_within_the_drain_deadline_of_its_stop_signal_is_killed() -> None:
    with script(deadline=600) as s:
        draining(s)
        s.event(InFlightSeen(6, A, IDLE))
        s.event(InFlightSeen(7, A, IDLE)).expect(Stop(A))
        s.event(StopSent(7, A))
        s.event(Tick(606.9))
        s.event(Tick(607)).expect(Said("killed", A), Stop(A, kill=True))
        assert s.machine.fleet.members[A].killed
        s.event(InstanceGone(618, A)).expect(CreateInstance(D, "v2"))


def test_the_stop_grace_of_its_template_comes_before_the_drain_deadline() -> None:
    with script(deadline=600, stop_grace={"v1": 30.0}) as s:
        draining(s)
        s.event(InFlightSeen(6, A, IDLE))
        s.event(InFlightSeen(7, A, IDLE)).expect(Stop(A))
        s.event(StopSent(7, A))
        s.event(Tick(36.9))
        s.event(Tick(37)).expect(Said("killed", A), Stop(A, kill=True))


def test_what_an_operator_must_know_of_the_counts_is_noted_and_the_drain_goes_on() -> None:
    with script() as s:
        draining(s)
        s.event(InFlightSeen(6, A, UPLOAD, ("counts differ", "curl holds 2"))).expect(
            Said("counts differ", A), Said("curl holds 2", A)
        )


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


def test_an_instance_that_comes_back_gets_its_lame_duck_withdrawn_until_it_is_ready() -> None:
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


def test_a_router_that_refuses_an_instance_does_not_delay_for_ever() -> None:
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
