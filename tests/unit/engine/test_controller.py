"""The controller over a chain in memory: what it takes up, what it answers, what it records, what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.engine import runtime as runtimes
from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import DEATH, DRAIN_NOW, INTERRUPTION
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.runtime import ChainRuntime, Progress
from changeover.engine.timing import EngineTiming
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance
from changeover.ports import Broken
from changeover.rollout.commands import Finish, StepReached
from changeover.rollout.events import Tick
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import ANSWERS, Action, Answer, TierStatus

FAST = EngineTiming(busy_look=0.0, first_look=0.0, last_look=0.0, resting_look=0.0, request_look=0.0, serving_look=0.0)


def ignore(_: Progress) -> None: ...


class Scene:
    """A chain that is up, its journal, and the controllers that run it one after the other."""

    def __init__(self, held: Journal, platform: FakePlatform, of: Chain) -> None:
        self.journal, self.platform, self.router = held, platform, FakeRouter()
        self.wired: ChainRuntime = replace(runtime(of, platform, {"app": self.router}), timing=FAST)
        self.progress: list[Progress] = []
        asyncio.run(bring_up(self.wired, held, ignore, LifecycleTiming(admission_looks=1)))
        platform.events.clear()

    def run(self, story: Callable[[Controller], Awaitable[None]]) -> None:
        async def go() -> None:
            async with asyncio.timeout(10), self.controller().tending() as controller:
                await story(controller)

        asyncio.run(go())

    def controller(self) -> Controller:
        self.wired.instances.clear()
        return Controller(self.wired, self.journal, self.progress.append)

    def begin(self, goal: str = "v2") -> None:
        self.journal.begin_rollout(self.journal.latest(), "app", "v1", goal)

    def phases(self) -> dict[str, Phase]:
        return {member.name: member.phase for member in self.journal.fleet("app")}


@pytest.fixture
def scene(held: Journal, platform: FakePlatform) -> Scene:
    return Scene(held, platform, chain("app", size=2))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_rollout_replaces_each_instance_and_its_end_is_in_the_journal(scene: Scene) -> None:
    async def story(controller: Controller) -> None:
        scene.begin()
        assert await controller.move("app", "v2") == Finish("completed")

    scene.run(story)
    assert scene.phases() == {"app-v2-3": Phase.ADMITTED, "app-v2-4": Phase.ADMITTED}
    assert scene.journal.rollouts()[-1].outcome == "completed"
    assert scene.router.members == {"app-v2-3", "app-v2-4"}
    moves = [(one.instance, one.moved.after) for one in scene.progress if one.moved]
    assert moves.index(("app-v2-3", Phase.ADMITTED)) < moves.index(("app-v1-1", Phase.LEAVING))


def test_a_step_looks_at_the_instances_that_it_changed_and_at_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, right = 0, runtimes._carries

    def look(member: Member) -> bool:
        nonlocal looked
        looked += 1
        return right(member)

    def looks(size: int) -> float:
        nonlocal looked
        with closing(Journal(tmp_path / f"{size}.db")) as held:
            held.take_lease("roll", 0.0)
            scene = Scene(held, FakePlatform(), chain("app", size=size))

            async def story(controller: Controller) -> None:
                nonlocal looked
                looked = 0
                scene.begin()
                assert await controller.move("app", "v2") == Finish("completed")

            scene.run(story)
        return looked / size

    monkeypatch.setattr(runtimes, "_carries", look)
    assert looks(24) < 1.2 * looks(4)


def test_an_instance_that_dies_between_rollouts_is_replaced_from_its_template(scene: Scene) -> None:
    async def story(controller: Controller) -> None:
        scene.platform.die("app-v1-1")
        await until(lambda: "app-v1-3" in scene.platform.running)
        await controller.settle()

    scene.run(story)
    assert scene.platform.running == ["app-v1-2", "app-v1-3"]


class StalledPlatform(FakePlatform):
    """Launches nothing while it is stalled."""

    stalled = False

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        if self.stalled:
            await asyncio.Event().wait()
        return await super().create(name, tier, template)


class KilledError(Exception):
    """Stands for the end of a controller."""


def test_an_instance_that_was_decided_on_and_never_launched_is_launched_by_the_next_controller(held: Journal) -> None:
    platform = StalledPlatform()
    scene = Scene(held, platform, chain("app", size=2))
    scene.begin()
    platform.stalled = True

    async def killed(controller: Controller) -> None:
        moving = asyncio.create_task(controller.move("app", "v2"))
        await until(lambda: "app-v2-3" in scene.phases())
        moving.cancel()
        raise KilledError

    with pytest.raises(KilledError):
        scene.run(killed)
    assert scene.phases()["app-v2-3"] is Phase.CREATING
    platform.stalled = False

    async def story(controller: Controller) -> None:
        (row,) = scene.journal.rollouts(unfinished=True)
        assert await controller.carry(row) == Finish("completed")

    scene.run(story)
    assert platform.events[0] == "create app-v2-3"


def test_an_instance_without_a_record_counts_as_gone(scene: Scene) -> None:
    instance = scene.platform.recorded("app-v1-1")
    assert instance is not None
    asyncio.run(scene.platform.kill(instance))

    async def story(controller: Controller) -> None:
        await controller.settle()

    scene.run(story)
    assert scene.platform.running == ["app-v1-2", "app-v1-3"]


def test_a_request_of_another_command_is_answered_through_the_journal(scene: Scene) -> None:
    asked = scene.journal.request_action("app", Action.PAUSE, "ann", 1.0)

    async def story(controller: Controller) -> None:
        await until(lambda: scene.journal.answer_to(asked) is not None)

    scene.run(story)
    assert scene.journal.answer_to(asked) == ANSWERS[TierStatus.RESTING, Action.PAUSE]


def test_a_request_for_a_tier_that_does_not_exist_is_refused(scene: Scene) -> None:
    assert scene.controller().request("db", Action.PAUSE, "ann") == Answer(False, "there is no tier db")


def test_an_action_that_the_tier_refuses_does_not_carry_a_rollout_on(scene: Scene) -> None:
    async def story(controller: Controller) -> None:
        scene.begin("v1")
        (row,) = scene.journal.rollouts(unfinished=True)
        with pytest.raises(ChangeoverError, match="promote app: no rollout is under way"):
            await controller.carry(row, Action.PROMOTE, "ann")

    scene.run(story)


def test_a_load_balancer_that_died_is_started_again_with_its_members(scene: Scene) -> None:
    async def story(controller: Controller) -> None:
        scene.router.members.clear()
        scene.platform.opened = False
        await until(lambda: scene.platform.opened and scene.router.members == {"app-v1-1", "app-v1-2"})

    scene.run(story)
    assert any("load balancer gone; started again" in one.text for one in scene.progress)


def test_what_is_decided_without_an_effect_is_not_written(scene: Scene) -> None:
    controller = scene.controller()
    before = scene.journal.latest()
    assert controller._feed("app", Tick(controller.now)).is_empty
    assert scene.journal.latest() == before


def test_an_error_of_the_block_ends_the_controller_and_is_raised_as_it_is(scene: Scene) -> None:
    async def story(controller: Controller) -> None:
        raise ZeroDivisionError("the caller's")

    with pytest.raises(ZeroDivisionError, match="the caller's"):
        scene.run(story)


def test_hooks_are_asked_before_a_step_and_their_objection_pauses_the_rollout(
    held: Journal, platform: FakePlatform
) -> None:
    hooks = [{"point": "before_step", "name": "smoke", "command": ["true"]}]
    of = chain("app", hooks=hooks)
    update = of.tiers[0].update.model_copy(update={"strategy": "blue-green"})
    scene = Scene(held, platform, of.model_copy(update={"tiers": (of.tiers[0].model_copy(update={"update": update}),)}))
    asked: list[StepReached] = []

    async def objects(tier: str, reached: StepReached) -> str:
        asked.append(reached)
        return "smoke test failed"

    async def story(controller: Controller) -> None:
        scene.begin()
        controller.before_step = objects
        moving = asyncio.create_task(controller.move("app", "v2"))
        await until(lambda: controller.machines["app"].status is TierStatus.PAUSED and bool(asked))
        await until(lambda: controller.machines["app"].tier.paused == "smoke test failed")
        controller.request("app", Action.ABORT, "ann")
        assert (await moving).outcome == "undone"

    scene.run(story)
    assert asked[0].step == "switch to v2"


class Counting(FakeRouter):
    """Counts what breaks; a test says how many."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = 0

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        return {name: {"balancer": Broken(self.ended, 0)} for name in names}


