"""When the nodes of a Kong count as agreed, and what names one that differs."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.kong.kongs import AT_ONCE, Kong, double, instance, plain_document, run, steered
from tests.unit.engine.test_observe import Around, member

from changeover.engine.observe import Observer
from changeover.engine.timing import EngineTiming
from changeover.model.instance import Address, Instance
from changeover.ports import Membership, Unknown
from changeover.rollout import events as on
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase

A, B = instance(1, 21001), instance(2, 21002)
REMOVED = Membership(False, True)


@pytest.fixture(params=["database", "documents"])
def kong(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kong]:
    """Three nodes that learn of everything at once."""
    (tmp_path / "kong.json").write_text(json.dumps(plain_document(ready_path=None)))
    with double(tmp_path, 3, database=request.param == "database") as found:
        yield found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Kong]:
    with double(tmp_path, 3, database=True) as found:
        yield found


def admitted(weight: int) -> Membership:
    return Membership(True, False, weight=weight)


def weights(kong: Kong) -> list[dict[str, int]]:
    """What each node works with."""
    for served in kong.served:
        served.node.catch_up()
    return [served.node.weights[-1] for served in kong.served]


def until(sees: Callable[[], Membership], wanted: Membership) -> None:
    """A new upstream is not balanced at once."""
    deadline = time.monotonic() + 40
    while (seen := sees()) != wanted:
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)


def test_an_instance_is_admitted_weighed_removed_and_forgotten(kong: Kong) -> None:
    router = steered(kong)
    router.do(lambda it: it.open())
    router.do(lambda it: it.open())  # and again, after a controller that was killed before it recorded this
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), admitted(100))
    router.do(lambda it: it.weigh(A, 7))
    assert router.sees(A) == admitted(7)
    router.do(lambda it: it.admit(B, 100))
    router.do(lambda it: it.remove(A))
    assert router.sees(A) == REMOVED
    assert router.sees(B) == admitted(100)
    assert weights(kong) == [{"127.0.0.1:21001": 0, "127.0.0.1:21002": 100}] * 3
    router.do(lambda it: it.admit(A, 50))
    assert router.sees(A) == admitted(50)
    router.do(lambda it: it.remove(A))
    router.do(lambda it: it.forget(A.name))
    router.do(lambda it: it.forget(A.name))
    assert weights(kong) == [{"127.0.0.1:21002": 100}] * 3


def test_an_instance_that_is_not_a_member_is_not_weighed_and_is_removed_already(kong: Kong) -> None:
    router = steered(kong)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(B, 100))
    router.do(lambda it: it.weigh(A, 7))
    router.do(lambda it: it.remove(A))
    until(lambda: router.sees(A), REMOVED)
    assert weights(kong) == [{"127.0.0.1:21002": 100}] * 3


def test_an_address_that_is_used_anew_belongs_to_the_new_instance(kong: Kong) -> None:
    router, again = steered(kong), Instance("runtime-v2-9", "runtime", "v2", A.address, A.address)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    router.do(lambda it: it.remove(A))
    if not kong.database:  # a document names both; a database has one target for an address
        router.do(lambda it: it.forget(A.name))
    router.do(lambda it: it.admit(again, 100))
    until(lambda: router.sees(again), admitted(100))
    assert weights(kong) == [{"127.0.0.1:21001": 100}] * 3


def test_a_list_that_is_opened_again_keeps_the_members_that_are_there_and_no_node_is_without_them(kong: Kong) -> None:
    router, anew = steered(kong), replace(B, address=Address("127.0.0.1", 21009))
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    router.do(lambda it: it.admit(B, 100))
    until(lambda: router.sees(B), admitted(100))
    before = [len(served.node.weights) for served in kong.served]
    again = steered(kong)
    again.do(lambda it: it.open([A, anew]))
    again.do(lambda it: it.admit(anew, 100))
    until(lambda: again.sees(anew), admitted(100))
    assert weights(kong) == [{"127.0.0.1:21001": 100, "127.0.0.1:21009": 100}] * 3
    for served, known in zip(kong.served, before, strict=True):
        assert all("127.0.0.1:21001" in one for one in served.node.weights[known:])


def test_an_instance_that_was_created_anew_under_its_name_takes_its_old_target_with_it(kong: Kong) -> None:
    router, anew = steered(kong), replace(A, address=Address("127.0.0.1", 21009))
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    router.do(lambda it: it.admit(anew, 100))
    until(lambda: router.sees(anew), admitted(100))
    assert weights(kong) == [{"127.0.0.1:21009": 100}] * 3


def test_targets_of_other_software_are_left_alone(cluster: Kong) -> None:
    router = steered(cluster)
    router.do(lambda it: it.open())
    router.do(lambda it: cluster.api().set_target("runtime", "127.0.0.1:9", 5, ()))
    router.do(lambda it: it.admit(A, 100))
    router.do(lambda it: it.remove(A))
    router.do(lambda it: it.forget(A.name))
    assert weights(cluster) == [{"127.0.0.1:9": 5}] * 3


def test_the_same_request_twice_makes_no_node_build_its_balancer_anew(kong: Kong) -> None:
    router = steered(kong)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    before = [len(served.node.weights) for served in kong.served]
    router.do(lambda it: it.admit(A, 100))
    assert [len(served.node.weights) for served in kong.served] == before


def test_the_longest_idle_time_of_all_pools_is_reported(kong: Kong) -> None:
    for served, seconds in zip(kong.served, (5, 60, 7), strict=True):
        served.node.pool_idle = seconds
    assert steered(kong).do(lambda it: it.pool_idle()) == 60.0
    kong.served[1].token = "another"  # this token may not read the configuration: Kong's default counts
    kong.served[1].node.pool_idle = 3
    assert steered(kong).do(lambda it: it.pool_idle()) == 60.0
    kong.served[2].fault = "foreign"
    with pytest.raises(Unknown):
        steered(kong).do(lambda it: it.pool_idle())


# -- nodes that learn of it later ----------------------------------------------------------------------------------


def test_a_change_counts_when_every_node_works_with_it(tmp_path: Path) -> None:
    with double(tmp_path, 3, database=True) as kong:
        router = steered(kong)
        router.do(lambda it: it.open())
        router.do(lambda it: it.admit(A, 100))
        until(lambda: router.sees(A), admitted(100))
        database = kong.served[0].node.database
        assert database is not None
        database.delay = 1e9  # the others hear of nothing
        router.do(lambda it: it.remove(A))
        second, third = kong.admin[1], kong.admin[2]
        who = f"{second} (still sends it requests, with weight 100)"
        assert router.sees(A) == Membership(False, False, who)
        kong.served[1].node.due = 0.0
        assert router.sees(A).pending == f"{third} (still sends it requests, with weight 100)"
        kong.served[2].node.due = 0.0
        assert router.sees(A) == REMOVED


def test_what_was_deleted_by_hand_is_not_removed_while_a_node_sends_to_it(cluster: Kong) -> None:
    """The list of targets is the database's and has it no more; only the node itself knows what it does."""
    router = steered(cluster)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), admitted(100))
    database = cluster.served[0].node.database
    assert database is not None
    database.delay = 1e9
    router.do(lambda it: cluster.api().delete_target("runtime", str(A.address)))
    assert "still sends it requests" in router.sees(A).pending
    for served in cluster.served:
        served.node.due = 0.0
    assert router.sees(A) == REMOVED


