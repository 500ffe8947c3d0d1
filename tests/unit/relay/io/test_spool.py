"""Copies of streamed bodies: whole or dropped, within one bound for all."""

from __future__ import annotations

import tempfile

import pytest

from changeover.relay.io.spool import IN_MEMORY, Spool, SpoolBudget


def test_a_spool_returns_what_was_added_from_memory_and_from_a_file() -> None:
    budget = SpoolBudget(10 * IN_MEMORY, 10 * IN_MEMORY)
    for size in (10, 3 * IN_MEMORY + 7):
        spool = Spool(budget)
        spool.add(bytes(size - 1))
        spool.add(b"x")
        for _ in range(2):
            assert b"".join(spool.pieces()) == bytes(size - 1) + b"x"
        assert (spool.is_whole, budget.held) == (True, size)
        spool.close()
        assert budget.held == 0


@pytest.mark.parametrize(("most", "total"), [(10, 100), (100, 10)])
def test_a_spool_over_a_bound_drops_everything_and_takes_no_more(most: int, total: int) -> None:
    budget = SpoolBudget(most, total)
    spool = Spool(budget)
    spool.add(bytes(10))
    spool.add(b"x")
    assert (spool.is_whole, budget.held, budget.dropped) == (False, 0, 1)
    spool.add(b"x")
    spool.close()
    assert (spool.is_whole, budget.held, budget.dropped) == (False, 0, 1)


def test_all_spools_share_a_bound_and_free_it() -> None:
    budget = SpoolBudget(100, 100)
    first, second, third = (Spool(budget) for _ in range(3))
    first.add(bytes(60))
    second.add(bytes(60))
    assert (first.is_whole, second.is_whole, budget.held) == (True, False, 60)
    first.close()
    third.add(bytes(60))
    assert (third.is_whole, budget.held) == (True, 60)
    third.close()


def test_a_spool_without_room_on_the_disk_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, max_size: int) -> None: ...

        def write(self, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None: ...

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    budget = SpoolBudget(100, 100)
    spool = Spool(budget)
    spool.add(bytes(60))
    assert (spool.is_whole, budget.held, budget.dropped) == (False, 0, 1)
