"""An HAProxy that an operator runs, as the router of a tier: a real one, with servers that are added and with slots."""

from __future__ import annotations

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.chain.chains import until
from tests.outside.haproxies import LOADS, SLOTS, Haproxy, haproxies, router, run, sees, until_seen
from tests.outside.servers import Behind, behind, tier

from changeover.engine.deaths import DeathCosts
from changeover.engine.timing import EngineTiming
from changeover.model.instance import Address, DeathCost
from changeover.ports import Restored, Unknown

ADDED: dict[str, Any] = {}
IN_SLOTS: dict[str, Any] = {"slots": "slot"}
OWN = "server theirs 127.0.0.1:9 weight 7 disabled"


@pytest.fixture
def servers() -> Iterator[list[Behind]]:
    with behind("web-v1-1", "web-v1-2", "web-v2-1") as found:
        yield found


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[Haproxy]]:
    with haproxies(tmp_path, 2, SLOTS, OWN) as found:
        yield found


def answers(node: Haproxy, times: int = 12) -> Counter[str]:
    found = Counter[str]()
    for _ in range(times):
        connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=40)
        connection.request("GET", "/")
        response = connection.getresponse()
        found[response.read().decode() if response.status == 200 else str(response.status)] += 1
        connection.close()
    return found


@pytest.mark.parametrize("how", [ADDED, IN_SLOTS], ids=["added", "slots"])
def test_a_member_comes_is_weighed_goes_and_leaves_no_other_server_changed(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path, how: dict[str, Any]
) -> None:
    it = router(nodes, tmp_path / "members.json", **how)
    before = [node.servers()["theirs"] for node in nodes]
    run(it.open())
    first, second, _ = (server.instance for server in servers)
    assert sees(it, first.name).removed
    for one in (first, second):
        run(it.admit(one, 100))
        assert until_seen(it, one.name, lambda seen: seen.admitted).weight == 100
    assert answers(nodes[0]) == answers(nodes[1]) == {first.name: 6, second.name: 6}
    run(it.weigh(first, 200))
    assert until_seen(it, first.name, lambda seen: seen.weight == 200).admitted
    assert answers(nodes[1], 12) == {first.name: 8, second.name: 4}
    assert run(it.traffic())[first.name] > 0
    run(it.remove(first))
    seen = sees(it, first.name)
    assert seen.removed
    assert seen.sessions == 0
    assert answers(nodes[0], 4) == answers(nodes[1], 4) == {second.name: 4}
    run(it.admit(first, 100))  # an undo
    until_seen(it, first.name, lambda seen: seen.admitted)
    for one in (first, second):
        run(it.remove(one))
        run(it.forget(one.name))
    assert [node.servers()["theirs"] for node in nodes] == before
    assert not [name for node in nodes for name in node.servers() if name.startswith("web-")]


@pytest.mark.parametrize("how", [ADDED, IN_SLOTS], ids=["added", "slots"])
def test_a_member_gets_no_request_before_its_check_has_passed_at_each_node(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path, how: dict[str, Any]
) -> None:
    it = router(nodes, tmp_path / "members.json", **how)
    run(it.open())
    servers[0].ready = False
    run(it.admit(servers[0].instance, 100))
    until(lambda: "L7STS" in sees(it, "web-v1-1").pending or None, "a check that fails")
    assert answers(nodes[0], 3) == {"503": 3}
    servers[0].ready = True
    until_seen(it, "web-v1-1", lambda seen: seen.admitted)
    run(it.remove(servers[0].instance))
    servers[0].ready = False
    run(it.admit(servers[0].instance, 100))  # its check passed before, which says nothing now
    assert not sees(it, "web-v1-1").admitted
    assert answers(nodes[0], 3) == {"503": 3}


def test_a_node_that_does_not_answer_confirms_nothing_and_has_the_members_again_when_it_is_back(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path
) -> None:
    it = router(nodes, tmp_path / "members.json")
    run(it.open())
    one, other = servers[0].instance, servers[1].instance
    run(it.admit(one, 100))
    until_seen(it, one.name, lambda seen: seen.admitted)
    assert run(it.restore()) == []
    assert not it.silent
    nodes[1].kill()
    with pytest.raises(Unknown, match=nodes[1].socket):
        run(it.admit(other, 100))
    until(lambda: answers(nodes[0], 4) == {one.name: 2, other.name: 2} or None, "the node that answers")
    seen = sees(it, other.name)
    assert (seen.admitted, seen.removed, seen.silent) == (False, False, True)
    assert nodes[1].socket in seen.pending
    assert run(it.restore()) == [], "a reload may close one question"
    (silence,) = run(it.restore())
    assert silence.text.startswith(f"{nodes[1].socket} does not answer")
    assert run(it.restore()) == [], "once"
    assert it.silent == [nodes[1].socket]
    assert not run(it.lost())
    nodes[1].start()
    assert run(it.lost())
    restarted, *members = run(it.restore())
    assert restarted == Restored(f"{nodes[1].socket} was restarted: every connection through it ended", broke=True)
    assert all(member.broke for member in members)
    texts = sorted(member.text for member in members)
    assert texts == [f"{nodes[1].socket} had lost {n}; it has it again" for n in (one.name, other.name)]
    assert not it.silent
    until_seen(it, other.name, lambda seen: seen.admitted)
    assert run(it.restore()) == []


