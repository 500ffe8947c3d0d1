from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.report.reports import START, journal_of_a_roll, ledger_of, lost, rows_around, without_end

from changeover.probe.records.ledger import Ledger
from changeover.report import in_short
from changeover.report.in_short import verdict_of


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    with closing(journal_of_a_roll(tmp_path)):
        return tmp_path / "journal.db"


def told(journal: Path) -> str:
    return verdict_of(journal, journal.parent / "ledgers", [1])


def test_the_verdict_of_a_message_is_one_line_with_absolute_counts(journal: Path, tmp_path: Path) -> None:
    ledger_of(tmp_path / "ledgers", rows_around())
    assert told(journal) == "No request broke: 0 lost, 0 duplicated, 0 corrupted of 66 GET and 1 POST (50.0 MB)."


def test_a_lost_request_is_in_the_message(journal: Path, tmp_path: Path) -> None:
    ledger_of(tmp_path / "ledgers", [*rows_around(), lost()])
    assert told(journal).startswith("Requests broke: 1 lost, ")


def test_without_a_probe_the_message_says_that_nothing_is_proved(journal: Path) -> None:
    assert told(journal).startswith("Not proved: no requests were counted. No probe sent traffic")


def test_a_probe_that_still_sends_is_named(journal: Path, tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledgers" / "now.jsonl", ["get"]) as ledger:
        for one in rows_around(end=START + 20):
            ledger.record(one)
        ledger.flush()
        text = told(journal)
    assert text.startswith("Not proved: 0 lost, ")
    assert text.endswith("The probe was still sending: the outcome of its requests in flight was not known yet.")


def test_a_killed_probe_is_named(journal: Path, tmp_path: Path) -> None:
    without_end(ledger_of(tmp_path / "ledgers", rows_around()))
    assert "The probe was killed" in told(journal)


def test_what_cannot_be_counted_is_named_and_raises_nothing(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = ledger_of(tmp_path / "ledgers", rows_around())
    with monkeypatch.context() as patched:
        patched.setattr(in_short, "MOST", 100)
        assert told(journal).startswith("Not proved: the ledgers have ")
    ledger.write_text("{}\n")
    assert told(journal).startswith("Not proved: the requests cannot be counted: ")
    assert verdict_of(journal, tmp_path / "ledgers", [7]).startswith("Not proved: the requests cannot be counted: ")
