"""The chain file's settings of a tier in the core's numbers, and templates that changed under running instances."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.engine.fake_chain import FakePlatform, chain, runtime

from changeover.engine.journal.journal import Journal
from changeover.engine.lifecycle import LifecycleTiming, bring_up
from changeover.engine.runtime import ChainRuntime, Progress, check_templates, rollout_settings
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError
from changeover.model.guard import LATENCY_NOT_WORSE, NO_BROKEN_REQUESTS
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.settings import CanaryStep


def tier(**given: Any) -> Tier:
    return Tier.model_validate({"name": "web", "kind": "app", "templates": {"v1": {}}, "size": 4, **given})


def test_each_setting_of_the_chain_file_reaches_the_core() -> None:
    update = {
        "max_surge": 2,
        "max_unavailable": 1,
        "min_ready": "3s",
        "progress_deadline": "90s",
        "order": "in-flight",
        "strategy": "canary",
        "baseline": "fresh",
        "guard": ["no-broken-requests"],
        "steps": [{"set_weight": 25}, {"pause": "30s"}, {"pause": "until-promoted"}, {"analyse": "60s"}],
    }
    found = rollout_settings(
        tier(update=update, drain={"deadline": "2m", "policy": "cut"}), weighed=True, ask_first=True
    )
    assert (found.tier, found.size, found.surge, found.unavailable) == ("web", 4, 2, 1)
    assert (found.min_ready, found.progress_deadline, found.drain_deadline) == (3.0, 90.0, 120.0)
    assert (found.cut_at_deadline, found.by_load, found.fresh_baseline) == (True, True, True)
    assert (found.weighed, found.ask_first, found.strategy) == (True, True, "canary")
    assert found.steps == (
        CanaryStep("share", share=25),
        CanaryStep("pause", stay=30.0),
        CanaryStep("pause"),
        CanaryStep("analyse", stay=60.0),
    )


def test_a_blue_green_switch_is_held_only_where_the_chain_file_asks_for_it() -> None:
    held = tier(update={"strategy": "blue-green", "switch": "when-promoted", "bake": "20s"})
    assert (rollout_settings(held, weighed=False).hold, rollout_settings(held, weighed=False).bake) == (True, 20.0)
    assert not rollout_settings(tier(update={"strategy": "blue-green"}), weighed=False).hold


def test_a_guarded_rollout_is_watched_until_each_guard_has_a_sample_or_pauses_it_for_want_of_one() -> None:
    brief, guards = tier(update={"min_ready": "100ms"}), (NO_BROKEN_REQUESTS, LATENCY_NOT_WORSE)
    assert rollout_settings(brief, weighed=False).watch == 0.5
    assert rollout_settings(brief, weighed=False, guards=guards[:1]).watch == 7.0
    assert rollout_settings(brief, weighed=False, guards=guards[1:]).watch == 0.5, "nothing is left to compare with"
    assert rollout_settings(tier(update={"watch": "30s"}), weighed=False, guards=guards).watch == 30.0


@pytest.fixture
def wired(held: Journal, platform: FakePlatform) -> ChainRuntime:
    def ignore(_: Progress) -> None: ...

    found = runtime(chain("app"), platform)
    asyncio.run(bring_up(found, held, ignore, LifecycleTiming(admission_looks=1)))
    return found


def test_templates_that_no_instance_runs_may_change(wired: ChainRuntime, held: Journal) -> None:
    check_templates(replace(wired, hashes={"app": {"v1": "v1", "v2": "other"}}), held)


@pytest.mark.parametrize(
    ("now", "what"),
    [({"v1": "other", "v2": "v2"}, "v1 of tier app was changed"), ({"v2": "v2"}, "v1 of tier app was removed")],
)
def test_a_template_in_use_that_was_changed_or_removed_is_refused(
    wired: ChainRuntime, held: Journal, now: dict[str, str], what: str
) -> None:
    with pytest.raises(ChangeoverError, match=what):
        check_templates(replace(wired, hashes={"app": now}), held)


def test_a_router_that_served_and_is_not_ready_any_more_must_still_confirm_changes() -> None:
    made = runtime(chain("web"), FakePlatform())
    served = Member("web-1", "v1", 1, Phase.CREATING, {Phase.CREATING: 5.0}, served=True)
    new = Member("web-2", "v1", 2, Phase.CREATING, {Phase.CREATING: 5.0})
    made.carry("web", [served, new])
    assert made.carrying["web"] == {"web-1"}


def test_after_changes_the_same_instances_carry_traffic_as_when_all_are_looked_at() -> None:
    made = runtime(chain("web"), FakePlatform())
    members = [Member(f"web-{n}", "v1", n, phase) for n, phase in enumerate(Phase)]
    made.carry("web", members)
    for member, phase in zip(members, reversed(Phase), strict=True):
        member.phase = phase
    made.carry_changes("web", members)
    changed = made.carrying["web"]
    made.carry("web", members)
    assert changed == made.carrying["web"]
