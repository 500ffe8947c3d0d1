"""What a probe counts for /metrics: every row once, zeros first, and a disk that fails stops no probe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.unit.in_loop import in_loop

from changeover.cli import probe_figures
from changeover.cli.probe_figures import LONGEST, VERSIONS, counting
from changeover.engine.figures import FILE, read_figures
from changeover.probe.records.row import LedgerRow, RequestOutcome


def row(outcome: RequestOutcome, latency: float = 0.02) -> LedgerRow:
    return LedgerRow("get", "/", 100, 100, 100 + latency, "fresh", outcome)


def requests(state: Path) -> dict[tuple[str, ...], float]:
    counts = read_figures(state, 0).counts
    return {labels: value for (name, labels), value in counts.items() if name == "probe_requests_total"}


@in_loop
async def test_every_row_is_counted_once_and_what_did_not_happen_is_zero(tmp_path: Path) -> None:
    notes: list[str] = []
    async with counting(tmp_path, notes.append) as (saw, tick):
        for outcome in ("ok", "ok", "lost"):
            saw(row(outcome))
            tick()
    seen, counts = requests(tmp_path), read_figures(tmp_path, 0).counts
    assert (seen["get", "ok"], seen["get", "lost"], seen["get", "corrupted"], seen["upload", "lost"]) == (2, 1, 0, 0)
    assert counts["probe_latency_seconds_bucket", ("get", "0.025")] == 3
    assert round(counts["probe_latency_seconds_sum", ("get",)], 3) == 0.06
    assert notes == []


@in_loop
async def test_rows_are_written_while_the_probe_runs(tmp_path: Path) -> None:
    async with counting(tmp_path, print) as (saw, tick):
        saw(row("lost"))
        figures = saw.__self__  # type: ignore[attr-defined]
        figures._written -= probe_figures._PAUSE
        tick()
        await figures._writing
        assert requests(tmp_path)["get", "lost"] == 1
        saw(row("ok"))
    assert requests(tmp_path)["get", "lost"] == 1
    assert requests(tmp_path)["get", "ok"] == 1


@in_loop
async def test_a_file_that_cannot_be_written_is_named_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("nonsense" * 100)
    notes: list[str] = []
    async with counting(tmp_path, notes.append) as (saw, tick):
        saw(row("ok"))
        tick()
    assert len(notes) == 1
    assert "the ledger has every request" in notes[0]


@in_loop
async def test_a_probe_of_a_url_counts_nothing(tmp_path: Path) -> None:
    async with counting(None, print) as (saw, tick):
        saw(row("ok"))
        tick()
    assert list(tmp_path.iterdir()) == []


@in_loop
async def test_requests_are_counted_by_version_and_the_versions_are_bounded(tmp_path: Path) -> None:
    def versions() -> dict[tuple[str, ...], float]:
        counts = read_figures(tmp_path, 0).counts
        return {labels: value for (name, labels), value in counts.items() if name == "probe_version_requests_total"}

    async with counting(tmp_path, print) as (saw, _):
        saw(replace(row("ok"), version="v1"))
        saw(replace(row("lost"), version=None))
        saw(replace(row("ok"), version="v2", kind="readback"))
    seen = versions()
    assert (seen["v1", "ok"], seen["v1", "lost"], seen["unknown", "lost"]) == (1, 0, 1)
    assert ("v2", "ok") not in seen
    async with counting(tmp_path, print) as (saw, _):
        for number in range(100):
            saw(replace(row("ok"), version=f"{number:04}" + "x" * 100))
        saw(replace(row("ok"), version="v1"))
    seen = versions()
    assert len({version for version, _ in seen}) == VERSIONS + 1
    assert max(len(version) for version, _ in seen) == LONGEST
    assert (seen["v1", "ok"], seen["other", "ok"]) == (2, 100 - (VERSIONS - 2))
    counts = read_figures(tmp_path, 0).counts
    assert counts["probe_version_latency_seconds_bucket", ("v1", "0.025")] == 2
