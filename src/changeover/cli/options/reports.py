"""Options of the commands that write a report."""

from __future__ import annotations

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
