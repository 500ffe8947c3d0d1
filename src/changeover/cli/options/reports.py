"""Options of the commands that write a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

LedgerOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--ledger",
        help="Ledger of the probe for the report. May be repeated. Default: those in the state folder that have "
        "requests from the time of the rollout.",
    ),
]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write a report with pictures: one HTML page that needs no network."),
]
SummaryOption = Annotated[
    Path | None,
    typer.Option("--summary", metavar="FILE", help="Write the verdict as Markdown, for the log of a CI job."),
]


@dataclass(frozen=True)
class ReportFiles:
    """The files about a rollout that a command is to write."""

    page: Path | None = None
    markdown: Path | None = None

    @property
    def are_wanted(self) -> bool:
        return self.page is not None or self.markdown is not None

    @property
    def named(self) -> str:
        """The page, for messages that are sent before it is written; empty without one."""
        return "" if self.page is None else str(self.page.absolute())


NO_FILES = ReportFiles()
