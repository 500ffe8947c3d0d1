"""A chain comes up whole or not at all, and goes down whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from signal import Signals

import pytest
from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.lifecycle import LifecycleTiming, bring_up, take_down
from changeover.engine.runtime import Progress
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Instance
from changeover.model.stop import StopTo
from changeover.ports import Membership, Unknown

SOON = LifecycleTiming(admission=0.1, admission_looks=2, stop=0.1, stop_look=0.01)


def ignore(_: Progress) -> None: ...


def test_every_tier_is_started_from_its_first_template(held: Journal, platform: FakePlatform) -> None:
    world = runtime(chain("edge", "app", size=2), platform)
    asyncio.run(bring_up(world, held, ignore, SOON))
    assert held.is_up()
    assert platform.running == ["app-v1-1", "app-v1-2", "edge-v1-1", "edge-v1-2"]
    assert [(row.tier, row.outcome) for row in held.rollouts()] == [("edge", "completed"), ("app", "completed")]


def test_what_a_killed_command_left_is_cleared_first(held: Journal, platform: FakePlatform) -> None:
    world = runtime(chain("app"), platform)
    asyncio.run(bring_up(world, held, ignore, SOON))
    asyncio.run(bring_up(runtime(chain("app"), platform), held, ignore, SOON))
    assert platform.events[:2] == ["close", "open"]
    assert platform.events.count("create app-v1-1") == 2
    assert platform.running == ["app-v1-1"]


def test_a_tier_that_does_not_start_takes_the_whole_chain_down(held: Journal, platform: FakePlatform) -> None:
    platform.broken.add(("edge", "v1"))
    world = runtime(chain("edge", "app"), platform)
    with pytest.raises(ChangeoverError) as failed:
        asyncio.run(bring_up(world, held, ignore, SOON))
    assert "v1 has no server" in str(failed.value)
    assert "All instances that had been started were stopped again." in str(failed.value)
    assert "Correct template v1 of edge and run `changeover up` again." in str(failed.value)
    assert (platform.running, platform.events[-1], held.is_up()) == ([], "close", False)
    assert [len(held.fleet(tier).members) for tier in ("edge", "app")] == [0, 0]


class Forgetful(FakeRouter):
    """Confirms an admission once, and then no longer: as when another gateway starts that has not seen the instance."""

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        found = await super().membership(names)
        self.deaf = self.deaf or any(one.admitted for one in found.values())
        return found


def test_a_chain_is_not_up_before_every_router_still_admits_every_instance(
    held: Journal, platform: FakePlatform
) -> None:
    world = runtime(chain("app"), platform, {"app": Forgetful()})
    with pytest.raises(ChangeoverError, match="its routers have not admitted every instance: app-v1-1"):
        asyncio.run(bring_up(world, held, ignore, SOON))
    assert (platform.running, held.is_up()) == ([], False)


def test_a_chain_goes_down_from_the_edge_inward_and_names_what_it_stopped(
    held: Journal, platform: FakePlatform
) -> None:
    world = runtime(chain("edge", "app"), platform)
    asyncio.run(bring_up(world, held, ignore, SOON))
    progress: list[Progress] = []
    stopped, killed = asyncio.run(take_down(world, held, progress.append, SOON))
    assert (stopped, killed) == (["edge-v1-1", "app-v1-1"], [])
    assert [event for event in platform.events if event.startswith("stop")] == ["stop edge-v1-1", "stop app-v1-1"]
    assert [(one.instance, one.text) for one in progress] == [(name, "stop signal sent") for name in stopped]
    assert (held.is_up(), platform.events[-1]) == (False, "close")


def test_to_take_down_a_chain_that_is_not_up_stops_nothing(held: Journal, platform: FakePlatform) -> None:
    assert asyncio.run(take_down(runtime(chain("app"), platform), held, ignore, SOON)) == ([], [])


class HoldsOn(FakeRouter):
    """Does not forget its first member."""

    async def forget(self, name: str) -> None:
        if name == "app-v1-1":
            raise Unknown("it has 1 session left")
        await super().forget(name)


def test_a_router_outside_that_holds_on_to_one_instance_loses_the_others_and_the_one_is_named(
    held: Journal, platform: FakePlatform
) -> None:
    of, router = chain("app", size=3), HoldsOn()
    behind = of.tiers[0].model_copy(update={"router": {"kind": "fake"}})
    outside = of.model_copy(update={"tiers": (behind,)})
    world = runtime(outside, platform, {"app": router})
    asyncio.run(bring_up(world, held, ignore, SOON))
    progress: list[Progress] = []
    asyncio.run(take_down(world, held, progress.append, SOON))
    assert router.members == {"app-v1-1"}
    (warning,) = [one for one in progress if one.level == "warning"]
    assert (warning.instance, warning.text) == (
        "app-v1-1",
        "its router may list it after the end of the chain: it has 1 session left",
    )


class Stubborn(FakePlatform):
    """Its instances do not end on their stop signal."""

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        self.events.append(f"stop {instance.name}")


def test_instances_that_go_down_only_when_they_are_killed_are_named(held: Journal) -> None:
    stubborn = Stubborn()
    world = runtime(chain("edge", "app"), stubborn)
    asyncio.run(bring_up(world, held, ignore, SOON))
    stopped, killed = asyncio.run(take_down(world, held, ignore, SOON))
    assert killed == stopped == ["edge-v1-1", "app-v1-1"]
