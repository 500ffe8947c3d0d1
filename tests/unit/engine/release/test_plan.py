"""What a plan foresees: the order, the instances, the uploads that it cuts, and when it refuses to foresee anything."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.fake_chain import FakeHop, FakePlatform, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.release.plan import Plan, make
from changeover.engine.runtime import ChainRuntime, Guarding, Progress
from changeover.model.chain import Drain
from changeover.model.errors import ChangeoverError
from changeover.model.guard import SHIPPED
from changeover.model.instance import InFlight, Instance, Upload
from changeover.model.update import Update
from changeover.ports import Unknown

QUICK = Upload(received=9_000_000, expected=10_000_000, seconds=9.0)
"""Ends in one second."""
SLOW = Upload(received=1_000_000, expected=100_000_000, seconds=10.0)
"""Ends in 990 seconds."""


class Counting(FakeHop):
    """Reports what the test says of an instance; `sees` decides whether it sees uploads at all."""

    def __init__(self, platform: FakePlatform, seen: Mapping[str, InFlight | Unknown], *, sees: bool = True) -> None:
        super().__init__(platform=platform)
        self.traits = replace(FakeHop.traits, sees_uploads=sees)  # type: ignore[misc]
        self._seen = seen

    async def in_flight(self, instance: Instance) -> InFlight:
        found = self._seen.get(instance.name, InFlight(0, 0))
        if isinstance(found, Unknown):
            raise found
        return found


@pytest.fixture
def wired(held: Journal, platform: FakePlatform) -> ChainRuntime:
    def ignore(_: Progress) -> None: ...

    of = chain("edge", "app", size=2)
    drains = {"edge": Drain(), "app": Drain.model_validate({"deadline": "30s", "policy": "cut"})}
    tiers = tuple(tier.model_copy(update={"drain": drains[tier.name]}) for tier in of.tiers)
    found = runtime(of.model_copy(update={"tiers": tiers}), platform)
    asyncio.run(bring_up(found, held, ignore, LifecycleTiming(admission_looks=1)))
    return found


def planned(wired: ChainRuntime, journal: Journal, seen: Mapping[str, Any] = {}, **targets: str) -> Plan:
    assert isinstance(wired.platform, FakePlatform)
    hops = {"edge": Counting(wired.platform, seen, sees=False), "app": Counting(wired.platform, seen)}
    return asyncio.run(make(replace(wired, hops=hops), journal, targets, None, journal.latest()))


def carrying(upload: Upload) -> InFlight:
    return InFlight(1, 1, (upload,))


def test_a_plan_names_each_step_in_the_order_of_the_roll_from_the_inside_out(
    wired: ChainRuntime, held: Journal
) -> None:
    made = planned(wired, held, edge="v2", app="v2")
    assert [(one.tier, one.from_template, one.to_template) for one in made.tiers] == [
        ("app", "v1", "v2"),
        ("edge", "v1", "v2"),
    ]
    steps = [(step.what, step.instance) for step in made.tiers[0].rehearsal.planned if step.instance]
    assert [name for what, name in steps if what == "create"] == ["app-v2-3", "app-v2-4"]
    assert [name for what, name in steps if what == "stop"] == ["app-v1-1", "app-v1-2"]
    assert made.peak == 4 + 1
    assert made.tiers[1].begins == made.tiers[0].rehearsal.seconds


def test_guards_that_compare_are_named_where_the_update_is_rolling(wired: ChainRuntime, held: Journal) -> None:
    guards = tuple(SHIPPED[name] for name in ("no-broken-requests", "latency-not-worse"))
    guarded = replace(wired, guarding={"app": Guarding(guards, dict, lambda: pytest.fail("nothing is guarded"))})
    assert planned(guarded, held, edge="v2", app="v2").uncompared == (("app", "latency-not-worse"),)
    canary = asyncio.run(make(guarded, held, {"app": "v2"}, "canary", held.latest()))
    assert canary.uncompared == ()


def test_keys_of_another_strategy_than_that_of_the_roll_are_named(wired: ChainRuntime, held: Journal) -> None:
    stepwise = Update.model_validate({"steps": [{"set_weight": 50}]})
    tiers = tuple(tier.model_copy(update={"update": stepwise}) for tier in wired.chain.tiers)
    given = replace(wired, chain=wired.chain.model_copy(update={"tiers": tiers}))
    assert planned(given, held, app="v2").unread == (("app", "steps", "canary"),)
    assert asyncio.run(make(given, held, {"app": "v2"}, "canary", held.latest())).unread == ()


def test_a_tier_that_runs_its_target_is_left_out(wired: ChainRuntime, held: Journal) -> None:
    made = planned(wired, held, edge="v2", app="v1")
    assert [one.tier for one in made.tiers] == ["edge"]
    nothing = planned(wired, held, app="v1")
    assert (nothing.tiers, nothing.seconds, nothing.uploads) == ((), 0, ())


def test_an_upload_that_ends_before_the_deadline_is_waited_for_and_one_that_does_not_is_cut(
    wired: ChainRuntime, held: Journal
) -> None:
    made = planned(wired, held, {"app-v1-1": carrying(SLOW), "app-v1-2": carrying(QUICK)}, app="v2")
    assert {one.instance: one.outcome for one in made.uploads} == {"app-v1-1": "cut", "app-v1-2": "ends"}
    idle = planned(wired, held, app="v2")
    assert made.seconds is not None
    assert idle.seconds is not None
    assert made.seconds > idle.seconds + 25


def test_uploads_pass_through_a_tier_that_sees_none_by_an_instance_that_is_not_known(
    wired: ChainRuntime, held: Journal
) -> None:
    made = planned(wired, held, {"app-v1-1": carrying(SLOW)}, edge="v2")
    (passing,) = made.uploads
    assert (passing.tier, passing.instance, passing.upload) == ("edge", None, SLOW)
    assert passing.outcome == "held"


def test_an_upload_is_met_once_in_the_first_tier_that_it_meets(wired: ChainRuntime, held: Journal) -> None:
    made = planned(wired, held, {"app-v1-1": carrying(SLOW)}, edge="v2", app="v2")
    assert [one.tier for one in made.uploads] == ["app"]


def test_an_instance_that_does_not_report_its_requests_is_named(wired: ChainRuntime, held: Journal) -> None:
    made = planned(wired, held, {"app-v1-2": Unknown("no answer")}, edge="v2")
    assert made.silent == ("app-v1-2",)


def test_a_tier_that_is_not_at_rest_is_not_planned(wired: ChainRuntime, held: Journal) -> None:
    larger = wired.chain.tiers[1].model_copy(update={"size": 3})
    changed = replace(wired, chain=wired.chain.model_copy(update={"tiers": (wired.chain.tiers[0], larger)}))
    assert planned(changed, held, app="v2").tiers[0].size == 3
    held.begin_release(200.0, {"app": "v2"}, {"app": "v1"})
    with pytest.raises(ChangeoverError, match=r"a rollout \(app to v2\) is not finished\n  Nothing was planned"):
        planned(wired, held, edge="v2")


def test_the_same_chain_gives_the_same_plan_and_another_target_another(wired: ChainRuntime, held: Journal) -> None:
    first, second = planned(wired, held, app="v2").saved, planned(wired, held, app="v2").saved
    assert first == second
    assert planned(wired, held, edge="v2").saved.id != first.id
