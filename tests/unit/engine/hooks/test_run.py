"""The error of a failed hook; running hooks is in tests/process/hooks."""

from __future__ import annotations

import pytest

from changeover.engine.hooks.run import HookFailed
from changeover.model.hooks import Point


@pytest.mark.parametrize(
    ("point", "state"),
    [
        (Point.BEFORE_TIER, "No instance of gateway was changed. Running instances continue to serve."),
        (Point.BEFORE_STEP, "The step has not begun. Running instances continue to serve."),
        (Point.AFTER_TIER, ""),
    ],
)
def test_a_failed_hook_reports_the_state_that_it_leaves(point: Point, state: str) -> None:
    failed = HookFailed(point, "gateway", f"{point} hook mine answered 500", "first\nlast")
    (problem,) = failed.problems
    assert problem.what == f"{point} hook mine answered 500. Its output:\n    first\n    last"
    assert (problem.where, problem.state, bool(problem.next)) == ("tier gateway", state, point.can_stop)
    assert failed.reason == f"{point} hook mine answered 500: last"
