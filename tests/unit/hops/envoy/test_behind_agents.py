"""Envoys on other machines: the list goes to the agent of each, and only what each Envoy does with it counts."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from changeover.hops.envoy.behind_agents import EnvoyBehindAgents
from changeover.hops.envoy.member_list import members
from changeover.kit.direct_http import DirectClient
from changeover.model.instance import Address, Instance
from changeover.ports import Membership, Unknown

TIER = "runtime"


def instance(name: str, host: str = "10.0.0.1") -> Instance:
    return Instance(name, TIER, "v1", Address(host, 8080), Address(host, 9180))


NODES = (instance("gateway-1"), instance("gateway-2"))


class Agents:
    """Two agents; an Envoy that lags has not read its list yet."""

    def __init__(self) -> None:
        self.texts = dict.fromkeys((node.name for node in NODES), "")
        self.silent: set[str] = set()
        self.lags: set[str] = set()
        self.read = dict(self.texts)

    async def write_members(self, node: Instance, tier: str, text: str) -> None:
        assert tier == TIER
        if node.name in self.silent:
            raise Unknown(f"the agent of {node.name}: no answer")
        self.texts[node.name] = text
        if node.name not in self.lags:
            self.read[node.name] = text

    async def members(self, node: Instance, tier: str) -> tuple[str, dict[str, tuple[bool, int]]]:
        if node.name in self.silent:
            raise Unknown(f"the agent of {node.name}: no answer")
        text, read = self.texts[node.name], self.read[node.name]
        found = members(read) if read else {}
        return hashlib.sha256(text.encode()).hexdigest(), {name: (True, one.weight) for name, one in found.items()}


class Scene:
    def __init__(self, folder: Path) -> None:
        self.agents = Agents()
        file = str(folder / "members" / "endpoints.json")
        self.router = EnvoyBehindAgents(DirectClient(), self.agents, TIER, file, lambda: NODES)
        self.one = instance("runtime-v1-1", "10.0.1.1")
        asyncio.run(self.router.open())

    def seen(self) -> Membership:
        return asyncio.run(self.router.membership(frozenset([self.one.name])))[self.one.name]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_member_is_admitted_and_removed_when_every_envoy_has_the_list_and_follows_it(scene: Scene) -> None:
    asyncio.run(scene.router.admit(scene.one, 100))
    assert scene.seen() == Membership(admitted=True, removed=False, weight=100)
    asyncio.run(scene.router.remove(scene.one))
    assert scene.seen().removed


def test_an_envoy_that_still_follows_its_old_list_confirms_no_removal(scene: Scene) -> None:
    asyncio.run(scene.router.admit(scene.one, 100))
    scene.agents.lags.add("gateway-2")
    asyncio.run(scene.router.remove(scene.one))
    found = scene.seen()
    assert not found.removed
    assert "gateway-2 (still lists it)" in found.pending


def test_a_node_with_another_list_gets_it_and_confirms_nothing_until_then(scene: Scene) -> None:
    asyncio.run(scene.router.admit(scene.one, 100))
    scene.agents.texts["gateway-1"] = scene.agents.read["gateway-1"] = ""
    first = scene.seen()
    assert not first.admitted
    assert first.silent
    assert scene.seen().admitted


def test_a_list_that_is_opened_again_keeps_the_members_that_are_at_their_address(scene: Scene) -> None:
    two, three = instance("runtime-v1-2", "10.0.1.2"), instance("runtime-v1-3", "10.0.1.3")
    for one in (scene.one, two, three):
        asyncio.run(scene.router.admit(one, 100))
    asyncio.run(scene.router.open([scene.one, instance(two.name, "10.0.1.9")]))
    scene.seen()  # each node gets the list
    assert [set(members(text)) for text in scene.agents.texts.values()] == [{scene.one.name}] * len(NODES)


def test_an_agent_that_does_not_answer_confirms_nothing_and_the_others_have_the_list(scene: Scene) -> None:
    scene.agents.silent.add("gateway-1")
    with pytest.raises(Unknown, match="gateway-1"):
        asyncio.run(scene.router.admit(scene.one, 100))
    assert scene.one.name in members(scene.agents.texts["gateway-2"])
    assert scene.seen().silent
    scene.agents.silent.clear()
    scene.seen()
    assert scene.seen().admitted


def test_what_a_death_broke_is_unknown_since_the_bootstrap_is_not_the_controllers(scene: Scene) -> None:
    with pytest.raises(Unknown, match="behind an agent has a bootstrap of its own, whose retries hide"):
        asyncio.run(scene.router.broken(frozenset([scene.one.name])))
