from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.unit.probe.rows import row
from tests.unit.report.reports import (
    END,
    START,
    journal_of_a_roll,
    ledger_of,
    lost,
    report_of,
    rows_around,
    without_end,
)

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.records import INTERRUPTION, LogLine, LogRow
from changeover.model.errors import ChangeoverError
from changeover.probe.records.ledger import Ledger
from changeover.probe.verdict import judge_rows
from changeover.report.build import ledgers_during, report_of_traffic
from changeover.report.content import Report, Serving
from changeover.report.page import render
from changeover.report.requests import BARS, LOSSES, MOMENTS, from_ledgers, ledger_file
from changeover.report.rollouts import rollout_part
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(journal_of_a_roll(tmp_path)) as found:
        yield found


def test_a_rollout_under_traffic_without_a_broken_request_is_clean(journal: Journal, tmp_path: Path) -> None:
    report = report_of(journal, [ledger_of(tmp_path, rows_around())])
    assert (report.conclusion, report.gaps, report.broke) == ("clean", (), ())
    assert report.summary == "0 lost, 0 duplicated, 0 corrupted of 66 GET and 1 POST (50.0 MB)"


def test_one_lost_request_makes_the_report_broken_and_names_the_moving_tier(journal: Journal, tmp_path: Path) -> None:
    report = report_of(journal, [ledger_of(tmp_path, [*rows_around(), lost()])])
    assert report.conclusion == "broken"
    assert report.requests is not None
    assert [(one.tier, one.reason, one.count) for one in report.requests.marks] == [("runtime", "status 502", 1)]


def test_a_loss_long_before_the_rollout_is_named_and_breaks_no_report_of_it(journal: Journal, tmp_path: Path) -> None:
    """As a probe leaves it that runs beside a service for weeks."""
    report = report_of(journal, [ledger_of(tmp_path, [*rows_around(), lost(START - 900), lost(END + 900)])])
    assert report.requests is not None
    assert (report.conclusion, report.gaps) == ("clean", ())
    assert report.summary.startswith("0 lost, 0 duplicated, 0 corrupted of 66 GET")
    assert (report.requests.losses, report.requests.others) == ((), 8)
    assert report.aside == ("At other times, 2 requests of these ledgers broke. They are not counted here.",)
    assert report.aside[0] in render(report)


def test_of_ledgers_that_are_named_every_request_counts(journal: Journal, tmp_path: Path) -> None:
    report = report_of(journal, [ledger_of(tmp_path, [*rows_around(), lost(START - 900)])], whole=True)
    assert report.requests is not None
    assert (report.conclusion, len(report.requests.losses), report.requests.others) == ("broken", 1, 0)


def test_a_request_of_the_rollout_that_times_out_after_it_is_counted(journal: Journal, tmp_path: Path) -> None:
    late = lost(END - 1, finished=END + 60)
    assert report_of(journal, [ledger_of(tmp_path, [*rows_around(), late])]).conclusion == "broken"


def test_an_interruption_in_the_journal_makes_it_broken_although_the_probe_lost_nothing(
    journal: Journal, tmp_path: Path
) -> None:
    journal.take_lease("roll", END)
    journal.write_line(END, 1, "runtime", LogLine(INTERRUPTION, "The load balancer ended."))
    report = report_of(journal, [ledger_of(tmp_path, rows_around())])
    assert (report.conclusion, report.broke) == ("broken", ("The load balancer ended.",))


def test_a_rollout_without_traffic_proves_nothing(journal: Journal) -> None:
    report = report_of(journal, [])
    assert (report.conclusion, report.summary) == ("unproved", "no requests were counted")


@pytest.mark.parametrize(
    ("start", "end", "gap"),
    [
        (START + 4, END + 3, "The traffic began 4.0 s after the rollout."),
        (START - 3, END - 7, "The traffic ended 7.5 s before the rollout."),
    ],
)
def test_traffic_that_does_not_cover_the_rollout_proves_nothing(
    journal: Journal, tmp_path: Path, start: float, end: float, gap: str
) -> None:
    gets = [one for one in rows_around(start, end) if one.kind == "get"]
    report = report_of(journal, [ledger_of(tmp_path, gets, planned=["get"])])
    assert (report.conclusion, report.gaps) == ("unproved", (gap,))


def test_a_pause_between_two_probes_proves_nothing(journal: Journal, tmp_path: Path) -> None:
    gets = [row for row in rows_around() if row.kind == "get"]

    def report(until: float, then: float) -> Report:
        parts = {
            "a": [row for row in gets if row.scheduled < until],
            "b": [row for row in gets if row.scheduled >= then],
        }
        return report_of(
            journal, [ledger_of(tmp_path / f"{until} {name}", rows, ["get"]) for name, rows in parts.items()]
        )

    assert report(1016.0, 1015.0).conclusion == "clean"
    assert report(1010.0, 1010.0).conclusion == "clean"
    assert report(1009.0, 1015.0).gaps == ("No probe sent from 8.5 s to 15.0 s after the start of the rollout.",)


