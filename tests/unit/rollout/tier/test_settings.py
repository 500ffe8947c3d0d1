"""A canary step in words, and where a canary has room beside the old instances."""

from __future__ import annotations

from dataclasses import replace

import pytest

from changeover.rollout.tier.settings import CanaryStep, RolloutSettings


@pytest.mark.parametrize(
    ("step", "text", "holds"),
    [
        (CanaryStep("share", 5), "set weight 5 %", False),
        (CanaryStep("pause", stay=90), "pause 90 s", False),
        (CanaryStep("pause"), "pause until promoted", True),
        (CanaryStep("analyse", stay=60), "analyse 60 s", False),
    ],
)
def test_a_step_names_itself_and_only_a_pause_without_an_end_holds(step: CanaryStep, text: str, holds: bool) -> None:
    assert (str(step), step.holds) == (text, holds)


def test_a_canary_runs_beside_all_old_instances_only_with_weights_and_with_surge() -> None:
    settings = RolloutSettings("web", 4, 1, 0, 1.0, 60.0, 600.0, cut_at_deadline=False, weighed=True)
    assert settings.canary_beside_all
    assert not replace(settings, surge=0).canary_beside_all
    assert not replace(settings, weighed=False).canary_beside_all