def test_with_one_address_for_a_cluster_its_time_to_spread_is_waited_for(cluster: Kong) -> None:
    router = steered(cluster, admin=[cluster.admin[0]], propagation="10s")
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    spreading = "Kong (seen for 0 s of 10 s, for nodes that are not asked)"
    until(lambda: router.sees(A), Membership(False, False, spreading, agreed=True))
    router.now[0] += 9.5
    assert not router.sees(A).admitted
    router.now[0] += 0.5
    assert router.sees(A) == admitted(100)
    router.do(lambda it: it.remove(A))
    assert not router.sees(A).removed
    router.now[0] += 5.0
    router.do(lambda it: it.remove(A))  # asked for again, as nothing is seen of it: its time goes on
    router.now[0] += 5.0
    assert router.sees(A) == REMOVED


def test_by_default_one_address_propagates_for_ten_seconds_and_several_do_not(cluster: Kong) -> None:
    assert steered(cluster, propagation=None, admin=[cluster.admin[0]]).router._propagation() == 10.0
    assert steered(cluster, propagation=None).router._propagation() == 0.0


def test_an_instance_is_held_for_uploads_that_a_node_buffers(kong: Kong) -> None:
    router = steered(kong, request_buffering=True)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), admitted(100))
    router.do(lambda it: it.remove(A))
    assert router.sees(A).pending == "Kong (seen for 0 s of 90 s, for uploads that it buffers)"
    router.now[0] += 90.0
    assert router.sees(A) == REMOVED