@pytest.mark.parametrize("loads", [True, False], ids=["with a state file", "without"])
def test_a_reload_of_a_node_with_slots(tmp_path: Path, servers: list[Behind], loads: bool) -> None:
    with haproxies(tmp_path, 1, *(LOADS if loads else ()), SLOTS) as nodes:
        given: dict[str, Any] = {"state_files": [nodes[0].state_file]} if loads else {}
        it = router(nodes, tmp_path / "members.json", **IN_SLOTS, **given)
        run(it.open())
        for server in servers[:2]:
            run(it.admit(server.instance, 100))
            until_seen(it, server.instance.name, lambda seen: seen.admitted)
        run(it.remove(servers[0].instance))
        assert run(it.restore()) == []
        nodes[0].reload()
        assert answers(nodes[0], 4) == ({"web-v1-2": 4} if loads else {"503": 4}), "before anything is restored"
        reloaded, *members = run(it.restore())
        assert reloaded.text.endswith("was restarted or reloaded")
        assert not reloaded.broke
        assert [member.broke for member in members] == ([] if loads else [True])
        until_seen(it, "web-v1-2", lambda seen: seen.admitted)
        assert answers(nodes[0], 4) == {"web-v1-2": 4}
        assert sees(it, "web-v1-1").removed


def test_what_a_death_broke_is_unknown_at_a_node_that_was_reloaded_long_before_it(
    tmp_path: Path, servers: list[Behind]
) -> None:
    with haproxies(tmp_path, 1, *LOADS, SLOTS) as (node,):
        given: dict[str, Any] = {"slots": "slot", "state_files": [node.state_file]}
        it = router([node], tmp_path / "members.json", **given)
        run(it.open())
        old, new = servers[0].instance, servers[1].instance
        run(it.admit(old, 100))
        until_seen(it, old.name, lambda seen: seen.admitted)
        costs = DeathCosts(it, time.monotonic, EngineTiming(serving_look=0.0, settle_look=0.0))
        run(costs.look(frozenset([old.name])))
        assert run(costs.of(old.name)) == DeathCost(0)
        node.reload()
        run(it.remove(old))
        run(it.admit(old, 100))  # an undo
        run(it.admit(new, 100))
        until_seen(it, new.name, lambda seen: seen.admitted)
        later = router([node], tmp_path / "members.json", **given)  # of the next command
        for each in (it, later):
            costs = DeathCosts(each, time.monotonic, EngineTiming(serving_look=0.0, settle_look=0.0))
            for _ in range(4):
                run(costs.look(frozenset([old.name, new.name])))
            assert "was reloaded or restarted: its process before may have held more" in run(costs.of(old.name)).unknown
            assert run(costs.of(new.name)) == DeathCost(0), "no process before has ever had it"


def test_a_removed_member_that_an_old_state_file_brings_back_is_removed_again(
    tmp_path: Path, servers: list[Behind]
) -> None:
    with haproxies(tmp_path, 1, *LOADS, SLOTS) as nodes:
        it = router(nodes, tmp_path / "members.json", **IN_SLOTS)
        run(it.open())
        run(it.admit(servers[0].instance, 100))
        until_seen(it, "web-v1-1", lambda seen: seen.admitted)
        run(it.restore())
        Path(nodes[0].state_file).write_text(nodes[0].ask("show servers state web"), encoding="utf-8")
        run(it.remove(servers[0].instance))
        nodes[0].reload()
        assert answers(nodes[0], 2) == {"web-v1-1": 2}
        assert any("web-v1-1 in service again; it was removed again" in one.text for one in run(it.restore()))
        assert sees(it, "web-v1-1").removed


def test_what_another_operator_sets_to_maintenance_stays_so_and_is_reported_once(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path
) -> None:
    it = router(nodes, tmp_path / "members.json")
    run(it.open())
    run(it.admit(servers[0].instance, 100))
    run(it.restore())
    nodes[0].ask("set server web/web-v1-1 state maint")
    assert [one for one in run(it.restore()) if "by another hand" in one.text and not one.broke]
    assert run(it.restore()) == []
    assert not run(it.lost())
    assert nodes[0].servers()["web-v1-1"][1]


def test_the_next_run_deletes_what_one_that_was_killed_left(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path
) -> None:
    for how in (ADDED, IN_SLOTS):
        run(router(nodes, tmp_path / "members.json", **how).open())
        run(router(nodes, tmp_path / "members.json", **how).admit(servers[0].instance, 100))
        run(router(nodes, tmp_path / "members.json", **how).open())
        for node in nodes:
            at = f"127.0.0.1:{servers[0].instance.address.port}"
            assert not [name for name, (address, out, _) in node.servers().items() if address == at and not out]


