"""The phase table as a whole."""

from __future__ import annotations

import pytest

from changeover.rollout.members.phases import EXISTING, STAYING, TABLE, UNSETTLED, Cause, Phase, mermaid


def reachable(start: Phase) -> set[Phase]:
    found, fresh = set[Phase](), {start}
    while fresh:
        found |= fresh
        fresh = {after for (before, _), after in TABLE.items() if before in fresh} - found
    return found


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.GONE])
def test_every_phase_leads_to_gone(phase: Phase) -> None:
    assert Phase.GONE in reachable(phase)


def test_every_phase_can_be_reached() -> None:
    assert reachable(Phase.CREATING) == set(Phase)


def test_nothing_comes_back_from_gone() -> None:
    assert reachable(Phase.GONE) == {Phase.GONE}


def test_every_row_leads_somewhere_else_and_every_cause_is_used() -> None:
    assert all(before is not after for (before, _), after in TABLE.items())
    assert {cause for _, cause in TABLE} == set(Cause)


def test_a_process_may_end_in_every_phase_in_which_there_is_one() -> None:
    assert {before for before, cause in TABLE if cause is Cause.EXITED} == EXISTING


def test_what_may_still_be_listed_by_a_router_is_gone_only_once_its_removal_is_confirmed() -> None:
    """From each phase of an instance that may be listed, every way to `gone` goes through that confirmation."""
    for listed in (Phase.READY, Phase.ADMITTED, Phase.LEAVING, Phase.FAILED):
        found, fresh = set[Phase](), {listed}
        while fresh:
            found |= fresh
            unconfirmed = {k: v for k, v in TABLE.items() if k[1] is not Cause.REMOVAL_CONFIRMED}
            fresh = {after for (before, _), after in unconfirmed.items() if before in fresh} - found
        assert Phase.GONE not in found


def test_only_what_is_empty_or_cut_is_told_to_stop() -> None:
    assert [before for before, cause in TABLE if cause is Cause.STOP_SENT] == [Phase.DRAINED]
    ways = {(before, cause) for (before, cause), after in TABLE.items() if after is Phase.DRAINED}
    ends = (Cause.EMPTIED, Cause.DEADLINE_CUT, Cause.LONG_LIVED_CUT, Cause.ENDED_BY_OPERATOR)
    assert ways == {(Phase.DRAINING, cause) for cause in ends}


def test_the_only_way_to_serve_is_through_readiness_and_confirmation() -> None:
    assert [row for row, after in TABLE.items() if after is Phase.ADMITTED] == [
        (Phase.READY, Cause.ADMISSION_CONFIRMED)
    ]
    assert [row for row, after in TABLE.items() if after is Phase.READY] == [(Phase.WARMING, Cause.READY_LONG_ENOUGH)]
    assert [row for row, after in TABLE.items() if after is Phase.WARMING] == [(Phase.CREATING, Cause.BECAME_READY)]


def test_what_was_told_to_stop_does_not_come_back() -> None:
    for phase in (Phase.DRAINED, Phase.STOPPING, Phase.FAILED):
        assert not reachable(phase) & STAYING


def test_the_groups_of_phases_say_what_their_names_say() -> None:
    assert STAYING < EXISTING
    assert set(Phase) - EXISTING == {Phase.GONE, Phase.FAILED}
    assert set(Phase) - UNSETTLED == {Phase.ADMITTED, Phase.GONE}


def test_the_diagram_shows_every_row_once() -> None:
    lines = mermaid().splitlines()
    for (before, cause), after in TABLE.items():
        assert lines.count(f"    {before} --> {after}: {cause}") == 1
    assert len(lines) == len(TABLE) + 3
