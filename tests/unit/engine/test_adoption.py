"""A chain that was there before: adopted again, and read again before a rollout, behind routers that keep a list."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.cli import exits
from changeover.cli.commands.roll import show_rolled
from changeover.cli.rendering.output import Output
from changeover.engine.adoption import adopt, read_again
from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import INTERRUPTION
from changeover.engine.release.outcome import last_released
from changeover.engine.release.release import carry_on, roll
from changeover.engine.runtime import ChainRuntime, Progress
from changeover.engine.timing import EngineTiming
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Address, Instance
from changeover.ports import Unknown
from changeover.rollout.members.phases import Phase

FAST = EngineTiming(busy_look=0.0, first_look=0.0, last_look=0.0, resting_look=0.0, request_look=0.0, serving_look=0.0)


class Group(FakePlatform):
    """A platform with VMs of its own, which another tool may create anew."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = True
        self.vms: dict[str, str] = {"app-1": "10.0.0.1", "app-2": "10.0.0.2"}
        self.settles: list[str | Unknown] = []
        """What its answers are to the next questions whether its own view agrees."""

    async def adopt(
        self, tiers: Collection[Tier], *, again: bool = False, read: Mapping[str, Any] | None = None
    ) -> Mapping[str, Collection[Instance]]:
        for name in [name for name in self._instances if name not in self.vms]:
            del self._instances[name]
        for name, host in self.vms.items():
            self._instances[name] = Instance(name, "app", "v1", Address(host, 80), Address(host, 81))
        return {tier.name: list(self._instances.values()) for tier in tiers}

    def size(self, tier: str) -> int | None:
        return len(self.vms)

    async def check(self, targets: Mapping[str, str]) -> None: ...

    async def settle(self, tier: Tier, template: str) -> str:
        found = self.settles.pop(0) if self.settles else ""
        if isinstance(found, Unknown):
            raise found
        return found

    async def release(self) -> None: ...


