"""What operators ask of a tier, and what it does about it: events in, commands out."""

from __future__ import annotations

from tests.unit.rollout.playbook import (
    A,
    C,
    Said,
    leaving,
    script,
)

from changeover.rollout.commands import (
    CreateInstance,
    Finish,
    LameDuck,
    Refuse,
)
from changeover.rollout.events import (
    ActionRequested,
    GuardJudged,
    Started,
)
from changeover.rollout.tier.actions import ANSWERS, Action, TierStatus
from changeover.rollout.tier.requests import NO_STEP, NO_WAY, answered
from changeover.rollout.tier.state import Failed, Holding, Paused, Preparing, Rolling, Rollout, TierState


def test_neither_a_tier_at_rest_nor_an_undo_can_be_aborted() -> None:
    with script() as s:
        s.event(ActionRequested(0, Action.ABORT)).expect(Refuse(ANSWERS[TierStatus.RESTING, Action.ABORT].text))
        s.event(Started(1, "v2")).expect(CreateInstance(C, "v2"))
        s.event(ActionRequested(2, Action.ABORT, reason="errors went up")).expect(Said("going back"), *leaving(C))
        s.event(ActionRequested(3, Action.ABORT)).expect(Refuse(ANSWERS[TierStatus.UNDOING, Action.ABORT].text))
        s.drop(C, at=4).expect(Finish("undone", "errors went up"))


def test_a_rollout_that_is_turned_round_by_hand_is_healed_and_paused_no_more() -> None:
    with script(size=1, surge=1) as s:
        a, b = "web-v1-1", "web-v2-2"
        s.event(Started(0, "v2")).expect(CreateInstance(b, "v2"))
        s.serve(b, at=1).expect(*leaving(a))
        s.event(Started(3, "v1")).expect(LameDuck(a, on=False))
        s.event(ActionRequested(4, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.event(GuardJudged(5, "failed", "numbers")).expect(Finish("failed", "guard: numbers"))
        s.serve(a, at=6).expect(*leaving(b))


def test_a_rollout_stays_paused_when_another_controller_takes_over() -> None:
    with script(size=2, surge=1) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.event(ActionRequested(1, Action.PAUSE, reason="lunch")).expect(Said("paused: lunch"))
        s.restart()
        s.serve(C, at=2)  # it is admitted, but no old instance leaves for it
        s.event(ActionRequested(9, Action.RESUME)).expect(Said("resume, requested by an operator"), *leaving(A))


def test_what_is_offered_is_what_is_done_in_that_very_state() -> None:
    rollout = Rollout("v1")
    assert answered(TierState("v2", Rolling(rollout)), Action.PROMOTE) == NO_STEP
    assert answered(TierState("v2", Paused("why", Rolling(rollout))), Action.PROMOTE_FULL) == NO_STEP
    assert answered(TierState("v2", Holding(rollout, 0, 0.0)), Action.PROMOTE).done
    assert answered(TierState("v2", Paused("why", Preparing(rollout))), Action.PROMOTE).done
    assert answered(TierState("v2"), Action.UNDO) == NO_WAY
    assert answered(TierState("v2", undo_to="v1"), Action.UNDO).done
    assert answered(TierState("v2"), Action.RETRY) == NO_WAY
    assert answered(TierState("v2", retry_to="v3"), Action.RETRY).done
    assert answered(TierState("v2", Failed("why")), Action.RETRY).done