def test_a_planned_kind_without_success_proves_nothing(journal: Journal, tmp_path: Path) -> None:
    gets = [one for one in rows_around() if one.kind == "get"]
    report = report_of(journal, [ledger_of(tmp_path, gets)])
    assert (report.conclusion, report.gaps) == ("unproved", ("No upload succeeded.",))


def test_a_ledger_that_names_no_planned_kinds_proves_nothing(journal: Journal, tmp_path: Path) -> None:
    report = report_of(journal, [ledger_of(tmp_path, rows_around(), planned=())])
    assert report.gaps == ("The ledger does not say which kinds of request were planned.",)


def test_a_probe_that_still_sends_proves_nothing_until_it_has_ended(journal: Journal, tmp_path: Path) -> None:
    with Ledger(tmp_path / "sending.jsonl", planned=["get", "upload"]) as ledger:
        for one in rows_around():
            ledger.record(one)
        ledger.flush()
        report = report_of(journal, [ledger.path])
        gap = "The probe was still sending: the outcome of its requests in flight was not known yet."
        assert (report.conclusion, report.gaps) == ("unproved", (gap,))
    assert report_of(journal, [ledger.path]).conclusion == "clean"


def test_a_probe_that_was_killed_proves_nothing(journal: Journal, tmp_path: Path) -> None:
    report = report_of(journal, [without_end(ledger_of(tmp_path, rows_around()))])
    gap = "The probe was killed: ledger ledger.jsonl has no end; the outcome of its requests in flight is not known."
    assert (report.conclusion, report.gaps) == ("unproved", (gap,))


def test_one_killed_probe_of_two_proves_nothing_although_it_left_no_row(journal: Journal, tmp_path: Path) -> None:
    whole, killed = ledger_of(tmp_path / "ledgers", rows_around()), tmp_path / "ledgers" / "killed.jsonl"
    killed.write_text("")
    os.utime(killed, (START + 1, START + 1))  # when it last lived
    found = ledgers_during(killed.parent, (START, END))
    assert found == [killed, whole]
    assert report_of(journal, found).conclusion == "unproved"


@pytest.mark.parametrize(("lived_until", "taken"), [(START - 1, False), (START + 1, True), (END + 9, True)])
def test_a_killed_probe_counts_if_it_lived_during_the_rollout(tmp_path: Path, lived_until: float, taken: bool) -> None:
    rows = [one for one in rows_around() if one.finished < START]
    ledger = without_end(ledger_of(tmp_path, rows))
    os.utime(ledger, (lived_until, lived_until))
    assert ledgers_during(tmp_path, (START, END)) == [ledger] * taken


def test_a_probe_that_ended_before_the_rollout_does_not_count(tmp_path: Path) -> None:
    ledger_of(tmp_path, [one for one in rows_around() if one.finished < START])
    assert ledgers_during(tmp_path, (START, END)) == []


def test_an_unfinished_rollout_proves_nothing(journal: Journal, tmp_path: Path) -> None:
    journal.take_lease("roll", END)
    journal.begin_rollout(END, "edge", "v1", "v2")
    report = report_of(journal, [ledger_of(tmp_path, rows_around(end=END + 9))])
    assert "Rollout 2 of tier edge is unfinished." in report.gaps


def test_instances_have_their_phases_and_drain_times(journal: Journal, tmp_path: Path) -> None:
    (part,) = report_of(journal, []).rollouts
    lines = {line.name: line for line in part.instances}
    assert [(span.phase, span.start, span.end) for span in lines["old-1"].spans] == [
        ("admitted", START, 1004.0),
        ("leaving", 1004.0, 1005.0),
        ("draining", 1005.0, 1024.0),
        ("drained", 1024.0, 1024.5),
        ("stopping", 1024.5, 1025.0),
    ]
    assert [(span.phase, span.start, span.end) for span in lines["old-2"].spans] == [("admitted", START, END)]
    assert lines["new-3"].spans[0].phase == "creating"
    assert {name: line.is_new for name, line in lines.items()} == {"old-1": False, "old-2": False, "new-3": True}
    assert lines["old-1"].drained_in == 20.0
    assert [line.template for line in lines.values()] == ["v1", "v1", "v2"]


def test_the_number_in_service_is_compared_with_the_floor(journal: Journal) -> None:
    (part,) = report_of(journal, []).rollouts
    assert part.serving == (Serving(at=START, count=2), Serving(at=1004.0, count=2))
    assert (part.lowest, part.floor) == (2, 2)


