"""When the Envoys of a gateway tier are taken to agree. What they answer was recorded from Envoy 1.40."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.answered import Answered
from tests.unit.hops.contexts import instance

from changeover.hops.envoy.router import EnvoyRouter
from changeover.model.instance import Instance
from changeover.ports import Membership, Unknown

NODES = (instance("gateway-v1-1", 21001, 22001), instance("gateway-v1-2", 21002, 22002))
A, B, C = (instance(f"runtime-v1-{n}", 23000 + n, 23000 + n) for n in (1, 2, 3))

HEALTHY = {"eds_health_status": "HEALTHY"}
FAILING = {"failed_active_health_check": True, "eds_health_status": "HEALTHY"}
"""Also what a member looks like before its first check."""

Answer = Callable[[], httpx.Response]


def clusters(weight: int = 100, **members: Mapping[str, Any]) -> Answer:
    """What a node answers that lists these members."""
    hosts = [
        {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 23001}},
            "stats": [{"name": "cx_connect_fail"}, {"value": "26", "name": "rq_total"}],
            "health_status": health,
            "weight": weight,
            "hostname": name.replace("_", "-"),
            "locality": {},
        }
        for name, health in members.items()
    ]
    status = {"name": "runtime", "observability_name": "runtime", **({"host_statuses": hosts} if hosts else {})}
    other = {"name": "other", "host_statuses": [{"hostname": "runtime-v1-1", "health_status": HEALTHY}]}
    return lambda: httpx.Response(200, json={"cluster_statuses": [other, status]})


def silent() -> httpx.Response:
    raise httpx.ConnectTimeout("")


class Gateway:
    """Two Envoys with an answer each, and the router that they are together."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "members" / "endpoints.json"
        self.answers: dict[int, Answer] = {22001: clusters(), 22002: clusters()}
        self.nodes: tuple[Instance, ...] = NODES

    def run(self, *steps: Callable[[EnvoyRouter], Any]) -> Any:
        """Each step in turn; what the last one came to."""

        async def all_of_them() -> Any:
            client = Answered(answer=lambda request: self.answers[request.url.port or 0]())
            router = EnvoyRouter(client, "runtime", str(self.file), lambda: self.nodes)
            for step in steps:
                found = await step(router)
            return found

        return asyncio.run(all_of_them())

    def membership(self, name: str = A.name) -> Membership:
        found: Membership = self.run(lambda router: router.membership(frozenset([name])))[name]
        return found

    def listed(self) -> list[str]:
        return [
            host["endpoint"]["hostname"]
            for group in json.loads(self.file.read_text())["resources"][0]["endpoints"]
            for host in group["lb_endpoints"]
        ]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    found = Gateway(tmp_path)
    found.run(EnvoyRouter.open)
    return found


def admit(one: Instance) -> Callable[[EnvoyRouter], Any]:
    return lambda router: router.admit(one, 100)


def remove(one: Instance) -> Callable[[EnvoyRouter], Any]:
    return lambda router: router.remove(one)


# -- the member list -----------------------------------------------------------------------------------------------


def test_a_member_list_is_made_empty_and_never_again(gateway: Gateway) -> None:
    assert gateway.listed() == []
    gateway.run(admit(A), EnvoyRouter.open)
    assert gateway.listed() == [A.name]


def test_admitting_and_removing_change_the_list_and_doing_it_twice_changes_nothing(gateway: Gateway) -> None:
    gateway.run(admit(B), admit(A), admit(A))
    assert gateway.listed() == [A.name, B.name]
    gateway.run(remove(A), remove(A))
    assert gateway.listed() == [B.name]


def test_what_is_forgotten_is_not_listed_any_more(gateway: Gateway) -> None:
    gateway.run(admit(A), lambda router: router.forget(A.name), lambda router: router.forget("nobody"))
    assert gateway.listed() == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", "{}", '{"resources": []}', '{"resources": [{"endpoints": [{}]}]}', "\xff"]
)
def test_a_damaged_list_is_unknown_and_left_as_it_is(gateway: Gateway, text: str) -> None:
    gateway.file.write_bytes(text.encode("latin-1"))
    with pytest.raises(Unknown, match="is not an endpoint list"):
        gateway.membership()
    with pytest.raises(Unknown, match="is not an endpoint list"):
        gateway.run(admit(A))
    assert gateway.file.read_bytes() == text.encode("latin-1")


def test_a_list_that_is_lost_is_unknown_and_not_empty(gateway: Gateway) -> None:
    """Taken for empty, the next admission would take all others out."""
    gateway.run(admit(A))
    gateway.file.unlink()
    with pytest.raises(Unknown, match="could not be read"):
        gateway.run(admit(B))
    with pytest.raises(Unknown, match="could not be read"):
        gateway.membership()


