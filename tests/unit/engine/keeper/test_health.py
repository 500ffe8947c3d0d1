"""What serves is what processes and routers have, whatever the journal says."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.unit.engine.fake_chain import FakePlatform, FakeRouter, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import KEEPER
from changeover.engine.keeper.health import ChainState, InstanceHealth, findings_of, inspect, serves_whole, state_of
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.runtime import ChainRuntime
from changeover.kit import process
from changeover.model.chain import Chain
from changeover.ports import Membership, Unknown
from changeover.rollout.tier.state import Rolling, Rollout


class Silent(FakeRouter):
    async def membership(self, names: frozenset[str]) -> dict[str, Membership]:
        raise Unknown("HAProxy does not answer")


@pytest.fixture
def router() -> FakeRouter:
    return FakeRouter()


@pytest.fixture
def up(held: Journal, platform: FakePlatform, router: FakeRouter) -> ChainRuntime:
    """A chain of one tier with two instances is up."""
    made = runtime(chain("app", size=2), platform, {"app": router})
    asyncio.run(bring_up(made, held, lambda _: None, LifecycleTiming(admission_looks=1)))
    return made


def seen(up: ChainRuntime, journal: Journal) -> list[InstanceHealth]:
    return asyncio.run(inspect(up, journal))["app"]


def state(up: ChainRuntime, journal: Journal) -> tuple[ChainState, list[str]]:
    found = asyncio.run(inspect(up, journal))
    findings = findings_of(up.chain, journal, found, balancer_runs=True)
    return state_of(up.chain, found, findings, up=journal.is_up()), findings


def test_a_whole_chain_serves_as_it_should(up: ChainRuntime, held: Journal) -> None:
    assert state(up, held) == (ChainState.SERVING, [])
    assert serves_whole(up.chain, held, {"app": seen(up, held)})


def test_a_dead_instance_degrades_the_chain_and_two_take_it_down(
    up: ChainRuntime, held: Journal, platform: FakePlatform
) -> None:
    platform.die("app-v1-1")
    dead, alive = seen(up, held)
    assert (dead.dead, dead.serves, dead.reason) == (True, False, "its process has ended: it ended")
    assert (alive.dead, alive.serves, alive.reason) == (False, True, "")
    degraded, (finding,) = state(up, held)
    assert degraded is ChainState.DEGRADED
    assert finding == (
        "Tier app has 1 instances in service, and should have 2; app-v1-1: its process has ended: it ended."
    )
    platform.die("app-v1-2")
    assert state(up, held)[0] is ChainState.DOWN


def test_an_instance_that_a_router_does_not_list_does_not_serve(
    up: ChainRuntime, held: Journal, router: FakeRouter
) -> None:
    router.members.discard("app-v1-1")
    missing, _ = seen(up, held)
    assert (missing.serves, missing.unlisted, missing.reason) == (False, True, "its routers do not list it")
    assert not serves_whole(up.chain, held, {"app": seen(up, held)})


def test_an_instance_that_a_router_finds_unhealthy_does_not_serve(
    up: ChainRuntime, held: Journal, router: FakeRouter
) -> None:
    router.deaf = True
    assert [(one.serves, one.unlisted) for one in seen(up, held)] == [(False, False)] * 2
    assert state(up, held)[0] is ChainState.DOWN


def test_a_router_that_does_not_answer_confirms_nothing(up: ChainRuntime, held: Journal) -> None:
    silent = replace(up, routers={"app": Silent()})
    assert [(one.serves, one.reason) for one in seen(silent, held)] == [(False, "HAProxy does not answer")] * 2


def test_without_keeper_and_controller_the_chain_is_degraded(up: ChainRuntime, held: Journal) -> None:
    held.release_lease()
    degraded, (finding,) = state(up, held)
    assert degraded is ChainState.DEGRADED
    assert "No keeper is running" in finding


def test_an_unfinished_rollout_without_a_controller_is_named_with_the_ways_out(up: ChainRuntime, held: Journal) -> None:
    held.set_keeper(*_this_process())
    held.begin_release(200.0, {"app": "v2"}, {"app": "v1"})
    assert state(up, held) == (ChainState.SERVING, [])  # this process controls it
    held.release_lease()
    degraded, (finding,) = state(up, held)
    assert degraded is ChainState.DEGRADED
    assert finding.startswith("A rollout (app to v2) is unfinished and has no controller. `changeover resume`")
    held.take_lease(KEEPER, 201.0)  # it heals, and does not control the rollout
    assert state(up, held) == (ChainState.DEGRADED, [finding])


def test_while_a_tier_is_rolled_it_may_have_as_many_fewer_as_its_file_allows(
    held: Journal, platform: FakePlatform
) -> None:
    (tier,) = chain("app", size=2).tiers
    lax = tier.model_copy(update={"update": tier.update.model_copy(update={"max_unavailable": 1})})
    made = runtime(chain("app", size=2).model_copy(update={"tiers": (lax,)}), platform)
    asyncio.run(bring_up(made, held, lambda _: None, LifecycleTiming(admission_looks=1)))
    platform.die("app-v1-1")
    assert state(made, held)[0] is ChainState.DEGRADED
    resting = held.tier("app")
    assert resting is not None
    held.write_step(200.0, "app", replace(resting, goal="v2", state=Rolling(Rollout("v1"))), (), ())
    assert state(made, held)[0] is ChainState.SERVING


def _this_process() -> tuple[int, int]:
    import os

    return os.getpid(), process.start_time(os.getpid()) or 0


@pytest.mark.parametrize(
    ("serve", "is_"),
    [
        ({"edge", "api", "web"}, ChainState.SERVING),
        ({"edge", "web"}, ChainState.DEGRADED),
        ({"edge"}, ChainState.DOWN),
        ({"api", "web"}, ChainState.DOWN),
    ],
)
def test_a_chain_that_branches_is_down_when_no_way_through_it_serves(
    up: ChainRuntime, held: Journal, serve: set[str], is_: ChainState
) -> None:
    (one, _) = seen(up, held)
    edge, *ends = chain("edge", "api", "web").tiers
    branching = Chain(tiers=(edge.model_copy(update={"to": ("api", "web")}), *ends))
    found = {tier.name: [replace(one, serves=tier.name in serve)] for tier in branching.tiers}
    findings = [f"{tier.name} does not serve" for tier in branching.tiers if tier.name not in serve]
    assert state_of(branching, found, findings, up=True) is is_