def test_a_first_start_has_no_floor_since_nothing_served_before_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal.take_lease("up", START)
    row = journal.begin_rollout(START, "runtime", "", "v1")
    journal.write_member("runtime", Member("new-1", "v1", 1, Phase.ADMITTED, {"creating": START, "admitted": 1004.0}))
    journal.end_rollout(row.id, END, "completed", "")
    assert [one.floor for one in report_of(journal, []).rollouts] == [None]


def test_after_down_the_number_in_service_is_not_known_and_phases_still_are(journal: Journal) -> None:
    journal.take_lease("down", END)
    journal._db.execute("delete from members")
    (part,) = report_of(journal, []).rollouts
    assert (part.serving, part.lowest) == ((), None)
    assert {line.name: line.template for line in part.instances} == {"old-1": "v1", "new-3": "v2"}


def test_the_verdict_is_that_of_the_probe(tmp_path: Path) -> None:
    rows = [*rows_around(), lost(), lost(1011.0, outcome="corrupted")]
    report = report_of_traffic(ledger_of(tmp_path, rows), made=END, subject="x", command=None, software={})
    assert report is not None
    assert report.requests is not None
    theirs, mine = judge_rows(rows, ("get", "upload")).to_dict(), report.requests.verdict.to_dict()
    assert {**theirs, "first_failures": []} == mine


def test_a_ledger_without_a_row_gives_no_requests(tmp_path: Path) -> None:
    path = ledger_of(tmp_path, [])
    assert from_ledgers([(path, ledger_file(path))], None) is None


def test_a_ledger_that_grows_is_read_up_to_the_size_in_the_report(tmp_path: Path) -> None:
    path = ledger_of(tmp_path, rows_around())
    file = ledger_file(path)
    with path.open("a") as more:
        more.write('{"half a row')
    assert ledger_file(path) == file
    requests = from_ledgers([(path, file)], None)
    assert requests is not None
    assert requests.verdict.counts["get"].sent == 72


def test_long_runs_give_bounded_pictures_that_say_what_they_leave_out(tmp_path: Path) -> None:
    uploads = [
        row(kind="upload", path="/u", scheduled=at, started=at, finished=at + 1, bytes_sent=9)
        for at in range(1000, 1900)
    ]
    broken = [lost(1000.0 + number, path="/x?token=secret") for number in range(400)]
    path = ledger_of(tmp_path, [*uploads, *broken])
    requests = from_ledgers([(path, ledger_file(path))], None)
    assert requests is not None
    assert (len(requests.uploads), requests.uploads_in_window) == (BARS, 900)
    assert len(requests.moments) <= MOMENTS + 1
    assert (len(requests.losses), requests.verdict.lost) == (LOSSES, 400)
    assert sum(one.count for one in requests.marks) == 400
    assert {one.path for one in requests.losses} == {"/x"}


def test_only_ledgers_from_the_time_of_the_rollout_are_taken(tmp_path: Path) -> None:
    folder = tmp_path / "ledgers"
    path = ledger_of(folder, rows_around())
    assert ledgers_during(folder, (START, END)) == [path]
    assert ledgers_during(folder, (END + 100, END + 200)) == []


def test_a_ledger_elsewhere_counts_and_one_that_is_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    ledger = ledger_of(tmp_path / "elsewhere", rows_around())
    (tmp_path / "1.jsonl").symlink_to(ledger)
    assert ledgers_during(tmp_path, (START, END)) == [tmp_path / "1.jsonl"]
    ledger.unlink()
    assert ledgers_during(tmp_path, (START, END)) == []  # its probe began after that time
    with pytest.raises(ChangeoverError, match="a ledger is gone"):
        ledgers_during(tmp_path, (START, time.time() + 9))


class SeenRow(LogRow):
    """Counts how often any line is asked for its instance."""

    seen: ClassVar[int] = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "instance":
            SeenRow.seen += 1
        return super().__getattribute__(name)


def test_what_an_instance_costs_to_report_does_not_grow_with_its_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks(size: int) -> float:
        folder = tmp_path / str(size)
        folder.mkdir()
        SeenRow.seen = 0
        with closing(journal_of_a_roll(folder)) as journal:
            lines = [
                SeenRow(START + n, f"forgotten-{n}", "phase", text)
                for n in range(size)
                for text in ("admitted -> leaving: retired", "leaving -> draining: out of every router")
            ]
            monkeypatch.setattr(journal, "log", lambda _: lines)
            (row,) = journal.rollouts()
            assert rollout_part(journal, row, 2).instances_in_all == size + 3
        return SeenRow.seen / size

    assert looks(200) <= looks(20)
