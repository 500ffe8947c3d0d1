"""`changeover verify`: is a report true? The ledgers are counted again, and the page is drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from changeover.cli import exits
from changeover.cli.frame import run_synchronous
from changeover.cli.options.common import JsonOption
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail
from changeover.report.verify import read_report, untrue


def verify(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report that `roll`, `probe` or `show` wrote.")],
    ledgers: Annotated[list[Path], typer.Argument(metavar="LEDGER...", help="The ledgers that it names.")],
    json: JsonOption = False,
) -> None:
    """Check a report against the ledgers that it was made from. Exits 1 if it is not true.

    Every number of the requests is counted again, and the page is drawn again and compared. What the report takes from
    the journal (rollouts, instances, drains) is not in a ledger, and is not checked.
    """
    run_synchronous(json, lambda output: _verify(output, report, ledgers))


def _verify(output: Output, path: Path, ledgers: list[Path]) -> int:
    try:
        page = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(f"the report cannot be read: {reason}", where=str(path)) from error
    report = read_report(page, str(path))
    problems = untrue(page, report, ledgers)
    data = {
        "true": not problems,
        "problems": problems,
        "conclusion": report.conclusion,
        "gaps": list(report.gaps),
        "summary": report.summary,
    }
    true = [f"The report is true: {report.summary}."]
    if report.conclusion == "unproved":
        true += [f"Not proved: {gap}" for gap in report.gaps]
    text = "\n".join(["The report is not true.", *problems] if problems else true)
    output.result(data, text)
    return exits.ROLLED_BACK if problems else exits.DONE