def test_a_node_that_is_silent_for_a_moment_does_not_make_the_wait_begin_anew(kong: Kong) -> None:
    router = steered(kong, request_buffering=True)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), admitted(100))
    router.do(lambda it: it.remove(A))
    assert "seen for 0 s" in router.sees(A).pending
    router.now[0] += 60.0
    kong.served[1].fault = "500"
    assert router.sees(A).silent
    router.now[0] += 30.0
    assert not router.sees(A).removed
    kong.served[1].fault = ""
    assert router.sees(A) == REMOVED


def test_one_node_at_two_addresses_confirms_for_itself_alone(cluster: Kong) -> None:
    first = cluster.admin[0]
    router = steered(cluster, admin=[first, f"{first}/"])
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), Membership(False, False, f"{first} (the same node answers at another address too: each needs its own)", silent=True))  # fmt: skip  # noqa: E501


# -- health --------------------------------------------------------------------------------------------------------


def test_an_instance_that_a_node_finds_unhealthy_is_not_admitted(cluster: Kong) -> None:
    router = steered(cluster, ready_path="/readyz")  # no server listens there
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), Membership(False, False, f"{cluster.admin[0]} (finds it unhealthy)"))
    router.do(lambda it: it.remove(A))
    until(lambda: router.sees(A), REMOVED)


# -- what goes wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "given"),
    [
        ("down", "All connection attempts failed"),
        ("slow", "ReadTimeout"),
        ("500", "answered 500: An unexpected error occurred"),
        ("foreign", "is not what a Kong answers: JSONDecodeError"),
        ("other", "has not begun to balance runtime yet"),
    ],
)
def test_a_node_that_does_not_say_is_waited_for_by_name_until_it_is_back(kong: Kong, fault: str, given: str) -> None:
    router = steered(kong, timing=replace(AT_ONCE, answer=0.5))
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    until(lambda: router.sees(A), admitted(100))
    one, leaving = kong.served[1], member(Phase.LEAVING, A.name, since=1000.0)
    engine = Around(now=1001.0)
    assert kong.double is not None
    if fault == "down":
        kong.double.do(one.admin.close())
    one.fault = fault if fault != "down" else ""
    if kong.database:  # another node takes the change; without a database each node must get it itself
        router.do(lambda it: it.remove(A))
    else:
        with pytest.raises(Unknown, match=re.escape(kong.admin[1])):
            router.do(lambda it: it.remove(A))
    observer = engine.observer(leaving, router=router.router)
    assert confirmations(observer, leaving) == []
    engine.now += EngineTiming().unconfirmed_after
    (event,) = confirmations(observer, leaving)
    assert isinstance(event, on.Unconfirmed)
    assert event.silent
    assert event.source.startswith(f"{kong.admin[1]} (")
    assert given in event.source
    one.fault = ""
    if fault == "down":
        kong.double.do(one.admin.open())
    router.do(lambda it: it.remove(A))  # as the machine asks for what it does not see
    assert confirmations(observer, leaving) == [on.RouterConfirmed(engine.now, A.name, admitted=False)]


def confirmations(observer: Observer, *members: Member) -> list[on.Event]:
    """What the engine makes of one look, as far as the router is concerned."""
    events = run(observer.look(Fleet(members)))
    return [event for event in events if isinstance(event, on.Unconfirmed | on.RouterConfirmed)]


