"""What one look at a tier comes to. The hop, the router and the platform are fakes that answer as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from changeover.engine.observe import Observer
from changeover.engine.timing import EngineTiming
from changeover.model.connections import Connection, Connections
from changeover.model.health import Health
from changeover.model.instance import Address, InFlight, Instance
from changeover.ports import Hop, Membership, Platform, Router, Unknown
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase

UNCONFIRMED_AFTER = EngineTiming().unconfirmed_after
NAME = "web-v1-1"
IDLE = InFlight(0, 0)
NO = "GET http://127.0.0.1:1/ready answered 503, and not 200"
"""Why an instance is not ready."""

ADMITTED, REMOVED = Membership(True, False, sessions=0), Membership(False, True, sessions=0)


@dataclass
class Around:
    """Everything an observer may ask; an Unknown stands for no answer. `asked` is who was asked what."""

    ready: bool = True
    answers_after: float = 0.0
    """Seconds until it answers whether it is ready."""
    gone: str | None = None
    in_flight: InFlight | Unknown | None = IDLE
    said: Membership | Unknown = ADMITTED
    kernel: Connections | None = None
    now: float = 100.0
    asked: list[str] = field(default_factory=list)

    def look(self, *members: Member, observer: Observer | None = None, **facts: Any) -> list[on.Event]:
        observer = observer or self.observer(*members, **facts)
        return asyncio.run(observer.look(Fleet(members)))

    def instances(self, *members: Member) -> dict[str, Instance]:
        address = Address("127.0.0.1", 1)
        return {m.name: Instance(m.name, "web", m.template, address, address) for m in members}

    def observer(
        self, *members: Member, router: Router | None = None, platform: Platform | None = None, **facts: Any
    ) -> Observer:
        instances = self.instances(*members)
        hop, platform = cast(Hop, _Hop(self)), platform or cast(Platform, _Platform(self))
        router = router or cast(Router, _Router(self))
        return Observer(hop, router, platform, instances, lambda: self.now, **facts)


@dataclass
class _Hop:
    around: Around

    async def not_ready(self, instance: Instance, timeout: float) -> str:
        self.around.asked.append("ready?")
        self.around.now += min(self.around.answers_after, timeout)
        return "" if self.around.ready else NO

    async def in_flight(self, instance: Instance) -> InFlight | None:
        self.around.asked.append("in flight?")
        if isinstance(self.around.in_flight, Unknown):
            raise self.around.in_flight
        return self.around.in_flight


@dataclass
class _Router:
    around: Around

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        self.around.asked.append("member?")
        if isinstance(self.around.said, Unknown):
            raise self.around.said
        return dict.fromkeys(names, self.around.said)


@dataclass
class _Platform:
    around: Around

    async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
        gone = self.around.gone
        return {} if gone is None else {instance.name: gone for instance in instances}

    async def connections(self, instance: Instance) -> Connections | None:
        return self.around.kernel


class _Logging(_Platform):
    def with_log(self, instance: Instance, what: str) -> str:
        return f"{what}; log at {self.around.now:g}"


def member(phase: Phase, name: str = NAME, since: float = 100.0) -> Member:
    return Member(name, "v1", int(name[-1]), phase, {phase: since})


# -- who is asked what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phase", "asked"),
    [
        (Phase.CREATING, ["ready?", "in flight?"]),
        (Phase.WARMING, ["ready?", "in flight?"]),
        (Phase.READY, ["ready?", "member?"]),
        (Phase.ADMITTED, ["ready?"]),
        (Phase.LEAVING, ["in flight?", "member?"]),
        (Phase.DRAINING, ["in flight?", "member?"]),
        (Phase.DRAINED, []),
        (Phase.STOPPING, []),
        (Phase.FAILED, ["member?"]),
    ],
)
def test_only_what_could_have_changed_is_asked_for(phase: Phase, asked: list[str]) -> None:
    around = Around()
    around.look(member(phase))
    assert sorted(around.asked) == sorted(asked)


def test_an_instance_whose_launch_is_under_way_is_not_looked_at() -> None:
    around = Around()
    nobody_known = around.observer()
    assert around.look(member(Phase.CREATING), observer=nobody_known) == []
    assert around.asked == []


# -- what is seen --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.FAILED, Phase.GONE)])
def test_a_process_that_ended_is_seen_in_every_phase_with_what_it_left_behind(phase: Phase) -> None:
    events = Around(gone="bad flag").look(member(phase))
    ends = [replace(event, cost=None) for event in events if isinstance(event, on.InstanceGone)]
    assert ends == [on.InstanceGone(100, NAME, "bad flag")]
    assert not any(isinstance(event, on.InFlightSeen | on.InstanceReady | on.InstanceUnready) for event in events)


def test_a_platform_that_does_not_answer_is_named_where_an_instance_stops() -> None:
    class Silent(_Platform):
        async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
            raise Unknown("the list of the group: 403")

    around = Around(now=100 + UNCONFIRMED_AFTER)
    stops = member(Phase.STOPPING)
    seen = around.look(stops, platform=cast(Platform, Silent(around)))
    assert seen == [on.Unconfirmed(around.now, NAME, "the list of the group: 403", silent=True)]


def test_one_that_is_known_to_have_failed_is_not_missed_again() -> None:
    assert Around(gone="bad flag", said=REMOVED).look(member(Phase.FAILED)) == [
        on.RouterConfirmed(100, NAME, admitted=False)
    ]


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.WARMING])
def test_readiness_is_what_the_hop_says(phase: Phase) -> None:
    assert Around(ready=True).look(member(phase)) == [on.InstanceReady(100, NAME)]
    assert Around(ready=False).look(member(phase)) == [on.InstanceUnready(100, NAME, NO)]


def test_an_admission_is_confirmed_when_every_router_admits() -> None:
    assert Around(said=ADMITTED).look(member(Phase.READY)) == [
        on.InstanceReady(100, NAME),
        on.RouterConfirmed(100, NAME, admitted=True),
    ]


@pytest.mark.parametrize("said", [REMOVED, Membership(False, False, pending="HAProxy (check INI)")])
def test_an_admission_is_not_confirmed_by_anything_else(said: Membership) -> None:
    assert Around(said=said).look(member(Phase.READY)) == [on.InstanceReady(100, NAME)]


@pytest.mark.parametrize("phase", [Phase.LEAVING, Phase.FAILED])
def test_a_removal_is_confirmed_when_no_router_lists_it(phase: Phase) -> None:
    assert Around(said=REMOVED).look(member(phase))[-1] == on.RouterConfirmed(100, NAME, admitted=False)


@pytest.mark.parametrize("said", [ADMITTED, Membership(False, False, pending="gateway-v1-1 (still lists it)")])
@pytest.mark.parametrize("phase", [Phase.LEAVING, Phase.FAILED])
def test_a_removal_is_not_confirmed_by_anything_else(phase: Phase, said: Membership) -> None:
    assert not any(isinstance(event, on.RouterConfirmed) for event in Around(said=said).look(member(phase)))


def test_a_drain_sees_the_connections_that_routers_hold_as_well() -> None:
    """HAProxy may hold an answer that a slow client has yet to take, when the instance is done with it."""
    held = Membership(False, True, sessions=2)
    for own, seen in ((0, 2), (1, 2), (5, 5)):
        around = Around(in_flight=InFlight(0, own), said=held)
        assert around.look(member(Phase.DRAINING)) == [on.InFlightSeen(100, NAME, InFlight(0, seen))]


def test_the_connections_that_only_the_kernel_counts_hold_a_drain() -> None:
    """Of a server with several processes, one answers with its own count."""
    kernel = Connections((Connection(1.0, False), Connection(1.0, True)))
    around = Around(in_flight=InFlight(0, 0), said=Membership(False, True), kernel=kernel)
    assert around.look(member(Phase.DRAINING)) == [on.InFlightSeen(100, NAME, InFlight(0, 2))]


def test_a_connection_of_the_last_moment_holds_a_drain_although_a_rare_look_found_it_late() -> None:
    kernel = Connections((Connection(1.0, False, age=0.0),))
    for since, seen in ((95.0, 1), (85.0, 0)):  # the later one began after the removal: a health check
        around = Around(in_flight=None, said=Membership(False, True), kernel=kernel)
        rare = EngineTiming(busy_look=5.0, kernel_look=2.5)
        (event,) = around.look(member(Phase.DRAINING, since=since), timing=rare)
        assert event == on.InFlightSeen(100, NAME, InFlight(None, seen))


def test_an_idle_connection_of_a_pool_does_not_hold_a_drain() -> None:
    class Pooling(_Router):
        async def pool_idle(self) -> float:
            return 60.0

    around = Around(in_flight=None, said=Membership(False, True), kernel=Connections((Connection(5.0, True),)))
    for idle_after, seen in ((6.0, 1), (5.0, 0)):
        draining = member(Phase.DRAINING)
        observer = around.observer(draining, router=cast(Router, Pooling(around)), idle_after=idle_after)
        (event,) = around.look(draining, observer=observer)
        assert event == on.InFlightSeen(100, NAME, InFlight(None, seen))


def notes(around: Around, draining: Member, change: Callable[[int], None] = lambda second: None) -> dict[float, str]:
    """When a look had a note, and which, in ten seconds."""
    observer, found = around.observer(draining), {}
    for second in range(10):
        around.now = 100.0 + second
        change(second)
        for event in around.look(draining, observer=observer):
            if isinstance(event, on.InFlightSeen) and event.notes:
                (found[event.at],) = event.notes
    return found


def test_counts_that_differ_for_long_are_reported_once() -> None:
    around = Around(in_flight=InFlight(0, 0), said=Membership(False, True), kernel=Connections((Connection(1, False),)))
    counts = "the instance 0 connections; the kernel 1"
    text = f"counts of what is in flight differ, the highest holds: {counts}"
    assert notes(around, member(Phase.DRAINING)) == {100 + UNCONFIRMED_AFTER: text}


def test_counts_that_differ_at_every_other_look_are_reported() -> None:
    """Another process of the instance answers each time."""
    around = Around(said=Membership(False, True), kernel=Connections((Connection(1, False),)))

    def change(second: int) -> None:
        around.in_flight = InFlight(second % 2, 0)

    assert list(notes(around, member(Phase.DRAINING), change)) == [100 + UNCONFIRMED_AFTER + 1]


def test_counts_that_differ_now_and_then_for_a_moment_are_not_reported() -> None:
    around = Around(said=Membership(False, True))

    def change(second: int) -> None:
        around.kernel = Connections((Connection(1, False),) * (second % 5 == 0))

    assert notes(around, member(Phase.DRAINING), change) == {}


def test_connections_of_other_processes_are_named_once_and_hold_nothing() -> None:
    around = Around(said=REMOVED, kernel=Connections((), {"curl (pid 7, user bob)": 2}))
    text = "connections of processes that are no routers are not waited for: 2 of curl (pid 7, user bob)"
    assert notes(around, member(Phase.DRAINING)) == {100 + UNCONFIRMED_AFTER: text}
    assert around.look(member(Phase.DRAINING)) == [on.InFlightSeen(109, NAME, InFlight(0, 0))]


def test_an_instance_that_no_longer_answers_is_drained_by_the_other_counts_and_that_is_reported() -> None:
    around = Around(in_flight=Unknown("web-v1-1: timeout"), said=REMOVED, kernel=Connections(()))
    assert around.look(member(Phase.DRAINING)) == []
    text = "the instance does not count what is in flight, others do: web-v1-1: timeout; its routers 0"
    assert notes(around, member(Phase.DRAINING)) == {100 + UNCONFIRMED_AFTER: text}


def test_a_router_that_does_not_count_sessions_adds_none() -> None:
    around = Around(in_flight=InFlight(1, 1), said=Membership(False, True))
    assert around.look(member(Phase.DRAINING)) == [on.InFlightSeen(100, NAME, InFlight(1, 1))]


def test_several_instances_are_seen_in_one_look() -> None:
    two = [member(Phase.CREATING, "web-v1-1"), member(Phase.CREATING, "web-v1-2")]
    assert Around().look(*two) == [on.InstanceReady(100, "web-v1-1"), on.InstanceReady(100, "web-v1-2")]


def test_an_instance_whose_own_count_cannot_be_read_is_not_ready_and_says_why() -> None:
    """It would be discovered when it is to leave, by a drain that cannot end."""
    fault = 'GET http://127.0.0.1:1/inflight answered 404 "no"'
    around = Around(in_flight=Unknown(fault))
    for phase in (Phase.CREATING, Phase.WARMING):
        around.now = 100 + UNCONFIRMED_AFTER
        unready = on.InstanceUnready(around.now, NAME, fault)
        assert around.look(member(phase)) == [on.Unconfirmed(around.now, NAME, fault, silent=False), unready]


def test_the_own_count_of_a_starting_instance_is_read_once() -> None:
    around, starting = Around(in_flight=InFlight(0, 0)), member(Phase.WARMING)
    observer = around.observer(starting)
    for at in (100, 101, 102):
        around.now = at
        assert around.look(starting, observer=observer) == [on.InstanceReady(at, NAME)]
    assert around.asked.count("in flight?") == 1


# -- one that serves -----------------------------------------------------------------------------------------------


def test_one_that_serves_is_taken_for_lost_after_as_many_bad_answers_as_its_routers_allow() -> None:
    around, serving = Around(ready=False), member(Phase.ADMITTED)
    observer = around.observer(serving, health=Health(fall=2))
    assert around.look(serving, observer=observer) == []
    around.now += 1
    assert around.look(serving, observer=observer) == [on.InstanceUnready(101, NAME, NO)]


def test_an_answer_that_comes_too_late_is_the_reason() -> None:
    """Three seconds are no answer to a tier that waits for two, and one to a tier that waits for ten."""
    slow, starting = Around(ready=False, answers_after=3.0), member(Phase.CREATING)
    reason = f"it did not answer within 2 s, its health.timeout ({NO})"
    assert slow.look(starting) == [on.InstanceUnready(102, NAME, reason)]
    patient = Around(ready=True, answers_after=3.0)
    assert patient.look(starting, health=Health.model_validate({"timeout": "10s"})) == [on.InstanceReady(103, NAME)]


def test_why_it_is_not_ready_comes_with_the_end_of_its_log_which_is_read_once_a_second() -> None:
    around, starting = Around(ready=False), member(Phase.CREATING)
    observer = around.observer(starting, platform=cast(Platform, _Logging(around)))
    seen: list[on.Event] = []
    for _ in range(3):
        seen += around.look(starting, observer=observer)
        around.now += 0.5
    reasons = [event.reason for event in seen if isinstance(event, on.InstanceUnready)]
    assert reasons == [f"{NO}; log at 100", f"{NO}; log at 100", f"{NO}; log at 101"]


@pytest.mark.parametrize(
    ("phase", "interval", "questions"),
    [(Phase.CREATING, "500ms", 10), (Phase.WARMING, "5s", 10), (Phase.ADMITTED, "500ms", 2), (Phase.ADMITTED, "5s", 1)],
)
def test_the_log_of_an_instance_is_not_filled_with_questions(phase: Phase, interval: str, questions: int) -> None:
    """A hundred looks in a second ask one that starts ten times, and one that serves as often as its routers do."""
    around, asked = Around(), member(phase)
    observer = around.observer(asked, health=Health.model_validate({"interval": interval}))
    for look in range(100):
        around.now = 100 + look / 100
        around.look(asked, observer=observer)
    assert around.asked.count("ready?") == questions


def test_those_that_serve_are_not_all_asked_at_the_same_look() -> None:
    around = Around()
    serving = [member(Phase.ADMITTED, f"web-v1-{number}") for number in range(40)]
    observer = around.observer(*serving)
    most = 0
    for look in range(40):
        around.now = 100 + look / 40
        before = around.asked.count("ready?")
        around.look(*serving, observer=observer)
        most = max(most, around.asked.count("ready?") - before)
    assert most == 3
    assert around.asked.count("ready?") == pytest.approx(80, abs=1)  # each of them twice a second


def test_one_that_serves_is_not_asked_at_every_look() -> None:
    around, serving = Around(ready=False), member(Phase.ADMITTED)
    observer = around.observer(serving, health=Health(fall=2))
    assert [around.look(serving, observer=observer) for _ in range(3)] == [[], [], []]


def test_a_good_answer_in_between_begins_the_count_anew() -> None:
    around, serving = Around(), member(Phase.ADMITTED)
    observer = around.observer(serving, health=Health(fall=2))
    for ready in (False, True, False):
        around.now += 1
        around.ready = ready
        assert around.look(serving, observer=observer) == []


def test_what_serves_is_counted_where_the_idlest_is_to_leave_first() -> None:
    around = Around(in_flight=InFlight(3, 3))
    assert around.look(member(Phase.ADMITTED), by_load=True) == [on.InFlightSeen(100, NAME, InFlight(3, 3))]


def test_a_weight_is_asked_for_until_it_is_seen() -> None:
    around, serving = Around(said=Membership(True, False, weight=7)), member(Phase.ADMITTED)
    serving.weight = 7
    assert around.look(serving) == [on.WeightSeen(100, NAME, 7)]
    serving.weight_seen = 7
    assert around.look(serving) == []


# -- what is unknown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [Phase.READY, Phase.LEAVING, Phase.FAILED])
def test_a_router_that_does_not_answer_confirms_nothing(phase: Phase) -> None:
    events = Around(said=Unknown("HAProxy is gone")).look(member(phase))
    assert not any(isinstance(event, on.RouterConfirmed | on.InFlightSeen) for event in events)


def test_without_the_routers_word_an_instance_is_not_known_to_be_empty() -> None:
    assert Around(in_flight=InFlight(0, 0), said=Unknown("HAProxy is gone")).look(member(Phase.DRAINING)) == []


def test_what_nobody_can_count_is_not_empty() -> None:
    around = Around(in_flight=Unknown("timeout"), said=Membership(False, True), now=100 + UNCONFIRMED_AFTER)
    assert around.look(member(Phase.DRAINING)) == [
        on.Unconfirmed(100 + UNCONFIRMED_AFTER, NAME, "timeout", silent=True)
    ]
    around.in_flight = None
    (event,) = around.look(member(Phase.DRAINING))
    assert isinstance(event, on.Unconfirmed)


@pytest.mark.parametrize("said", [Unknown("HAProxy is gone"), Membership(False, False, pending="node 2", silent=True)])
def test_silence_is_told_after_a_while_and_then_only_now_and_then(said: Membership | Unknown) -> None:
    around, waiting = Around(said=said, ready=False), member(Phase.FAILED, since=100)
    observer = around.observer(waiting)
    who = "HAProxy is gone" if isinstance(said, Unknown) else "node 2"
    told = []
    for tenth in range(round(UNCONFIRMED_AFTER * 25)):
        around.now = 100 + tenth / 10
        told += around.look(waiting, observer=observer)
    assert told == [
        on.Unconfirmed(100 + UNCONFIRMED_AFTER, NAME, who, silent=True),
        on.Unconfirmed(100 + 2 * UNCONFIRMED_AFTER, NAME, who, silent=True),
    ]


def test_an_answer_that_is_not_the_one_waited_for_is_no_silence() -> None:
    around = Around(said=Membership(False, False, pending="HAProxy (check L7STS)"), now=100 + UNCONFIRMED_AFTER)
    assert around.look(member(Phase.READY))[-1] == on.Unconfirmed(
        100 + UNCONFIRMED_AFTER, NAME, "HAProxy (check L7STS)", silent=False
    )


def test_a_count_that_is_missing_is_told_with_its_reason() -> None:
    around = Around(in_flight=Unknown("web-v1-1: timeout"), said=REMOVED, now=100 + UNCONFIRMED_AFTER)
    assert around.look(member(Phase.DRAINING)) == [
        on.Unconfirmed(100 + UNCONFIRMED_AFTER, NAME, "web-v1-1: timeout", silent=True)
    ]


# -- what changes during a look ------------------------------------------------------------------------------------


def test_an_instance_that_moves_during_a_look_is_told_of_as_it_was_asked() -> None:
    """Whoever feeds the events drops what is no longer so; the look itself must not stumble."""
    moving = member(Phase.CREATING)

    class Aborts(_Router):
        async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
            moving.phase = Phase.LEAVING
            return await super().membership(names)

    other = member(Phase.READY, "web-v1-2")
    around = Around()
    observer = around.observer(moving, other)
    observer._router = cast(Router, Aborts(around))
    events = around.look(moving, other, observer=observer)
    assert [event for event in events if getattr(event, "name", "") == NAME] == [on.InstanceReady(100, NAME)]
