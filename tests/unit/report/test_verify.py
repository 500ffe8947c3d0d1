from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.report.reports import journal_of_a_roll, ledger_of, lost, report_of, rows_around, without_end
from typer.testing import CliRunner

from changeover.cli.exits import COULD_NOT, DONE, ROLLED_BACK
from changeover.cli.main import cli
from changeover.engine.journal.journal import Journal
from changeover.report.content import Report
from changeover.report.markdown import summary
from changeover.report.page import render


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(journal_of_a_roll(tmp_path)) as found:
        yield found


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return ledger_of(tmp_path, [*rows_around(), lost(), lost(1011.0)])


@pytest.fixture
def report(journal: Journal, ledger: Path) -> Report:
    return report_of(journal, [ledger])


def verify(page: str, *ledgers: Path) -> tuple[int, str]:
    file = ledgers[0].parent / "page.html"
    file.write_text(page)
    ran = CliRunner(env={"COLUMNS": "1000"}).invoke(cli, ["verify", str(file), *map(str, ledgers)])
    return ran.exit_code, ran.output


def test_a_report_with_the_ledger_that_it_was_made_from_is_true(report: Report, ledger: Path) -> None:
    code, printed = verify(render(report), ledger)
    assert code == DONE
    assert printed.startswith("The report is true: 2 lost, 0 duplicated, 0 corrupted of 68 GET and 1 POST (50.0 MB).\n")


def test_a_ledger_that_has_grown_since_is_no_fault(report: Report, ledger: Path) -> None:
    with ledger.open("a", encoding="utf-8") as more:
        more.write(ledger.read_text(encoding="utf-8").splitlines()[1] + "\n")
    assert verify(render(report), ledger)[0] == DONE


def test_a_number_changed_in_the_text_alone_is_found(report: Report, ledger: Path) -> None:
    page = render(report)
    code, printed = verify(page.replace("<strong>2 lost", "<strong>0 lost"), ledger)
    assert (code, "differs from its own data" in printed) == (ROLLED_BACK, True)


def test_numbers_changed_in_data_and_text_alike_are_found(report: Report, ledger: Path) -> None:
    data = report.model_dump_json().replace('"lost":2', '"lost":0')
    code, printed = verify(render(Report.model_validate_json(data)), ledger)
    assert code == ROLLED_BACK
    assert "The ledgers say: 2 lost" in printed


@pytest.mark.parametrize("was", ['"status 502"', '"outcome":"lost"', '"/up"'])
def test_a_changed_row_of_the_ledger_is_found(report: Report, ledger: Path, was: str) -> None:
    changed = {'"status 502"': '"status 503"', '"outcome":"lost"': '"outcome":"ok"', '"/up"': '"/uq"'}[was]
    text = ledger.read_text(encoding="utf-8")
    assert was in text
    ledger.write_text(text.replace(was, changed, 1), encoding="utf-8")
    code, printed = verify(render(report), ledger)
    assert (code, "or has changed" in printed) == (ROLLED_BACK, True)


def test_a_row_that_was_removed_is_found(report: Report, ledger: Path) -> None:
    ledger.write_text(
        "".join(line for line in ledger.read_text(encoding="utf-8").splitlines(True) if '"lost"' not in line),
        encoding="utf-8",
    )
    assert verify(render(report), ledger)[0] == ROLLED_BACK


def test_a_true_report_of_a_killed_probe_says_that_it_proves_nothing(journal: Journal, tmp_path: Path) -> None:
    ledger = without_end(ledger_of(tmp_path, rows_around()))
    report = report_of(journal, [ledger])
    code, printed = verify(render(report), ledger)
    assert (code, "Not proved: The probe was killed" in printed) == (DONE, True)
    assert "⚠️ Not proved" in summary(report)
    assert "The probe was killed" in summary(report)


def test_a_report_that_gives_a_killed_probe_an_end_is_not_true(journal: Journal, tmp_path: Path) -> None:
    ledger = without_end(ledger_of(tmp_path, rows_around()))
    forged = report_of(journal, [ledger]).model_dump_json().replace('"ended":false', '"ended":true')
    code, printed = verify(render(Report.model_validate_json(forged)), ledger)
    assert (code, "has no end, and the report says otherwise" in printed) == (ROLLED_BACK, True)


def test_a_file_that_is_no_report_cannot_be_judged(ledger: Path) -> None:
    code, printed = verify("<html></html>", ledger)
    assert (code, "not a report of changeover" in printed) == (COULD_NOT, True)


def test_a_report_without_requests_cannot_be_judged(journal: Journal, ledger: Path) -> None:
    assert verify(render(report_of(journal, [])), ledger)[0] == COULD_NOT


def test_a_page_that_another_version_drew_differently_cannot_be_judged(report: Report, ledger: Path) -> None:
    page = render(report.model_copy(update={"version": "0.0.1"})).replace("<h2>Evidence</h2>", "<h2>Proof</h2>")
    code, printed = verify(page, ledger)
    assert (code, "drawn by version 0.0.1" in printed) == (COULD_NOT, True)


def test_the_markdown_has_the_same_counts_and_escapes_what_it_shows(report: Report) -> None:
    text = summary(report.model_copy(update={"subject": "a|b <script>"}), "report.html")
    assert text.startswith("### ❌ Requests broke: a\\|b \\<script\\>\n")
    assert "| get | 68 | 66 | 2 | 0 | 0 |" in text
    assert "| 2 | status 502 |" in text
    assert "| 1 | runtime | v1 → v2 | completed | 30s | 2 | 2 |" in text
    assert text.endswith("Report: report.html\n")
