"""Which count of what is in flight holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.engine.witnesses import SETTLED, Witnesses
from changeover.model.connections import Connection, Connections
from changeover.model.instance import InFlight, Upload

IDLE_AFTER = 20.0
ASKED = Connection(quiet=300.0, answered=False)
"""A request came long ago and is not answered yet."""
ANSWERED = Connection(quiet=IDLE_AFTER - 1, answered=True)
LONG_ANSWERED = Connection(quiet=IDLE_AFTER, answered=True)
UNCLEAR = Connection(quiet=300.0, answered=None)


def kernel(*routers: Connection, **more: object) -> Connections:
    return replace(Connections(routers), **more)  # type: ignore[arg-type]


BEHIND_HAPROXY = Witnesses(InFlight(0, 0), kernel(), 0, checked_here=True, pools=False, idle_after=IDLE_AFTER)
BEHIND_KONG = replace(BEHIND_HAPROXY, sessions=None, pools=True)
BEHIND_ENVOY = replace(BEHIND_HAPROXY, sessions=None)
NGINX = replace(BEHIND_HAPROXY, checked_here=False)


def held(given: Witnesses) -> bool:
    return given.highest.busy


@pytest.mark.parametrize("given", [BEHIND_HAPROXY, BEHIND_KONG, BEHIND_ENVOY, NGINX])
def test_nothing_is_in_flight_when_all_say_so(given: Witnesses) -> None:
    assert not held(given)
    assert not given.differ


@pytest.mark.parametrize("given", [BEHIND_KONG, BEHIND_ENVOY, NGINX])
def test_a_request_of_another_worker_is_seen_by_the_kernel(given: Witnesses) -> None:
    seen = replace(given, kernel=kernel(ASKED))
    assert seen.highest == InFlight(0, 1)
    assert seen.differ
    assert str(seen).startswith("the instance 0 connections; the kernel 1")


def test_a_request_of_another_worker_is_seen_by_haproxy() -> None:
    seen = replace(BEHIND_HAPROXY, sessions=2)
    assert seen.highest == InFlight(0, 2)
    assert str(seen) == "the instance 0 connections; its routers 2"


def test_haproxys_health_checks_at_the_address_of_requests_do_not_count() -> None:
    assert not held(replace(BEHIND_HAPROXY, kernel=kernel(ASKED)))


@pytest.mark.parametrize("given", [BEHIND_KONG, BEHIND_ENVOY])
def test_a_connection_that_a_router_opened_after_it_removed_the_instance_is_a_health_check(given: Witnesses) -> None:
    removed = replace(given, removed_for=10.0)
    assert not held(replace(removed, kernel=kernel(replace(ASKED, age=8.9))))
    assert held(replace(removed, kernel=kernel(replace(ASKED, age=9.0))))


def test_what_the_instance_counts_holds_where_the_kernel_sees_nothing() -> None:
    """A client that disconnects does not end the work on its request."""
    uploads = (Upload(3, 9, 1.0),)
    assert replace(BEHIND_KONG, own=InFlight(1, 0, uploads)).highest == InFlight(1, 0, uploads)


@pytest.mark.parametrize("own", [None, InFlight(0, 0)])
def test_an_idle_connection_holds_where_its_client_may_send_the_next_request(own: InFlight | None) -> None:
    for given in (BEHIND_ENVOY, NGINX):
        assert held(replace(given, own=own, kernel=kernel(LONG_ANSWERED)))


@pytest.mark.parametrize("own", [None, InFlight(0, 4), InFlight(None, 4)])
@pytest.mark.parametrize(
    ("connection", "holds"), [(ASKED, True), (UNCLEAR, True), (ANSWERED, True), (LONG_ANSWERED, False)]
)
def test_of_a_removed_instance_a_pool_holds_only_what_may_be_a_request(
    own: InFlight | None, connection: Connection, holds: bool
) -> None:
    seen = replace(BEHIND_KONG, own=own, kernel=kernel(LONG_ANSWERED, connection))
    assert held(seen) is holds
    assert seen.highest.connections == int(holds)


@pytest.mark.parametrize(
    ("connection", "holds"),
    [
        (Connection(0.0, True), True),
        (Connection(0.01, True), False),
        (Connection(SETTLED / 2, None), True),
        (Connection(SETTLED, None), False),
    ],
)
def test_the_count_of_a_single_process_tells_an_idle_connection_at_once(connection: Connection, holds: bool) -> None:
    assert held(replace(BEHIND_KONG, own=InFlight(0, 1), kernel=kernel(connection, one_process=True))) is holds


def test_even_the_count_of_a_single_process_does_not_outweigh_a_request_without_an_answer() -> None:
    assert held(replace(BEHIND_KONG, kernel=kernel(ASKED, one_process=True)))


def test_a_pause_inside_a_response_holds_when_the_single_process_counts_it() -> None:
    """Server-sent events: the instance sent the last byte, and sends more."""
    events = kernel(Connection(300.0, True), one_process=True)
    assert held(replace(BEHIND_KONG, own=InFlight(1, 1), kernel=events))


@pytest.mark.parametrize("given", [BEHIND_HAPROXY, BEHIND_KONG, BEHIND_ENVOY, NGINX])
def test_connections_and_requests_of_others_hold_nothing(given: Witnesses) -> None:
    others = kernel(others={"curl (pid 7, user bob)": 2}, waiting=1)
    seen = replace(given, own=InFlight(1, 2, (Upload(1, 9, 1.0),)), kernel=others)
    assert seen.highest == InFlight(0, 0)
    assert not seen.differ


def test_a_request_of_a_router_is_counted_beside_those_of_others() -> None:
    seen = replace(BEHIND_KONG, own=InFlight(2, 2), kernel=kernel(ASKED, others={"curl": 1}, waiting=1))
    assert seen.highest == InFlight(1, 1)


def test_without_the_kernel_the_connections_that_the_instance_counts_hold() -> None:
    for given in (BEHIND_HAPROXY, BEHIND_KONG):
        assert replace(given, own=InFlight(0, 3), kernel=None).highest == InFlight(0, 3)


def test_an_instance_that_does_not_count_is_drained_by_the_others() -> None:
    assert replace(BEHIND_HAPROXY, own=None, sessions=1).highest == InFlight(None, 1)
    assert not held(replace(BEHIND_KONG, own=None))


def test_without_any_witness_nothing_is_known() -> None:
    assert not Witnesses(None, None, None, checked_here=True, pools=False, idle_after=IDLE_AFTER).known
    assert replace(BEHIND_HAPROXY, own=None, kernel=None).known
    assert replace(BEHIND_KONG, own=None).known