def test_when_no_node_answers_each_is_named(kong: Kong) -> None:
    router = steered(kong)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    for served in kong.served:
        served.fault = "500"
    for step in (lambda: router.sees(A), lambda: router.do(lambda it: it.remove(A))):
        try:
            seen = step()
        except Unknown as error:
            reported = str(error)
        else:
            assert isinstance(seen, Membership)
            assert not seen.removed
            reported = seen.pending
        assert kong.admin[0] in reported
    for served in kong.served:
        served.fault = ""
    router.do(lambda it: it.remove(A))
    until(lambda: router.sees(A), REMOVED)


def test_while_the_database_is_down_nothing_is_confirmed(cluster: Kong) -> None:
    router = steered(cluster)
    router.do(lambda it: it.open())
    router.do(lambda it: it.admit(A, 100))
    database = cluster.served[0].node.database
    assert database is not None
    database.reachable = False
    with pytest.raises(Unknown, match="answered 500: An unexpected error occurred"):
        router.do(lambda it: it.remove(A))
    with pytest.raises(Unknown, match="answered 500: An unexpected error occurred"):
        router.sees(A)


def test_what_an_earlier_chain_left_is_taken_out_before_another_begins(cluster: Kong) -> None:
    """Its processes are gone, and other software may listen at their addresses by now."""
    steered(cluster).do(lambda it: it.open())
    run(cluster.api().set_target("runtime", "127.0.0.1:9", 5, ("somebody's",)))
    steered(cluster).do(lambda it: it.admit(A, 100))
    steered(cluster).do(lambda it: it.open())
    assert weights(cluster) == [{"127.0.0.1:9": 5}] * 3


def test_a_busy_node_is_asked_again_soon_and_then_less_often(tmp_path: Path) -> None:
    """It asks for a pause of 10 s, and is free again much earlier."""
    (tmp_path / "kong.json").write_text(json.dumps(plain_document(ready_path=None)))
    with double(tmp_path, 2, database=False) as kong:
        router = steered(kong)
        router.do(lambda it: it.open())
        node = kong.served[1].node
        node.loading = 2
        with pytest.raises(Unknown, match="still loads its last document, and asks for a pause of 10 s"):
            router.do(lambda it: it.admit(A, 100))
        asked, begun = len(node.asked), time.monotonic()
        with pytest.raises(Unknown, match="still loads its last document"):
            router.do(lambda it: it.admit(A, 100))
        assert len(node.asked) == asked
        assert router.sees(A).pending.startswith(f"{kong.admin[1]} (")
        while not router.sees(A).admitted:
            with contextlib.suppress(Unknown):
                router.do(lambda it: it.admit(A, 100))
            assert time.monotonic() < begun + 5
        assert time.monotonic() >= begun + 0.25 + 0.5
        documents = [one for one in node.asked[asked:] if one.startswith("POST /config")]
        assert len(documents) == 2, "the pause after the second answer is longer"
        assert router.sees(A) == admitted(100)


def test_a_kong_without_a_database_needs_the_file_that_it_is_configured_from(tmp_path: Path) -> None:
    with double(tmp_path, 1, database=False) as kong:
        with pytest.raises(Unknown, match="has no database, so each change replaces its whole configuration"):
            steered(kong, document=None).do(lambda it: it.open())
        router = steered(kong)
        for step in (lambda it: it.open(), lambda it: it.admit(A, 100)):
            with pytest.raises(Unknown, match=r"kong.json cannot be used: .*No such file"):
                router.do(step)
        for text, why in (("[", "while parsing"), ("3", "no upstream runtime in it"), ("upstreams: []", "no upstream")):
            (tmp_path / "kong.json").write_text(text)
            with pytest.raises(Unknown, match=why):
                router.do(lambda it: it.admit(A, 100))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": {}}', '{"a": {"address": "x", "weight": 1}}'])
def test_a_damaged_list_is_unknown_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    (tmp_path / "kong.json").write_text(json.dumps(plain_document(ready_path=None)))
    with double(tmp_path, 1, database=False) as kong:
        router = steered(kong)
        router.do(lambda it: it.open())
        (tmp_path / "members.json").write_text(text)
        with pytest.raises(Unknown, match="is not a member list"):
            router.do(lambda it: it.admit(A, 100))
        assert (tmp_path / "members.json").read_text() == text
