"""What becomes of an upload in flight when its instance leaves."""

from __future__ import annotations

from math import inf

import pytest

from changeover.model.instance import Upload
from changeover.rollout.simulation.upload_forecast import seconds_left, upload_outcome

UPLOAD = Upload(received=10_000_000, expected=50_000_000, seconds=20.0)


def test_the_time_an_upload_still_needs_follows_from_its_rate_so_far() -> None:
    assert seconds_left(UPLOAD) == 80.0
    assert seconds_left(Upload(0, 50_000_000, 20.0)) == inf
    assert seconds_left(Upload(10_000_000, None, 20.0)) is None, "it never said how long it is"
    assert seconds_left(Upload(10_000_000, 50_000_000, 0.2)) is None, "too young to have a rate"


@pytest.mark.parametrize(
    ("ends", "cut", "becomes"),
    [
        (9.0, True, "ends"),
        (11.0, True, "drained"),
        (39.0, True, "drained"),
        (41.0, True, "cut"),
        (41.0, False, "held"),
        (inf, True, "cut"),
        (None, True, "unknown"),
    ],
)
def test_an_upload_is_cut_only_where_the_drain_ends_before_it(ends: float | None, cut: bool, becomes: str) -> None:
    assert upload_outcome(ends, leaves=10.0, deadline=30.0, cut=cut) == becomes
