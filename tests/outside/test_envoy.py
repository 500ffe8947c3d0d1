"""An Envoy that an operator runs, as the router of a tier: real ones, each with a file of endpoints that it watches."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.chain.chains import CLIENT, until
from tests.outside.envoys import Envoy, does, envoys
from tests.outside.servers import Behind, behind, tier

from changeover.hops.envoy.external import ExternalEnvoyRouter, cluster_faults
from changeover.model.instance import Instance
from changeover.ports import Membership, Restored, Unknown


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Behind]]:
    with behind("web-v1-1", "web-v1-2", "web-v2-1") as found:
        yield found


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Envoy]]:
    with envoys(tmp_path_factory.mktemp("envoys"), 2, tier()) as found:
        yield found


class Outside:
    """A router over these nodes, whose own list is in `file`."""

    def __init__(self, nodes: list[Envoy], file: Path, **given: Any) -> None:
        self.nodes, self.file, self.given = nodes, file, given

    def do(self, work: Callable[[ExternalEnvoyRouter], Awaitable[Any]]) -> Any:
        return asyncio.run(does(self.nodes, self.file, tier(), work, **self.given))

    def sees(self, name: str) -> Membership:
        found: Membership = self.do(lambda router: router.membership(frozenset([name])))[name]
        return found

    def admits(self, one: Instance, weight: int = 100) -> None:
        self.do(lambda router: router.admit(one, weight))
        until(
            lambda: ((seen := self.sees(one.name)).admitted and seen.weight == weight) or None, f"{one.name} at Envoy"
        )


@pytest.fixture
def outside(nodes: list[Envoy], tmp_path: Path) -> Iterator[Outside]:
    found = Outside(nodes, tmp_path / "members" / "endpoints.json")
    found.do(lambda router: router.open())
    yield found
    for node in nodes:
        if node.process is None:
            node.start()  # where a test failed while one was down: it alone fails
    found.do(lambda router: router.open())


def answers(node: Envoy, times: int = 12) -> Counter[str]:
    with httpx.Client(**CLIENT) as client:
        got = [client.get(f"http://127.0.0.1:{node.port}/") for _ in range(times)]
    return Counter(one.text if one.status_code == 200 else str(one.status_code) for one in got)


def test_a_list_that_is_opened_again_keeps_its_members_in_service_and_those_alone(
    outside: Outside, servers: list[Behind]
) -> None:
    first, second, _ = (server.instance for server in servers)
    outside.admits(first)
    outside.admits(second)
    outside.do(lambda router: router.open([first]))
    assert outside.sees(first.name).admitted
    until(lambda: outside.sees(second.name).removed or None, "Envoys without the other")
    assert [answers(node, 4) for node in outside.nodes] == [{first.name: 4}] * 2


def test_a_member_comes_is_weighed_counted_and_goes_at_every_node(outside: Outside, servers: list[Behind]) -> None:
    first, second, _ = (server.instance for server in servers)
    assert outside.sees(first.name).removed
    outside.admits(first)
    outside.admits(second)
    for node in outside.nodes:
        assert set(answers(node)) == {first.name, second.name}
    before = outside.do(lambda router: router.traffic())
    outside.do(lambda router: router.weigh(first, 1))
    until(lambda: outside.sees(first.name).weight == 1 or None, "the weight at both nodes")
    assert answers(outside.nodes[1], 30)[second.name] >= 28
    assert outside.do(lambda router: router.traffic())[second.name] >= before[second.name] + 28
    outside.do(lambda router: router.remove(first))
    until(lambda: outside.sees(first.name).removed or None, "the removal at both nodes")
    assert [set(answers(node)) for node in outside.nodes] == [{second.name}] * 2


def test_a_node_that_is_down_confirms_nothing_and_has_the_members_when_it_starts(
    outside: Outside, servers: list[Behind]
) -> None:
    first, second, _ = (server.instance for server in servers)
    outside.admits(first)
    node = outside.nodes[1]
    node.kill()
    outside.do(lambda router: router.admit(second, 100))
    until(lambda: outside.sees(second.name).silent or None, "the node that has read the list, and waits for the other")
    seen = outside.sees(second.name)
    assert (seen.admitted, seen.removed, seen.silent) == (False, False, True)
    assert node.admin in seen.pending
    node.start()
    until(lambda: outside.sees(second.name).admitted or None, "the node that is back")
    assert set(answers(node)) == {first.name, second.name}


def test_a_file_that_another_process_changed_is_written_again_and_one_with_other_endpoints_is_reported_once(
    outside: Outside, servers: list[Behind]
) -> None:
    outside.admits(servers[0].instance)
    file = outside.nodes[0].endpoints
    whole = file.read_text()
    file.unlink()
    assert outside.do(lambda router: router.restore()) == [
        Restored(f"{file} was changed by another process; it has the members again", broke=True)
    ]
    assert file.read_text() == whole
    theirs = json.loads(whole.replace("web-v1-1", "theirs"))
    file.write_text(json.dumps(theirs))

    async def twice(router: ExternalEnvoyRouter) -> list[Any]:
        return [await router.restore(), await router.restore()]

    first, second = outside.do(twice)
    assert "not of this chain, such as theirs" in first[0].text
    assert second == []
    assert json.loads(file.read_text()) == theirs
    file.write_text(whole)


def test_endpoints_of_others_a_link_and_a_folder_that_is_not_there_are_refused(
    outside: Outside, servers: list[Behind], tmp_path: Path
) -> None:
    outside.admits(servers[0].instance)
    others = Outside(outside.nodes, tmp_path / "another chain" / "endpoints.json")
    with pytest.raises(Unknown, match="has 1 endpoints that are not of this chain, such as web-v1-1"):
        others.do(lambda router: router.open())
    link = tmp_path / "link.json"
    link.symlink_to(outside.nodes[0].endpoints)
    for file, why in ((link, "symbolic link"), (tmp_path / "nowhere" / "x.json", "its folder is not there")):
        with pytest.raises(Unknown, match=why):
            Outside(outside.nodes, tmp_path / "other.json", endpoints=[str(file)]).do(lambda router: router.open())


def test_a_cluster_that_it_does_not_have_and_an_admin_interface_that_does_not_answer_are_refused(
    outside: Outside, tmp_path: Path
) -> None:
    for given, why in (
        ({"cluster": "api"}, "it has no cluster api"),
        ({"admin": ["127.0.0.1:1"]}, "127.0.0.1:1: GET http://127.0.0.1:1/config_dump"),
    ):
        with pytest.raises(Unknown, match=why):
            Outside(outside.nodes, tmp_path / "other.json", **given).do(lambda router: router.open())


# -- what no rollout could live with -------------------------------------------------------------------------------

FITS = {
    "name": "web",
    "eds_cluster_config": {"eds_config": {"path_config_source": {"path": "/x.json"}}},
    "health_checks": [{}],
    "ignore_health_on_host_removal": True,
    "common_lb_config": {"update_merge_window": "0s", "healthy_panic_threshold": {"value": 1.0}},
}


def faults(change: dict[str, Any], affinity: Any = "none", **more: Any) -> list[str]:
    dump = {"configs": [{"@type": "bootstrap"}, {"dynamic_active_clusters": [{"cluster": {**FITS, **change}}]}]}
    return list(cluster_faults(dump, "web", tier(affinity, **more)))


def test_a_cluster_as_render_writes_it_has_no_fault() -> None:
    assert faults({}) == []


@pytest.mark.parametrize(
    ("change", "tier_keys", "why"),
    [
        ({"eds_cluster_config": {}}, {}, "reads no file of endpoints"),
        ({"ignore_health_on_host_removal": False}, {}, "set `ignore_health_on_host_removal: true`"),
        ({"common_lb_config": {}}, {}, "set `update_merge_window: 0s`"),
        ({}, {"health": {"panic": "30%"}}, "healthy_panic_threshold` 1, and `health.panic` of web is 30%"),
        ({}, {"affinity": {"header": "X-User"}}, "affinity {header: X-User} needs MAGLEV or RING_HASH"),
        ({}, {"affinity": {"cookie": "route"}}, "none of its routes keeps sessions by a cookie route"),
    ],
)
def test_a_cluster_that_would_lose_requests_or_ignores_the_chain_file_is_refused(
    change: dict[str, Any], tier_keys: dict[str, Any], why: str
) -> None:
    found = faults(change, **tier_keys)
    assert len(found) == 1
    assert why in found[0]


def test_what_is_no_configuration_of_an_envoy_is_a_fault() -> None:
    assert "did not answer as it should" in next(cluster_faults({"configs": [{"static_clusters": 3}]}, "web", tier()))
