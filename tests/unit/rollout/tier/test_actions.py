"""Each action has an answer in each status, and the tier keeps to it."""

from __future__ import annotations

import itertools

import pytest

from changeover.rollout.commands import Refuse
from changeover.rollout.events import ActionRequested
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.tier.actions import ANSWERS, Action, TierStatus, status_of, table
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import CanaryStep, RolloutSettings
from changeover.rollout.tier.state import Failed, Holding, Paused, Resting, Rollout, State, Stepping, TierState, Undoing

SETTINGS = RolloutSettings("web", 2, 1, 0, 1.0, 60.0, 600.0, False, "canary", (CanaryStep("pause", stay=60.0),) * 3)
HOLDS = RolloutSettings("web", 2, 1, 0, 1.0, 60.0, 600.0, False, "canary", (CanaryStep("pause"),) * 3)
ROLLOUT = Rollout("v1", "canary")
STATES: dict[TierStatus, State] = {
    TierStatus.RESTING: Resting(),
    TierStatus.ROLLING: Stepping(ROLLOUT, 0, 0.0),
    TierStatus.HOLDING: Holding(ROLLOUT, 0, 0.0),
    TierStatus.PAUSED: Paused("lunch", Stepping(ROLLOUT, 0, 0.0)),
    TierStatus.UNDOING: Undoing("errors"),
    TierStatus.FAILED: Failed("no start"),
}
PAIRS = [(status, action) for status, action in itertools.product(TierStatus, Action) if action is not Action.ROLL]


def test_each_pair_of_status_and_action_has_an_answer() -> None:
    assert set(ANSWERS) == set(itertools.product(TierStatus, Action))


@pytest.mark.parametrize(("status", "action"), PAIRS)
def test_the_tier_refuses_exactly_what_the_table_refuses(status: TierStatus, action: Action) -> None:
    settings = HOLDS if status is TierStatus.HOLDING else SETTINGS
    tier = TierState("v2", STATES[status], serial=2, undo_to="v1", retry_to="v3")
    assert status_of(tier.state) is status
    decision = Machine(settings, tier, Fleet()).handle(ActionRequested(5.0, action))
    refused = [command.reason for command in decision.commands if isinstance(command, Refuse)]
    answer = ANSWERS[status, action]
    assert refused == ([] if answer.done else [answer.text])
    assert answer.done or (decision.state.state, decision.state.goal) == (tier.state, tier.goal)


@pytest.mark.parametrize("action", [Action.UNDO, Action.RETRY])
def test_without_an_earlier_rollout_there_is_nothing_to_undo_or_retry(action: Action) -> None:
    decision = Machine(SETTINGS, TierState("v2", serial=2), Fleet()).handle(ActionRequested(5.0, action))
    assert Refuse("there is no earlier rollout to go by") in decision.commands


def test_the_page_has_a_section_for_each_status_and_a_row_for_each_action() -> None:
    page = table()
    assert [line for line in page.splitlines() if line.startswith("### ")] == [f"### {one}" for one in TierStatus]
    assert all(page.count(f"\n| `{action}` |") == len(TierStatus) for action in Action)
