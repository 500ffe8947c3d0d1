"""When a controller looks at a tier again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import cast

import pytest
from tests.unit.engine.fake_chain import FakePlatform

from changeover.engine.pace import pause, until_next_look
from changeover.engine.timing import EngineTiming
from changeover.model.instance import Address, Instance
from changeover.ports import Platform
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import TierState

TIMING = EngineTiming(busy_look=0.03, first_look=0.002, last_look=0.01, resting_look=0.5)
SETTINGS = RolloutSettings(
    tier="web",
    size=1,
    surge=1,
    unavailable=0,
    min_ready=1.0,
    progress_deadline=60.0,
    drain_deadline=60.0,
    cut_at_deadline=False,
)


def seconds(phase: Phase, waited: float, quiet: int = 0) -> float:
    one = Member("web-v1-1", "v1", 1, phase, times={phase: 100.0}, quiet=quiet)
    return until_next_look(Machine(SETTINGS, TierState("v1"), Fleet([one])), TIMING, 100.0 + waited)


def test_a_tier_at_rest_is_looked_at_rarely() -> None:
    assert seconds(Phase.ADMITTED, 0.0) == 0.5


@pytest.mark.parametrize("phase", [Phase.READY, Phase.LEAVING, Phase.DRAINED])
def test_a_look_soon_follows_a_command_and_the_pause_grows_with_the_wait(phase: Phase) -> None:
    assert seconds(phase, 0.0) == 0.002
    assert seconds(phase, 0.04) == pytest.approx(0.01)
    assert seconds(phase, 10.0) == 0.03


def test_the_end_of_min_ready_is_not_looked_for_late() -> None:
    assert seconds(Phase.WARMING, 0.5) == 0.03
    assert seconds(Phase.WARMING, 0.98) == pytest.approx(0.02)
    assert seconds(Phase.WARMING, 1.5) == 0.002


def test_a_drain_that_has_begun_is_looked_at_after_the_last_connections_of_a_routers_workers() -> None:
    assert seconds(Phase.DRAINING, 0.0) == 0.03


def test_what_the_first_look_found_empty_is_looked_at_again_soon() -> None:
    assert seconds(Phase.DRAINING, 0.0, quiet=1) == 0.01


class ExitingPlatform(FakePlatform):
    """Reports at once that an instance exited."""

    async def until_exit(self, instances: Collection[Instance], seconds: float) -> None:
        self.events += [one.name for one in instances]


def test_the_exit_of_an_instance_ends_the_pause_where_the_platform_sees_it() -> None:
    address = Address("127.0.0.1", 1)
    stopping = Instance("web-v1-1", "web", "v1", address, address)
    sees = ExitingPlatform()
    asyncio.run(asyncio.wait_for(pause(cast(Platform, sees), [stopping], 3600.0), 10))
    assert sees.events == ["web-v1-1"]
    asyncio.run(pause(cast(Platform, FakePlatform()), [stopping], 0.0))
