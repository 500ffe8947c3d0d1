"""Plain restarts, the control of the demo: stop and start in place, one instance after the other, without any care."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.engine.fake_chain import FakePlatform, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.naive import RestartTiming, restart_tier
from changeover.engine.runtime import ChainRuntime, Progress
from changeover.model.errors import ChangeoverError

SOON = RestartTiming(stop=0.1, start=0.1, look=0.01)


def ignore(_: Progress) -> None: ...


@pytest.fixture
def world(held: Journal, platform: FakePlatform) -> ChainRuntime:
    found = runtime(chain("app", size=2), platform)
    asyncio.run(bring_up(found, held, ignore, LifecycleTiming(admission_looks=1)))
    platform.events.clear()
    return found


def restart(world: ChainRuntime, platform: FakePlatform, journal: Journal) -> None:
    (tier,) = world.chain.tiers
    asyncio.run(restart_tier(world, platform, journal, tier, "v2", ignore, SOON))


def test_instances_are_restarted_in_their_places_one_by_one(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    restart(world, platform, held)
    assert platform.events == [
        "stop app-v1-1",
        "start app-v1-1 v2",
        "stop app-v1-2",
        "start app-v1-2 v2",
    ]
    assert [member.template for member in held.fleet("app")] == ["v2", "v2"]
    last = held.rollouts()[-1]
    assert (last.from_template, last.to_template, last.outcome) == ("v1", "v2", "completed")


def test_an_instance_that_does_not_start_again_ends_the_restarts(
    world: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    platform.broken.add(("app", "v2"))
    with pytest.raises(ChangeoverError, match="app-v1-1 did not start again: it ended"):
        restart(world, platform, held)
    assert platform.running == ["app-v1-2"]
    assert [member.template for member in held.fleet("app")] == ["v1", "v1"]
