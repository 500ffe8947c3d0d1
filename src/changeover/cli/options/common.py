"""Options that most commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

STATE: Final = Path(".changeover")
"""The state folder unless --state names another."""

FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="The chain file. Default: the file the chain was started from, else chain.yaml."),
]
StateOption = Annotated[Path, typer.Option("--state", help="Folder that holds the chain's state.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
