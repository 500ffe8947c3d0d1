from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.unit.report.reports import journal_of_a_roll, ledger_of, lost, report_of, rows_around

from changeover.engine.journal.journal import Journal
from changeover.report.content import Report
from changeover.report.page import DATA_END, DATA_START, render


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(journal_of_a_roll(tmp_path)) as found:
        yield found


class Balanced(HTMLParser):
    """Fails at an element that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_says_the_verdict_first_and_in_absolute_counts(journal: Journal, tmp_path: Path) -> None:
    page = render(report_of(journal, [ledger_of(tmp_path, rows_around())]))
    body = page.partition("<body>")[2]
    assert body.index("No request broke") < body.index(
        "0 lost, 0 duplicated, 0 corrupted of 66 GET and 1 POST (50.0 MB)"
    )
    assert body.index("(50.0 MB)") < body.index("<table>")


def test_the_page_loads_nothing_and_runs_nothing(journal: Journal, tmp_path: Path) -> None:
    page = render(report_of(journal, [ledger_of(tmp_path, [*rows_around(), lost()])]))
    assert re.findall(r"<script[^>]*>", page) == [DATA_START]
    assert not re.search(r"(?:src|href|action)=|url\((?!#)|@import|https?://", page)
    assert len(page) < 1_500_000
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert {"svg", "rect", "polyline", "path"} <= set(parser.tags)


def test_every_text_from_outside_is_escaped(journal: Journal, tmp_path: Path) -> None:
    bad = "</script><script>alert(1)</script>&\"'"
    rows = [*rows_around(), lost(path=bad, reason=bad, instance=bad, tier_state={"moving": bad})]
    upload = lost(kind="upload", path="/up", instance=bad, version=bad)
    page = render(report_of(journal, [ledger_of(tmp_path, [*rows, upload])], subject=bad, software={bad: bad}))
    assert "<script>alert" not in page
    assert page.count("</script>") == 1
    Balanced().feed(page)


def test_the_page_carries_its_data_and_the_same_data_gives_the_same_page(journal: Journal, tmp_path: Path) -> None:
    report = report_of(journal, [ledger_of(tmp_path, [*rows_around(), lost()])])
    page = render(report)
    data = page.partition(DATA_START)[2].partition(DATA_END)[0]
    again = Report.model_validate_json(data)
    assert again == report
    assert render(again) == page
    assert json.loads(data)["requests"]["verdict"]["counts"]["get"]["lost"] == 1


def test_a_report_without_traffic_is_a_page_too(journal: Journal) -> None:
    page = render(report_of(journal, []))
    assert "Not proved" in page
    assert "No probe sent traffic in that time" in page


def test_old_and_new_differ_by_a_pattern_and_not_only_by_colour(journal: Journal) -> None:
    page = render(report_of(journal, []))
    assert 'id="old"' in page
    (hatch,) = re.findall('<path class="hatched" d="([^"]*)"', page)  # one for all: printers embed it each time
    assert hatch.count("M") == 4  # old-1 serves, leaves and drains; old-2 serves
