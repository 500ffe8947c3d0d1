"""Check a report against its ledgers: count them again, and draw the page again. Trusts no number in the page.

`compare` checks what a report takes from the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

from changeover.model.errors import ChangeoverError, fail
from changeover.probe.records.ledger import read_ledger
from changeover.report.build import counted_time, window_of
from changeover.report.content import FORMAT, CommandPart, LedgerFile, Report, Requests
from changeover.report.page import DATA_END, DATA_START, render
from changeover.report.requests import from_ledgers, ledger_file


def read_report(page: str, where: str) -> Report:
    """The data of a page. Raises ChangeoverError where it is no report, or one of another format."""
    _, start, rest = page.partition(DATA_START)
    data, end, _ = rest.partition(DATA_END)
    if not start or not end:
        raise fail("this file is not a report of changeover", where=where)
    try:
        report = Report.model_validate_json(data)
    except ValidationError as error:
        raise fail(
            f"the data of this report cannot be read: {error.errors(include_url=False)[0]['msg']}",
            where=where,
            next="Use the version of changeover that made it.",
        ) from error
    if report.format != FORMAT:
        raise fail(f"the report has format {report.format}, this version of changeover reads {FORMAT}", where=where)
    return report


def untrue(page: str, report: Report, ledgers: Sequence[Path]) -> list[str]:
    """What the page says that is not so, in sentences; empty: the report is true.

    Raises ChangeoverError where a ledger cannot be read, or the report has no requests that could be checked.
    """
    if report.requests is None:
        raise fail("the report has no requests, so no ledger can show whether it is true")
    found = list(_ledgers(report.requests, ledgers))
    whole = report.requests.whole or not report.rollouts
    during = None if whole else counted_time(report.rollouts, report.made)
    try:
        ordered = _in_order(report.requests, ledgers)
        files = [(path, ledger_file(path, _size(report.requests, path))) for path in ordered]
        counted = from_ledgers(files, (report.start, report.end), during)
    except ChangeoverError as error:
        if not found:
            raise
        return [*found, str(error)]  # a ledger that was changed, and cannot be counted
    if counted is None:
        return [*found, "The ledgers have no row."]
    found += _requests(report.requests, counted)
    if not report.rollouts and (report.start, report.end) != (counted.first, counted.last):
        found.append("The pictures do not show the whole time of the traffic.")
    if report.rollouts and (report.start, report.end) != window_of(report.rollouts, report.made):
        found.append("The pictures do not show the time of the rollouts.")
    if report.command is not None:
        found += _command(report.command, files)
    return found + ([] if found else list(_page(page, report)))


def _size(requests: Requests, path: Path) -> int | None:
    """How much of that ledger the report read; None for a ledger that is not one of the report's."""
    return next((one.size for one in requests.ledgers if ledger_file(path, one.size).sha256 == one.sha256), None)


def _in_order(requests: Requests, paths: Sequence[Path]) -> list[Path]:
    """The given ledgers in the order of the report; others last."""
    order = {one.sha256: number for number, one in enumerate(requests.ledgers)}
    return sorted(paths, key=lambda path: order.get(ledger_file(path, _size(requests, path)).sha256, len(order)))


def _ledgers(requests: Requests, paths: Sequence[Path]) -> Iterator[str]:
    for one in requests.ledgers:
        if not any(ledger_file(path, one.size).sha256 == one.sha256 for path in paths):
            yield f"No given file begins with the {one.size:,} bytes of ledger {one.name} (SHA-256 {one.sha256})."
    for path in paths:
        if _size(requests, path) is None:
            yield f"{path} is no ledger of this report, or has changed."


def _requests(mine: Requests, counted: Requests) -> Iterator[str]:
    if mine.verdict.summary != counted.verdict.summary:
        yield f"The report says: {mine.verdict.summary}. The ledgers say: {counted.verdict.summary}."
    for name in type(mine.verdict).__dataclass_fields__:
        if (one := getattr(mine.verdict, name)) != (other := getattr(counted.verdict, name)):
            yield f"{name} is {one} in the report, and {other} by the ledgers."
    for name in (
        "whole",
        "others",
        "others_broken",
        "sent",
        "first",
        "last",
        "interval",
        "moments",
        "uploads",
        "uploads_in_window",
        "marks",
        "losses",
    ):
        if getattr(mine, name) != getattr(counted, name):
            yield f"The report's {name.replace('_', ' ')} are not those of the ledgers."
    if [one.planned for one in mine.ledgers] != [one.planned for one in counted.ledgers]:
        yield "The planned kinds of request are not those in the headers of the ledgers."
    for one, other in zip(mine.ledgers, counted.ledgers, strict=False):
        if one.ended != other.ended:
            yield f"Ledger {other.name} {'has an' if other.ended else 'has no'} end, and the report says otherwise."


def _command(command: CommandPart, files: Sequence[tuple[Path, LedgerFile]]) -> Iterator[str]:
    broken = [row.finished for path, file in files for row in read_ledger(path, file.size) if row.outcome != "ok"]
    counted = {
        "before": sum(at < command.started for at in broken),
        "during": sum(command.started <= at <= command.ended for at in broken),
        "after": sum(at > command.ended for at in broken),
    }
    for name, number in counted.items():
        if (mine := getattr(command, f"broken_{name}")) != number:
            yield f"The report counts {mine:,} broken requests {name} the command, the ledgers {number:,}."


def _page(page: str, report: Report) -> Iterator[str]:
    drawn = render(report)
    if drawn == page:
        return
    here = metadata.version("changeover")
    if report.version != here:
        raise fail(
            f"the data of the report is true; its page was drawn by version {report.version}, and this is {here}",
            state="The text of the page was not compared with the data.",
            next=f"Run `changeover verify` of version {report.version}.",
        )
    lines = zip([*page.splitlines(), ""], [*drawn.splitlines(), ""], strict=False)
    number = next((number for number, (one, other) in enumerate(lines, start=1) if one != other), 0)
    yield f"The page differs from its own data, in line {number}."
