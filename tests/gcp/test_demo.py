"""The four tiers of examples/03-google-cloud, rolled on the fake under traffic; and its control, which loses."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.gcp.demo.__main__ import Traffic, roll_by_changeover, roll_by_updater, run

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]  # eight VMs, an agent on each: two cores are busy with them

SMALL = Traffic(rate=20, uploads=2, upload_size="2MB", upload_seconds=6.0)


def test_every_tier_is_rolled_and_nothing_is_lost(tmp_path: Path) -> None:
    result = run("ours", roll_by_changeover, drain=300, traffic=SMALL, folder=tmp_path / "own", speed=100)
    assert result.code == 0, result.probe["failures_by_reason"]
    assert result.probe["uploads_read_back"] > 0


def test_the_updater_of_a_group_without_draining_loses_uploads(tmp_path: Path) -> None:
    result = run("updater", roll_by_updater, drain=0, traffic=SMALL, folder=tmp_path / "updater", speed=100)
    assert result.code == 3, result.probe["summary"]


@pytest.mark.parametrize("number", range(1, 6))
def test_the_whole_demo_loses_nothing(number: int, tmp_path: Path) -> None:
    result = run("ours", roll_by_changeover, drain=300, traffic=Traffic(), folder=tmp_path / "own")
    assert result.code == 0, (result.probe["summary"], result.probe["failures_by_reason"])
