"""`changeover verify`: is a report true? Its ledgers are counted again, its rollouts compared, its page drawn again."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from changeover.cli import exits
from changeover.cli.frame import run_synchronous
from changeover.cli.options.common import JsonOption
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail
from changeover.report.compare import Comparison
from changeover.report.content import Report
from changeover.report.verify import read_report, untrue

JOURNAL = "journal.db"


def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report that `roll`, `probe` or `show` wrote.")],
    ledgers: Annotated[list[Path], typer.Argument(metavar="LEDGER...", help="The ledgers that it names.")],
    state: Annotated[
        Path | None,
        typer.Option("--state", help="Folder with the journal of its rollouts. Default: that of the ledgers."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Check a report against the ledgers and the journal that it was made from. Exits 1 if it is not true.

    Every number of the requests is counted again, every rollout is compared with the journal, and the page is drawn
    again and compared. What the journal no longer knows is named. Without a journal, the rollouts of a report cannot be
    checked, and the exit code is 2.
    """
    run_synchronous(json, lambda output: _verify(output, report, ledgers, state))


def _verify(output: Output, path: Path, ledgers: list[Path], state: Path | None) -> int:
    try:
        page = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(f"the report cannot be read: {reason}", where=str(path)) from error
    report = read_report(page, str(path))
    compared = _with_journal(report, state or _state_of(ledgers))
    problems = [*untrue(page, report, ledgers), *compared.untrue]
    if not problems and report.rollouts and state is None and _state_of(ledgers) is None:
        raise fail(
            "the requests of the report are true; its rollouts cannot be checked, because no ledger lies in a state "
            "folder with a journal",
            where=str(path),
            next="Name the chain's folder with --state.",
        )
    data = {
        "true": not problems,
        "problems": problems,
        "not_compared": compared.unknown,
        "conclusion": report.conclusion,
        "gaps": list(report.gaps),
        "summary": report.summary,
    }
    lines = ["The report is not true.", *problems] if problems else [f"The report is true: {report.summary}."]
    if report.conclusion == "unproved":
        lines += [f"Not proved: {gap}" for gap in report.gaps]
    output.result(data, "\n".join([*lines, *(f"Not compared: {text}" for text in compared.unknown)]))
    return exits.ROLLED_BACK if problems else exits.DONE


def _state_of(ledgers: list[Path]) -> Path | None:
    """The state folder that holds a ledger, in its folder `ledgers` or beside the journal."""
    folders = (folder for path in ledgers for folder in path.absolute().parents[:2])
    return next((folder for folder in folders if (folder / JOURNAL).exists()), None)


def _with_journal(report: Report, state: Path | None) -> Comparison:
    if state is None or not report.rollouts:
        return Comparison()
    from changeover.cli.chains import stored_journal  # here: a report of a probe alone needs no chain
    from changeover.cli.reports import compare_chain
    from changeover.report.compare import with_journal

    with contextlib.closing(stored_journal(state)) as journal:
        found = with_journal(report, journal)
    compare_chain(found, report, state)
    return found
