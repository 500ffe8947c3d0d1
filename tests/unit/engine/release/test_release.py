"""A release moves tiers from the inside out, one at a time, and goes back as a whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.cli import exits
from changeover.cli.commands.roll import show_rolled
from changeover.cli.rendering.output import Output
from changeover.engine.controller import Controller
from changeover.engine.journal.journal import Journal
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.release.outcome import Released, last_released, rolled_before
from changeover.engine.release.release import carry_on, check_roll, find, is_there, revisions, roll
from changeover.engine.runtime import ChainRuntime, Guarding, Progress
from changeover.engine.timing import EngineTiming
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError
from changeover.model.guard import Guard
from changeover.model.instance import Instance
from changeover.model.stop import Stop, StopTo
from changeover.ports import Unknown
from changeover.rollout.tier.actions import Action


def ignore(_: Progress) -> None: ...


@pytest.fixture
def world(held: Journal, platform: FakePlatform) -> ChainRuntime:
    """A chain of three tiers that is up."""
    found = runtime(chain("edge", "gateway", "app"), platform)
    asyncio.run(bring_up(found, held, ignore, LifecycleTiming(admission_looks=1)))
    platform.events.clear()
    return found


def rolled(world: ChainRuntime, journal: Journal, **targets: str) -> Released:
    return asyncio.run(roll(world, journal, targets, ignore))


def way(done: Released) -> list[tuple[str, str, str, str]]:
    return [(one.row.tier, one.row.from_template, one.row.to_template, one.finish.outcome) for one in done.parts]


def test_tiers_are_rolled_from_the_inside_out(world: ChainRuntime, held: Journal, platform: FakePlatform) -> None:
    done = rolled(world, held, edge="v2", gateway="v2", app="v2")
    assert done.outcome == "completed"
    assert way(done) == [(tier, "v1", "v2", "completed") for tier in ("app", "gateway", "edge")]
    assert platform.running == ["app-v2-2", "edge-v2-2", "gateway-v2-2"]
    assert platform.events == [
        f"{act} {tier}-{instance}"
        for tier in ("app", "gateway", "edge")
        for act, instance in (("create", "v2-2"), ("stop", "v1-1"))
    ]
    assert held.unfinished_release() is None


def test_a_smaller_size_alone_is_applied_by_draining_the_oldest(held: Journal, platform: FakePlatform) -> None:
    asyncio.run(bring_up(runtime(chain("app", size=3), platform), held, ignore, LifecycleTiming(admission_looks=1)))
    router = FakeRouter()
    router.members |= set(platform.running)
    smaller = runtime(chain("app", size=2), platform, {"app": router})
    platform.events.clear()
    assert rolled(smaller, held, app="v1").outcome == "completed"
    assert platform.events == ["stop app-v1-1"]
    assert router.members == {"app-v1-2", "app-v1-3"}


def test_a_tier_that_is_at_its_target_is_left_alone(world: ChainRuntime, held: Journal) -> None:
    rolled(world, held, gateway="v2")
    done = rolled(world, held, gateway="v2", app="v2")
    assert way(done) == [("app", "v1", "v2", "completed")]


def test_a_tier_that_fails_takes_back_those_before_it_last_one_first(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    platform.broken.add(("edge", "v2"))
    done = rolled(world, held, edge="v2", gateway="v2", app="v2")
    assert done.outcome == "undone"
    assert way(done) == [
        ("app", "v1", "v2", "completed"),
        ("gateway", "v1", "v2", "completed"),
        ("edge", "v1", "v2", "undone"),
        ("gateway", "v2", "v1", "completed"),
        ("app", "v2", "v1", "completed"),
    ]
    assert [name.split("-")[1] for name in platform.running] == ["v1"] * 3
    assert all(row.hooks_done for row in held.rollouts() if row.tier == "edge" and row.to_template == "v2")


def test_a_hook_before_a_tier_that_fails_stops_the_release(held: Journal, platform: FakePlatform) -> None:
    hooks = [{"point": "before_tier", "name": "freeze", "command": ["false"]}]
    world = runtime(chain("app", hooks=hooks), platform)
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    done = rolled(world, held, app="v2")
    assert done.outcome == "failed"
    assert done.parts[0].finish.reason == "before_tier hook freeze ended with exit code 1"
    assert platform.running == ["app-v1-1"]


def told(folder: Path, point: str) -> dict[str, str]:
    return dict(json.loads((folder / point).read_text()))


def test_the_end_of_a_rollout_tells_the_verdict_and_where_the_report_is(
    held: Journal, platform: FakePlatform, tmp_path: Path
) -> None:
    points = ("after_tier", "on_failure", "on_completion")
    hooks = [{"point": point, "command": ["sh", "-c", f"cat > {tmp_path}/{point}"]} for point in points]
    counted: list[tuple[int, ...]] = []

    def verdict(rollouts: Collection[int]) -> str:
        counted.append(tuple(rollouts))
        return "No request broke: 0 lost"

    world = replace(runtime(chain("edge", "app", hooks=hooks), platform), verdict=verdict)
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    asyncio.run(roll(world, held, {"edge": "v2", "app": "v2"}, ignore, report="/tmp/page.html"))
    ended = told(tmp_path, "on_completion")
    assert (ended["verdict"], ended["report"]) == ("No request broke: 0 lost", "/tmp/page.html")
    first, second = (row.id for row in held.rollouts()[-2:])
    assert counted == [(first, second)]
    assert told(tmp_path, "after_tier")["verdict"] == ""
    platform.broken.add(("app", "v1"))
    assert rolled(world, held, app="v1").outcome == "undone"
    assert told(tmp_path, "on_failure")["report"] == (
        f"changeover show {second + 1} --html FILE --state {held.folder.absolute()}"
    )
    assert counted[1:] == [(second + 1,)]


def test_messages_link_the_rollout_on_the_page_that_the_chain_file_names(
    held: Journal, platform: FakePlatform, tmp_path: Path
) -> None:
    hooks = [
        {"point": point, "command": ["sh", "-c", f"cat > {tmp_path}/{point}"]}
        for point in ("before_tier", "on_completion")
    ]
    url = "https://ops.example.com/changeover/chains/1"
    paged = chain("app", hooks=hooks).model_copy(update={"page": url})
    world = runtime(paged, platform)
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    asyncio.run(roll(world, held, {"app": "v2"}, ignore, report="/tmp/page.html"))
    number = held.rollouts()[-1].id
    assert told(tmp_path, "before_tier")["page"] == f"{url}?rollout={number}"
    assert told(tmp_path, "on_completion")["page"] == f"{url}?rollout={number}"
    assert told(tmp_path, "on_completion")["report"] == f"{url}/rollouts/{number}/report"


def interrupted(world: ChainRuntime, journal: Journal, **targets: str) -> None:
    """A controller that was killed when it had rolled the first tier of a release, and no other."""
    now = journal.latest()
    journal.begin_release(now, targets, dict.fromkeys(targets, "v1"))
    journal.begin_rollout(now, "app", "v1", "v2")

    async def move() -> None:
        controller = Controller(world, journal, ignore)
        async with controller.tending():
            await controller.move("app", "v2")

    asyncio.run(move())
    assert journal.rollouts(unfinished=True) == []


def test_a_release_whose_controller_was_killed_is_carried_on(world: ChainRuntime, held: Journal) -> None:
    interrupted(world, held, app="v2", gateway="v2")
    done = asyncio.run(carry_on(world, held, ignore))
    assert done.outcome == "completed"
    assert way(done) == [("app", "v1", "v2", "completed"), ("gateway", "v1", "v2", "completed")]


def test_or_taken_back_when_the_operator_aborts_it(world: ChainRuntime, held: Journal, platform: FakePlatform) -> None:
    interrupted(world, held, app="v2", gateway="v2")
    done = asyncio.run(carry_on(world, held, ignore, Action.ABORT, "ann"))
    assert done.outcome == "undone"
    assert way(done) == [("app", "v1", "v2", "completed"), ("app", "v2", "v1", "completed")]
    assert platform.running == ["app-v1-3", "edge-v1-1", "gateway-v1-1"]


def test_another_release_waits_until_the_unfinished_one_is_over(world: ChainRuntime, held: Journal) -> None:
    held.begin_release(200.0, {"app": "v2"}, {"app": "v1"})
    check_roll(world, held, {"app": "v2"})
    with pytest.raises(ChangeoverError, match=r"an earlier rollout \(app to v2\) was not finished"):
        check_roll(world, held, {"edge": "v2"})


def test_a_release_that_goes_back_is_not_begun_again(world: ChainRuntime, held: Journal) -> None:
    held.undo_release(held.begin_release(200.0, {"app": "v2"}, {"app": "v1"}), "ann asked to abort")
    with pytest.raises(ChangeoverError, match="was not finished"):
        check_roll(world, held, {"app": "v2"})


def test_a_template_in_use_must_not_change(world: ChainRuntime, held: Journal) -> None:
    changed = replace(world, hashes={**world.hashes, "app": {"v1": "other", "v2": "v2"}})
    with pytest.raises(ChangeoverError, match="Template v1 of tier app was changed while instances of it are running"):
        check_roll(changed, held, {"edge": "v2"})
    removed = replace(world, hashes={**world.hashes, "app": {"v2": "v2"}})
    with pytest.raises(ChangeoverError, match="Template v1 of tier app was removed"):
        check_roll(removed, held, {"edge": "v2"})


def test_a_tier_is_there_when_it_is_whole_and_at_rest(world: ChainRuntime, held: Journal) -> None:
    tier = world.chain.tier("app")
    assert is_there(held, tier, "v1")
    assert not is_there(held, tier, "v2")
    assert not is_there(held, None, "v1")
    larger = chain("app", size=2).tier("app")
    assert not is_there(held, larger, "v1")


def test_a_tier_or_a_template_that_does_not_exist_is_named_with_those_that_do(world: ChainRuntime) -> None:
    with pytest.raises(ChangeoverError, match=r"there is no tier db\n.*edge, gateway, app"):
        find(world, "db", "v1")
    with pytest.raises(ChangeoverError, match=r"tier app has no template v9\n.*v1, v2"):
        find(world, "app", "v9")


# -- restarts ------------------------------------------------------------------------------------------------------


def again(world: ChainRuntime, journal: Journal, **templates: str) -> dict[str, str]:
    return revisions(world, journal, templates, restart=True)


def test_a_restart_replaces_every_instance_by_one_of_the_same_template(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    done = rolled(world, held, **again(world, held, app="v1", edge="v1"))
    assert done.outcome == "completed"
    assert platform.running == ["app-v1-2", "edge-v1-2", "gateway-v1-1"]
    assert [platform.recorded(name).template for name in platform.running] == ["v1"] * 3  # type: ignore[union-attr]
    assert is_there(held, world.chain.tier("app"), revisions(world, held, {"app": "v1"})["app"])
    rolled(world, held, **again(world, held, app="v1"))
    assert platform.running == ["app-v1-3", "edge-v1-2", "gateway-v1-1"]


def test_after_a_restart_the_tier_rolls_to_other_templates_and_back(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    rolled(world, held, **again(world, held, app="v1"))
    rolled(world, held, **revisions(world, held, {"app": "v2"}))
    rolled(world, held, **revisions(world, held, {"app": "v1"}))
    assert platform.running == ["app-v1-4", "edge-v1-1", "gateway-v1-1"]


def test_a_restart_that_fails_is_taken_back_with_its_release(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    targets = again(world, held, app="v1", edge="v1")
    platform.broken.add(("edge", "v1"))
    done = rolled(world, held, **targets)
    assert done.outcome == "undone"
    assert platform.running[1:] == ["edge-v1-1", "gateway-v1-1"]
    assert held.unfinished_release() is None


def test_a_restart_that_was_interrupted_is_carried_on_by_the_same_request(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    targets = again(world, held, app="v1")
    interrupted(world, held, **targets)
    assert again(world, held, app="v1") == targets
    assert revisions(world, held, {"app": "v1"}) == targets
    check_roll(world, held, targets)
    assert asyncio.run(carry_on(world, held, ignore)).outcome == "completed"
    assert [name.rpartition("-")[0] for name in platform.running] == ["app-v1", "edge-v1", "gateway-v1"]


def test_a_restart_whose_sides_a_guard_cannot_tell_apart_is_refused(world: ChainRuntime, held: Journal) -> None:
    by_template = Guard.model_validate(
        {
            "name": "errors",
            "conditions": [
                {
                    "name": "share",
                    "source": "prometheus",
                    "measure": "query",
                    "query": 'errors{version="$template"}',
                    "at_most": 1,
                }
            ],
        }
    )
    no_run: Callable[[], Any] = lambda: pytest.fail("no guard runs")  # noqa: E731
    world = replace(world, guarding={"app": Guarding((by_template,), no_run, no_run)})
    with pytest.raises(
        ChangeoverError, match=r"guard errors \(share\) tells new instances from old ones by \$template"
    ):
        again(world, held, app="v1")
    assert again(world, held, edge="v1")


class PowerCut(FakePlatform):
    """While v2 of the application starts, the load balancer and the only gateway end; both come back."""

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        if name == "app-v2-2":
            self.opened = False
            self.die("gateway-v1-1")
            while not (self.opened and "gateway-v1-2" in self.running):
                await asyncio.sleep(0)
        return await super().create(name, tier, template)


def test_what_breaks_requests_beside_a_rollout_is_part_of_its_outcome_and_its_exit_code(held: Journal) -> None:
    world = runtime(chain("edge", "gateway", "app"), PowerCut())
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    done = rolled(world, held, app="v2")
    assert done.outcome == "completed"
    assert sorted(done.parts[0].interruptions) == [
        "The load balancer ended, and every connection through it.",
        "gateway-v1-1 ended, and no other instance of tier gateway was in service.",
        "gateway-v1-1 of tier gateway died while admitted: unknown whether requests broke: its routers do not count "
        "requests that break.",
    ]
    assert show_rolled(Output(as_json=True), done) == exits.INTERRUPTED
    assert rolled(world, held, edge="v2").parts[0].interruptions == ()


class Stubborn(FakePlatform):
    """Its instances end when they are killed, and not before."""

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        if signal is Signals.SIGKILL:
            await super().stop(instance, signal, to)


def test_what_a_rollout_broke_is_known_after_down_has_deleted_its_instances(held: Journal) -> None:
    world = runtime(chain("app"), Stubborn())
    impatient = replace(world, stops={"app": {"v1": Stop.model_validate({"grace": "50ms"})}})
    asyncio.run(bring_up(impatient, held, ignore, LifecycleTiming(admission_looks=1)))
    done = rolled(impatient, held, app="v2")
    killed = "app-v1-1: killed, still running at the end of its stop grace. Work after its responses may be lost."
    assert done.broke == (killed,)
    (start, *_) = held.rollouts()
    assert (start.to_template, rolled_before(held, start).broke) == ("v1", ())  # it was before
    held.clear_tiers(held.latest())
    later = last_released(held)
    assert later is not None
    assert later.broke == (killed,)


class LastMoment(FakePlatform):
    """When the last instance that a rollout replaces is stopped, the load balancer and the only gateway end."""

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        await super().stop(instance, signal, to)
        self.opened = False
        self.die("gateway-v1-1")


def test_what_ends_in_the_last_moment_of_a_rollout_is_in_its_outcome(held: Journal) -> None:
    platform = LastMoment()
    world = runtime(chain("edge", "gateway", "app"), platform)
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    seldom = replace(world, timing=EngineTiming(resting_look=3600.0))  # no look of the loops finds it
    done = rolled(seldom, held, app="v2")
    assert [text.partition(":")[0] for text in done.parts[0].interruptions] == [
        "The load balancer ended, and every connection through it.",
        "gateway-v1-1 of tier gateway died while admitted",
        "gateway-v1-1 ended, and no other instance of tier gateway was in service.",
    ]
    later = last_released(held)
    assert later is not None
    assert later.broke == done.broke


class NoAnswer(FakePlatform):
    """When the last instance that a rollout replaces is stopped, the only gateway ends, and nobody is told for a while.

    `failures`: questions that are not answered from then on."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self._left, self._ending = failures, False

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        await super().stop(instance, signal, to)
        self._ending = True
        self.die("gateway-v1-1")

    async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
        if self._ending and self._left and "gateway-v1-1" in {instance.name for instance in instances}:
            self._left -= 1
            raise Unknown("the list of the group: 503")
        return await super().gone(instances, stopped)


