"""The keeper replaces what died, holds the lease only for that, and leaves rollouts alone."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import pytest
from tests.unit.engine.fake_chain import FakePlatform, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.keeper.keeper import KeeperTiming, keep
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.runtime import Progress
from changeover.rollout.tier.state import Rolling, Rollout

SOON = KeeperTiming(look=0.02, heal=2.0)


def ignore(_: Progress) -> None: ...


@pytest.fixture
def up(held: Journal, platform: FakePlatform) -> Journal:
    """A chain of one tier with two instances is up, and the lease is free."""
    world = runtime(chain("app", size=2), platform)
    asyncio.run(bring_up(world, held, ignore, LifecycleTiming(admission_looks=1)))
    held.release_lease()
    return held


def kept(journal: Journal, platform: FakePlatform, looks: int) -> None:
    """Keep the chain for that many looks."""
    left = iter([*[False] * looks, True])
    with closing(Journal(journal.folder / "journal.db")) as own:
        asyncio.run(keep(runtime(chain("app", size=2), platform), own, ignore, lambda: next(left), SOON))


def test_a_dead_instance_is_replaced_and_the_lease_given_back(up: Journal, platform: FakePlatform) -> None:
    platform.die("app-v1-1")
    kept(up, platform, looks=1)
    assert platform.running == ["app-v1-2", "app-v1-3"]
    assert up.holder() is None


def test_a_load_balancer_that_is_down_is_opened_again(up: Journal, platform: FakePlatform) -> None:
    platform.opened = False
    kept(up, platform, looks=1)
    assert platform.is_open()
    assert platform.running == ["app-v1-1", "app-v1-2"]


def test_a_whole_chain_is_left_alone(up: Journal, platform: FakePlatform) -> None:
    before = list(platform.events)
    kept(up, platform, looks=3)
    assert platform.events == before


def test_nothing_is_replaced_while_a_command_holds_the_lease(up: Journal, platform: FakePlatform) -> None:
    platform.die("app-v1-1")
    up.take_lease("roll app to v2", 200.0)
    kept(up, platform, looks=2)
    assert platform.running == ["app-v1-2"]
    holder = up.holder()
    assert holder is not None
    assert holder.purpose == "roll app to v2"


@pytest.mark.parametrize("begun", [True, False], ids=["begun", "before its first step"])
def test_a_rollout_whose_controller_has_ended_is_paused_and_its_dead_instances_are_replaced(
    up: Journal, platform: FakePlatform, begun: bool
) -> None:
    up.take_lease("roll app to v2", 200.0)
    up.begin_rollout(200.0, "app", "v1", "v2")
    resting = up.tier("app")
    assert resting is not None
    if begun:
        moving = replace(resting, goal="v2", state=Rolling(Rollout("v1", serial_before=resting.serial)))
        up.write_step(200.0, "app", moving, (), ())
    up.release_lease()
    platform.die("app-v1-1")
    kept(up, platform, looks=2)
    assert platform.running == ["app-v1-2", "app-v1-3"]
    assert up.holder() is None
    after = up.tier("app")
    assert after is not None
    assert bool(after.paused) is begun


def test_a_whole_chain_in_a_rollout_whose_controller_has_ended_is_left_alone(
    up: Journal, platform: FakePlatform
) -> None:
    up.take_lease("roll app to v2", 200.0)
    up.begin_rollout(200.0, "app", "v1", "v2")
    up.release_lease()
    before = list(platform.events)
    kept(up, platform, looks=2)
    assert platform.events == before


def test_an_attempt_that_does_not_succeed_gives_back_the_lease(up: Journal, platform: FakePlatform) -> None:
    platform.die("app-v1-1")
    platform.broken.add(("app", "v1"))
    left = iter([False, True])
    with closing(Journal(up.folder / "journal.db")) as own:
        impatient = KeeperTiming(look=0.02, heal=0.1)
        asyncio.run(keep(runtime(chain("app", size=2), platform), own, ignore, lambda: next(left), impatient))
    assert platform.running == ["app-v1-2"]
    assert up.holder() is None


def test_the_keeper_ends_when_the_chain_is_down(up: Journal, platform: FakePlatform) -> None:
    up.take_lease("down", 200.0)
    up.clear_tiers(200.0)
    up.release_lease()
    kept(up, platform, looks=10**6)