@pytest.mark.parametrize("how", [ADDED, IN_SLOTS], ids=["added", "slots"])
def test_a_list_that_is_opened_again_keeps_its_members_in_service_and_those_alone(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path, how: dict[str, Any]
) -> None:
    it = router(nodes, tmp_path / "members.json", **how)
    run(it.open())
    stays, moves, leaves = (server.instance for server in servers)
    for one in (stays, moves, leaves):
        run(it.admit(one, 100))
        until_seen(it, one.name, lambda seen: seen.admitted)
    at = Address("127.0.0.1", servers[2].instance.address.port)
    anew = replace(moves, address=at, control=at)  # at the address of the one that left
    again = router(nodes, tmp_path / "members.json", **how)
    run(again.open([stays, anew]))
    assert [answers(node, 4) for node in nodes] == [{stays.name: 4}] * 2
    run(again.admit(anew, 100))
    until_seen(again, anew.name, lambda seen: seen.admitted)
    assert answers(nodes[0], 4) == {stays.name: 2, leaves.name: 2}, "the server at that address answers by its own name"
    assert sees(again, leaves.name).removed


@pytest.mark.parametrize("how", [ADDED, IN_SLOTS], ids=["added", "slots"])
def test_a_member_that_was_created_anew_under_its_name_is_admitted_at_its_new_address(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path, how: dict[str, Any]
) -> None:
    it = router(nodes, tmp_path / "members.json", **how)
    run(it.open())
    one, other = servers[0].instance, servers[1].instance
    run(it.admit(one, 100))
    until_seen(it, one.name, lambda seen: seen.admitted)
    anew = replace(one, address=other.address, control=other.control)
    run(it.admit(anew, 100))
    until_seen(it, one.name, lambda seen: seen.admitted)
    assert answers(nodes[0], 3) == answers(nodes[1], 3) == {other.name: 3}
    run(it.remove(one))  # and back, as a rollout does that begins after it
    until_seen(it, one.name, lambda seen: seen.removed)
    assert answers(nodes[0], 2) == {"503": 2}


def test_there_is_no_room_for_more_members_than_slots(
    nodes: list[Haproxy], servers: list[Behind], tmp_path: Path
) -> None:
    for node in nodes:
        node.kill()
        node.write(SLOTS.replace("1-4", "1-2"))
        node.start()
    it = router(nodes, tmp_path / "members.json", **IN_SLOTS)
    with pytest.raises(Unknown, match=r"has 2 slots, and web needs 3 \(size and max_surge\)"):
        run(it.open())
    it = router(nodes, tmp_path / "members.json", tier(size=1), **IN_SLOTS)
    run(it.open())
    for server in servers[:2]:
        run(it.admit(server.instance, 100))
    with pytest.raises(Unknown, match="none of its 2 slots is free"):
        run(it.admit(servers[2].instance, 100))


# -- a node that will not do ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "more", "given", "why"),
    [
        ((OWN,), {"level": "operator"}, {}, "allows 'operator': its `stats socket` needs `level admin`"),
        ((OWN,), {}, {"backend": "api"}, "it has no backend api"),
        ((OWN,), {}, IN_SLOTS, "has 0 slots, and web needs 3"),
        (("server web-v1-7 127.0.0.1:9 disabled",), {}, {}, r"a server web-v1-7 .* did not add it: .*state maint"),
        ((SLOTS.replace("check ", ""),), {}, IN_SLOTS, "slot slot1 has no `check`"),
        ((SLOTS.replace("disabled", ""),), {}, IN_SLOTS, "slot slot1 is in service with the address 127.0.0.1:1"),
        ((f"{SLOTS} agent-check agent-port 9",), {}, IN_SLOTS, "slot slot1 has an `agent-check`"),
        (("cookie OTHER insert",), {}, {"tier": tier({"cookie": "route"})}, "has cookie OTHER, and the affinity"),
        (("balance static-rr",), {}, {}, "Backend must use a dynamic load balancing"),
        ((SLOTS, "balance static-rr"), {}, IN_SLOTS, "static LB algorithm"),
        ((OWN,), {}, {"server": "maxcon 3"}, "maxcon"),
    ],
)
def test_up_refuses_what_no_roll_could_use(
    tmp_path: Path, backend: tuple[str, ...], more: dict[str, str], given: dict[str, Any], why: str
) -> None:
    with haproxies(tmp_path, 1, *backend, **more) as nodes, pytest.raises(Unknown, match=why):
        run(router(nodes, tmp_path / "members.json", **given).open())


def test_two_addresses_of_one_node_are_refused_since_the_second_confirms_nothing(
    nodes: list[Haproxy], tmp_path: Path
) -> None:
    link = tmp_path / "admin.sock"
    link.symlink_to(nodes[0].socket)
    it = router([nodes[0], Haproxy(tmp_path, 0)], tmp_path / "members.json")
    with pytest.raises(Unknown, match="it is the same HAProxy as"):
        run(it.open())


def test_of_a_node_that_is_down_the_chain_does_not_come_up(nodes: list[Haproxy], tmp_path: Path) -> None:
    nodes[1].kill()
    with pytest.raises(Unknown, match=f"{nodes[1].socket}: HAProxy did not answer"):
        run(router(nodes, tmp_path / "members.json").open())
