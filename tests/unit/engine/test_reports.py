"""What a controller reports names the rollout that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from changeover.engine.journal.journal import Journal
from changeover.engine.reports import Reports, in_rollout
from changeover.engine.runtime import Progress
from changeover.rollout.tier.state import TierState


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        journal.take_lease("test", 0.0)
        yield journal


def rollout_of(journal: Journal, event: Progress) -> int | None:
    heard: list[Progress] = []
    in_rollout(journal, heard.append)(event)
    return heard[0].rollout


def test_progress_belongs_to_the_rollout_in_progress_whichever_tier_it_is_about(journal: Journal) -> None:
    assert rollout_of(journal, Progress(1.0, "edge", "renewed")) is None
    journal.begin_release(1.0, {"runtime": "v2"}, {"runtime": "v1"})
    assert rollout_of(journal, Progress(1.0, "", "hook")) is None
    row = journal.begin_rollout(2.0, "runtime", "v1", "v2")
    assert [rollout_of(journal, Progress(3.0, tier, "renewed")) for tier in ("edge", "runtime", "")] == [row.id] * 3


def test_between_two_rollouts_of_a_release_it_belongs_to_the_first(journal: Journal) -> None:
    journal.begin_release(1.0, {"runtime": "v2", "edge": "v2"}, {"runtime": "v1", "edge": "v1"})
    row = journal.begin_rollout(2.0, "runtime", "v1", "v2")
    ended = journal.write_step(3.0, "runtime", TierState("v2"), (), (), ("completed", ""))
    assert ended == row.id == rollout_of(journal, Progress(4.0, "runtime", "hook after_tier passed"))
    assert journal.write_step(5.0, "runtime", TierState("v2"), (), ()) is None


def test_while_every_tier_is_started_it_belongs_to_the_rollout_of_its_tier(journal: Journal) -> None:
    rows = [journal.begin_rollout(1.0, tier, "", "v1") for tier in ("edge", "runtime")]
    assert [rollout_of(journal, Progress(2.0, row.tier, "renewed")) for row in rows] == [row.id for row in rows]


def test_a_warning_about_the_chain_names_no_tier(journal: Journal) -> None:
    heard: list[Progress] = []
    Reports(journal, heard.append, "shop", lambda: 5.0).warn("load balancer gone")
    assert heard == [Progress(5.0, "", "load balancer gone", level="warning", about="shop")]