@pytest.mark.parametrize(
    ("ended", "kind", "cost"), [(0, DEATH, "0 requests broken"), (2, INTERRUPTION, "2 requests broken")]
)
def test_what_a_death_during_a_rollout_cost_is_in_the_log_of_the_rollout(
    held: Journal, platform: FakePlatform, ended: int, kind: str, cost: str
) -> None:
    scene = Scene(held, platform, chain("app", size=2))
    router = Counting()
    router.members = {"app-v1-1", "app-v1-2"}
    scene.wired = replace(scene.wired, routers={"app": router}, timing=replace(FAST, settle_look=0.0))

    async def story(controller: Controller) -> None:
        await until(lambda: bool(controller._observers["app"]._deaths._before))
        scene.begin()
        scene.platform.die("app-v1-1")
        router.ended = ended
        await controller.move("app", "v2")

    scene.run(story)
    rollout = scene.journal.rollouts()[-1].id
    lines = [line for line in scene.journal.log(rollout) if line.kind in (DEATH, INTERRUPTION)]
    assert [(line.kind, line.instance, line.text) for line in lines] == [
        (kind, "app-v1-1", f"app-v1-1 of tier app died while admitted: {cost}.")
    ]


def test_requests_that_a_controller_cannot_carry_out_are_answered_with_the_reason(scene: Scene) -> None:
    asked = [
        scene.journal.request_action("app", f"{DRAIN_NOW}app-v1-1", "ann", 1.0),
        scene.journal.request_action("app", f"{DRAIN_NOW}app-v1-9", "ann", 1.0),
        scene.journal.request_action("app", "dance", "ann", 1.0),
    ]

    async def story(controller: Controller) -> None:
        await until(lambda: scene.journal.answer_to(asked[-1]) is not None)

    scene.run(story)
    texts = [answer.text for number in asked if (answer := scene.journal.answer_to(number)) and not answer.done]
    assert texts == [
        "it is not draining: a rollout that replaces it begins its drain",
        "it has ended",
        "the controller does not know this request: it is of another version of the program",
    ]