def test_a_list_that_cannot_be_written_is_unknown(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Unknown, match=r"could not be written: .*No space left"):
        gateway.run(admit(A))
    assert gateway.listed() == []


def test_weights_stand_in_the_list_and_can_be_changed(gateway: Gateway) -> None:
    gateway.run(admit(A), admit(B), lambda router: router.weigh(A, 7), lambda router: router.weigh(C, 7))
    hosts = json.loads(gateway.file.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"]
    assert [(host["endpoint"]["hostname"], host["load_balancing_weight"]) for host in hosts] == [
        (A.name, 7),
        (B.name, 100),
    ]


def test_a_weight_is_known_once_all_nodes_have_the_same(gateway: Gateway) -> None:
    gateway.run(admit(A))
    gateway.answers = {22001: clusters(runtime_v1_1=HEALTHY), 22002: clusters(7, runtime_v1_1=HEALTHY)}
    given = gateway.membership()
    assert (given.admitted, given.weight) == (True, None)


# -- what counts as confirmed --------------------------------------------------------------------------------------


def test_an_instance_is_admitted_when_every_node_sends_to_it(gateway: Gateway) -> None:
    gateway.run(admit(A))
    gateway.answers = {22001: clusters(runtime_v1_1=HEALTHY), 22002: clusters(runtime_v1_1=HEALTHY)}
    assert gateway.membership() == Membership(admitted=True, removed=False, weight=100)


def test_it_is_removed_when_no_node_lists_it(gateway: Gateway) -> None:
    gateway.answers = {22001: clusters(runtime_v1_2=HEALTHY), 22002: clusters()}
    assert gateway.membership() == Membership(admitted=False, removed=True)


@pytest.mark.parametrize("behind", [clusters(), clusters(runtime_v1_1=FAILING), clusters(runtime_v1_2=HEALTHY)])
def test_one_node_that_does_not_send_to_it_yet_is_enough_to_wait(gateway: Gateway, behind: Answer) -> None:
    gateway.run(admit(A))
    gateway.answers = {22001: clusters(runtime_v1_1=HEALTHY), 22002: behind}
    assert gateway.membership() == Membership(False, False, pending="gateway-v1-2 (does not send it traffic yet)")


@pytest.mark.parametrize("health", [HEALTHY, FAILING])
def test_one_node_that_still_lists_it_is_enough_to_wait(gateway: Gateway, health: Mapping[str, Any]) -> None:
    """Also where its health check fails: it may pass again."""
    gateway.answers = {22001: clusters(runtime_v1_1=health), 22002: clusters()}
    assert gateway.membership() == Membership(False, False, pending="gateway-v1-1 (still lists it)")


@pytest.mark.parametrize("wanted", [True, False])
def test_a_node_that_does_not_answer_confirms_nothing(gateway: Gateway, wanted: bool) -> None:
    if wanted:
        gateway.run(admit(A))
    gateway.answers = {22001: clusters(runtime_v1_1=HEALTHY) if wanted else clusters(), 22002: silent}
    given = gateway.membership()
    assert (given.admitted, given.removed, given.silent) == (False, False, True)
    assert given.pending.startswith("gateway-v1-2 (GET http://127.0.0.1:22002/clusters?format=json: ConnectTimeout")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503, text="not now"),
        httpx.Response(200, text="runtime::127.0.0.1:23001::cx_active::0"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={}),
        httpx.Response(200, json={"cluster_statuses": [{}]}),
        httpx.Response(200, json={"cluster_statuses": [{"name": "runtime", "host_statuses": [{}]}]}),
        httpx.Response(200, json={"cluster_statuses": [{"name": "runtime", "host_statuses": ["a"]}]}),
    ],
    ids=lambda answer: answer.text[:60],
)
def test_an_answer_that_makes_no_sense_confirms_nothing(gateway: Gateway, answer: httpx.Response) -> None:
    gateway.answers[22002] = lambda: answer
    given = gateway.membership()
    assert (given.admitted, given.removed, given.silent) == (False, False, True)
    assert given.pending.startswith("gateway-v1-2 (")


@pytest.mark.parametrize("flag", ["failed_outlier_check", "pending_dynamic_removal", "pending_active_hc", "a_new_one"])
def test_any_flag_against_a_member_means_that_it_gets_no_traffic(gateway: Gateway, flag: str) -> None:
    gateway.run(admit(A))
    gateway.nodes = NODES[:1]
    gateway.answers[22001] = clusters(runtime_v1_1={**HEALTHY, flag: True})
    assert not gateway.membership().admitted


def test_without_a_gateway_in_front_the_list_alone_decides(gateway: Gateway) -> None:
    """While a chain starts, the tier behind is ready first; every Envoy begins with this list."""
    gateway.nodes = ()
    gateway.run(admit(A))
    assert gateway.membership(A.name).admitted
    assert gateway.membership(B.name).removed
