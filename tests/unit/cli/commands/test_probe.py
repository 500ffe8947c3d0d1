"""What `probe` prints and its exit code. The traffic itself: tests/unit/probe and tests/process."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.standing import StandingChain

from changeover.cli.commands.probe import new_ledger, progress_line
from changeover.cli.exits import COULD_NOT, INTERRUPTED
from changeover.probe.traffic import ProbeProgress


def test_a_server_that_does_not_answer_is_an_interruption_and_the_ledger_stays(tmp_path: Path) -> None:
    words = ("--url", "http://127.0.0.1:9", "--duration", "200ms", "--rate", "20", "--uploads", "0", "--json")
    broken = StandingChain(tmp_path).run("probe", *words)
    assert broken.code == INTERRUPTED
    assert broken.json["lost"] > 0
    assert Path(broken.json["ledger"]).read_text(encoding="utf-8")


def test_without_a_url_the_chain_must_be_up(tmp_path: Path) -> None:
    refused = StandingChain(tmp_path).run("probe")
    assert refused.code == COULD_NOT
    assert "no chain is up" in refused.err


def test_a_duration_without_its_unit_is_a_usage_error(chain: StandingChain) -> None:
    refused = chain.run("probe", "--duration", "much")
    assert refused.code == COULD_NOT
    assert "--duration" in refused.err


def test_each_run_has_a_ledger_of_its_own(tmp_path: Path) -> None:
    assert new_ledger(tmp_path) != new_ledger(tmp_path)
    assert new_ledger(tmp_path).parent == tmp_path / "ledgers"


def test_the_progress_line_counts_what_is_in_flight_and_what_broke() -> None:
    now = ProbeProgress(12.3, 3600, 6, 4, 310_200_000, lost=1, duplicated=0, corrupted=2, p99=8.14)
    assert progress_line(now) == (
        "  12 s  3,600 GET (p99 8.1 ms)  6 uploads done, 4 in flight (310.2 MB)  1 lost, 0 duplicated, 2 corrupted"
    )
    assert "p99" not in progress_line(ProbeProgress(0.0, 0, 0, 0, 0, 0, 0, 0, None))