@pytest.mark.parametrize(
    ("failures", "words"),
    [
        (3, "gateway-v1-1 of tier gateway died while admitted: unknown"),
        (1000, "Whether an instance of tier gateway ended in the last moments is unknown: the list of the group: 503."),
    ],
)
def test_a_platform_that_does_not_answer_at_the_end_of_a_rollout_is_asked_again_and_then_is_an_interruption(
    held: Journal, failures: int, words: str
) -> None:
    world = runtime(chain("edge", "gateway", "app"), NoAnswer(failures))
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    done = rolled(replace(world, timing=EngineTiming(resting_look=0.0)), held, app="v2")
    assert any(text.startswith(words) for text in done.parts[0].interruptions), done.parts[0].interruptions
    assert show_rolled(Output(as_json=True), done) == exits.INTERRUPTED


class BetweenTwoTiers(FakePlatform):
    """The load balancer ends as soon as the application has been rolled, and is back before the next tier begins."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self._journal = journal
        self._ended = False

    def is_open(self) -> bool:
        rows = self._journal.rollouts()
        if not self._ended and len(rows) > 3 and rows[-1].ended is not None:
            self._ended, self.opened = True, False
        return super().is_open()


def test_what_ends_between_two_tiers_of_a_release_is_in_its_outcome(held: Journal) -> None:
    world = runtime(chain("edge", "gateway", "app"), BetweenTwoTiers(held))
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    done = rolled(world, held, app="v2", gateway="v2")
    assert done.parts[0].interruptions == ("The load balancer ended, and every connection through it.",)
    assert show_rolled(Output(as_json=True), done) == exits.INTERRUPTED
