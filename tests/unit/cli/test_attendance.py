"""A command leaves a rollout that waits for an operator, or whose time is over; otherwise it stays to the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli import attendance
from changeover.cli.attendance import stay
from changeover.cli.exits import UNFINISHED
from changeover.engine.journal.journal import Journal
from changeover.engine.release.outcome import Released
from changeover.model.errors import ChangeoverError
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import AwaitingPermission, Holding, Paused, Rolling, Rollout, State, TierState

ROLLING = Rolling(Rollout("v1"))
forever: Callable[[], Awaitable[object]] = asyncio.Event().wait


def roll(journal: Journal, state: State, *members: Member) -> None:
    journal.begin_release(1.0, {"runtime": "v2"}, {"runtime": "v1"})
    journal.begin_rollout(1.0, "runtime", "v1", "v2")
    journal.write_step(time.time(), "runtime", TierState("v2", state), members, ())


def outcome(journal: Journal, timeout: float | None, exit_when_paused: bool) -> Released:
    async def work() -> Released:
        await asyncio.sleep(0.5)  # longer than a look
        return Released("completed", ())

    return asyncio.run(stay(work(), journal, timeout, exit_when_paused))


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (Paused("guard: too few samples", ROLLING), "is paused: guard: too few samples"),
        (Holding(Rollout("v1", "canary"), 1, 2.0), "waits for `promote`"),
    ],
    ids=["paused", "holding"],
)
def test_a_rollout_that_waits_for_an_operator_is_left_with_the_cause(
    chain: StandingChain, state: State, why: str
) -> None:
    with chain.controlled("roll") as journal:
        roll(journal, state)
        with pytest.raises(ChangeoverError) as left:
            outcome(journal, None, exit_when_paused=True)
        assert left.value.exit_code == UNFINISHED
        assert f"the rollout (runtime to v2) {why}" in str(left.value)
        assert outcome(journal, None, exit_when_paused=False).outcome == "completed"


@pytest.mark.parametrize(
    "state", [ROLLING, AwaitingPermission("set weight 10 %", "", ROLLING)], ids=["rolls", "hooks are asked"]
)
def test_a_rollout_that_goes_on_by_itself_is_not_left(chain: StandingChain, state: State) -> None:
    with chain.controlled("roll") as journal:
        roll(journal, state)
        assert outcome(journal, None, exit_when_paused=True).outcome == "completed"


def test_a_paused_rollout_is_not_left_before_its_drains_have_ended(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        roll(journal, Paused("asked", ROLLING), Member("runtime-v1-1", "v1", 1, Phase.DRAINING, {Phase.DRAINING: 1.0}))
        assert outcome(journal, None, exit_when_paused=True).outcome == "completed"


def test_at_the_timeout_the_controller_is_asked_to_pause(chain: StandingChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "_ANSWER", 0.1)
    with chain.controlled("roll") as journal:
        roll(journal, ROLLING)
        with pytest.raises(ChangeoverError) as left:
            outcome(journal, 0.01, exit_when_paused=False)
        (request,) = journal.action_requests()
    assert left.value.exit_code == UNFINISHED
    assert "did not end within 0.01 s" in str(left.value)
    assert (request.tier, request.action) == ("runtime", "pause")
    assert request.requested_by.endswith("(--timeout)")


def test_a_command_bounds_the_logs_while_it_stays(chain: StandingChain) -> None:
    log = chain.state / "roll.log"
    log.write_bytes(b"x" * 20_000_000)

    async def work() -> Released:
        async with asyncio.timeout(40):
            while log.stat().st_size:
                await asyncio.sleep(0.01)
        return Released("completed", ())

    with chain.controlled("roll") as journal:
        roll(journal, ROLLING)
        assert asyncio.run(stay(work(), journal)).outcome == "completed"
