from __future__ import annotations

import pytest

from changeover.probe.gets import Schedule, turns


def test_slots_are_due_at_fixed_intervals() -> None:
    schedule = Schedule(start=100.0, rate=4.0, fresh_share=0.0, weights=(1,))
    assert [schedule.take().due for _ in range(4)] == [100.0, 100.25, 100.5, 100.75]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_fresh_connections_is_kept_and_every_path_is_requested_on_each(share: float) -> None:
    schedule = Schedule(start=0.0, rate=1.0, fresh_share=share, weights=(1, 1))
    slots = [schedule.take() for _ in range(1000)]
    fresh = [slot for slot in slots if slot.fresh]
    kept = [slot for slot in slots if not slot.fresh]
    assert len(fresh) == share * 1000
    for some in (fresh, kept):
        assert sum(slot.get for slot in some) == len(some) / 2


def test_paths_get_their_weights_evenly_spread() -> None:
    assert turns((1,)) == (0,)
    assert turns((2, 2)) == (0, 1)
    assert turns((3, 1)) == (0, 0, 1, 0)
    assert sorted(turns((600, 300, 100))) == [0] * 6 + [1] * 3 + [2]