class ListRouter(FakeRouter):
    """Keeps an address for each member. `least`: the fewest members that it ever had since it was full."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, Address] = {}
        self.left: list[str] = []
        self.refuses = False

    async def open(self, keep: Collection[Instance] = ()) -> None:
        kept = {instance.name for instance in keep if self.at.get(instance.name) == instance.address}
        for name in list(self.members - kept):
            await self.forget(name)

    async def admit(self, instance: Instance, weight: int) -> None:
        if self.refuses:
            raise Unknown("the router does not answer")
        await super().admit(instance, weight)
        self.at[instance.name] = instance.address

    async def remove(self, instance: Instance) -> None:
        await self.forget(instance.name)

    async def forget(self, name: str) -> None:
        if name in self.members:
            self.left.append(name)
        await super().forget(name)
        self.at.pop(name, None)


class Scene:
    def __init__(self, journal: Journal) -> None:
        self.journal, self.group, self.router = journal, Group(), ListRouter()
        of = chain("app", size=2)
        self.wired: ChainRuntime = replace(runtime(of, self.group, {"app": self.router}), timing=FAST)
        asyncio.run(adopt(self.wired, journal))

    def phases(self) -> dict[str, Phase]:
        return {member.name: member.phase for member in self.journal.fleet("app")}


@pytest.fixture
def scene(held: Journal) -> Scene:
    return Scene(held)


def test_members_stay_in_service_while_a_chain_is_adopted_again(scene: Scene) -> None:
    assert scene.router.members == {"app-1", "app-2"}
    asyncio.run(adopt(scene.wired, scene.journal))
    assert scene.router.left == []
    scene.journal.clear_tiers(0.0)  # `down`, then `up`
    asyncio.run(adopt(scene.wired, scene.journal))
    assert scene.router.left == []
    assert scene.router.members == {"app-1", "app-2"}


def test_an_adoption_again_lists_new_members_and_forgets_those_that_left(scene: Scene) -> None:
    scene.group.vms = {"app-2": "10.0.0.9", "app-3": "10.0.0.3"}
    asyncio.run(adopt(scene.wired, scene.journal))
    assert scene.router.at == {"app-2": Address("10.0.0.9", 80), "app-3": Address("10.0.0.3", 80)}
    assert scene.phases() == {"app-2": Phase.ADMITTED, "app-3": Phase.ADMITTED}


def test_a_router_that_refuses_a_member_leaves_the_journal_as_it_was(scene: Scene) -> None:
    scene.router.refuses = True
    scene.group.vms = {"app-1": "10.0.0.1", "app-3": "10.0.0.3"}
    with pytest.raises(Unknown):
        asyncio.run(adopt(scene.wired, scene.journal))
    assert scene.phases() == {"app-1": Phase.ADMITTED, "app-2": Phase.ADMITTED}


def test_a_roll_admits_vms_that_were_created_anew_before_it_takes_an_old_one_out_of_service(scene: Scene) -> None:
    scene.group.vms = {"app-1": "10.0.0.1", "app-2": "10.0.0.9"}
    asyncio.run(read_again(scene.wired, scene.journal))
    assert scene.phases() == {"app-1": Phase.ADMITTED, "app-2": Phase.CREATING}
    steps: list[str] = []

    def note(progress: Progress) -> None:
        if progress.moved is not None and progress.moved.after in (Phase.ADMITTED, Phase.LEAVING):
            steps.append(f"{progress.instance} {progress.moved.after}")

    released = asyncio.run(roll(scene.wired, scene.journal, {"app": "v2"}, note))
    assert released.outcome == "completed"
    assert released.broke == ()
    assert "app-1 leaving" in steps
    assert any(step.endswith("admitted") for step in steps[: steps.index("app-1 leaving")])
    assert set(scene.router.at) == set(scene.phases())


def test_a_roll_has_routers_forget_vms_that_left_and_counts_none_of_them_as_a_death(scene: Scene) -> None:
    scene.group.vms = {"app-1": "10.0.0.1", "app-3": "10.0.0.3"}
    asyncio.run(read_again(scene.wired, scene.journal))
    asyncio.run(read_again(scene.wired, scene.journal))  # the command in between came to nothing
    assert scene.phases() == {"app-1": Phase.ADMITTED, "app-2": Phase.FAILED, "app-3": Phase.CREATING}

    async def tended() -> None:
        controller = Controller(scene.wired, scene.journal, lambda _: None)
        async with asyncio.timeout(40), controller.tending():
            await controller.settle()

    row = scene.journal.begin_rollout(scene.journal.latest(), "app", "v1", "v1")
    asyncio.run(tended())
    assert set(scene.router.at) == {"app-1", "app-3"}
    assert scene.phases() == {"app-1": Phase.ADMITTED, "app-3": Phase.ADMITTED}
    assert not [line for line in scene.journal.log(row.id) if line.kind == INTERRUPTION]


@pytest.mark.parametrize(
    ("answers", "words", "code"),
    [
        ([Unknown("the API"), ""], "", exits.DONE),
        (["its group has 3 VMs, and the chain 2 instances"], "its group has 3 VMs", exits.ROLLED_BACK),
        ([Unknown("the API")] * 5, r"unknown (the API)", exits.ROLLED_BACK),
    ],
)
def test_a_group_that_is_not_as_the_rollout_left_it_is_part_of_the_outcome_and_its_exit_code(
    scene: Scene, answers: list[str | Unknown], words: str, code: int
) -> None:
    scene.group.settles = list(answers)
    done = asyncio.run(roll(scene.wired, scene.journal, {"app": "v2"}, lambda _: None))
    assert done.outcome == "completed"
    (part,) = done.parts
    assert [words in text for text in part.disagreements] == ([True] if words else [])
    assert show_rolled(Output(as_json=True), done) == code
    later = last_released(scene.journal)
    assert later is not None
    assert later.parts[0].disagreements == part.disagreements


def test_a_roll_that_a_killed_controller_left_before_its_platform_agreed_asks_it_again(scene: Scene) -> None:
    async def killed() -> None:
        begun = scene.journal.begin_release(scene.journal.latest(), {"app": "v2"}, {"app": "v1"})
        assert begun
        row = scene.journal.begin_rollout(scene.journal.latest(), "app", "v1", "v2")
        scene.journal.end_rollout(row.id, scene.journal.latest(), "completed", "")

    asyncio.run(killed())
    scene.group.settles = ["another client is updating the group"]
    done = asyncio.run(carry_on(scene.wired, scene.journal, lambda _: None))
    assert "another client is updating the group" in done.parts[0].disagreements[0]


def test_a_roll_is_refused_while_another_client_updates_a_group(scene: Scene) -> None:
    scene.group.settles = ["another client is updating the group"]
    with pytest.raises(ChangeoverError, match="another client is updating the group"):
        asyncio.run(read_again(scene.wired, scene.journal))
