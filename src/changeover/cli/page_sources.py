"""What the page of `changeover serve` reads and does: the data of `status`, `history` and `show`, and commands.

A command of the page is a process of its own, as if an operator had run it, so that the end of the server ends none.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from changeover.cli.chains import as_it_runs, stored_journal
from changeover.cli.commands.history import history_data, rollout_row, show_data
from changeover.cli.commands.status import NOTHING_STARTED
from changeover.cli.reports import rollouts_report
from changeover.cli.survey import survey
from changeover.report.page import render
from changeover.web.sources import Data, Done, Sources

PATIENCE = 15.0
"""Seconds for which a request waits for its command: longer than a controller has for its answer."""


async def status(state: Path) -> Data:
    """The object of `status --json`. Raises ChangeoverError."""
    found = as_it_runs(state)
    if found is None:
        return NOTHING_STARTED
    with contextlib.closing(found.journal()) as journal:
        return await survey(found, journal)


def report(state: Path, number: int) -> str:
    """The page of `show NUMBER --html`. Raises ChangeoverError."""
    with contextlib.closing(stored_journal(state)) as journal:
        return render(rollouts_report(journal, [rollout_row(journal, number)]))


async def run(state: Path, words: Sequence[str]) -> Done:
    """Run `changeover WORDS` on a chain. Without patience left, it works on."""
    command = [sys.executable, "-m", "changeover", *words, "--state", str(state), "--json"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as progress:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=progress, start_new_session=True
        )
        try:
            code = await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            return Done(None, process.pid, {})
        out.seek(0)
        progress.seek(0)
        written, printed = out.read(), progress.read().decode(errors="replace").strip()
    try:
        data = json.loads(written)
    except ValueError:  # such as the usage of a command, which is no object
        what = printed.splitlines()[-1] if printed else f"the command has ended with exit code {code}"
        data = {"error": [{"what": what, "where": "", "state": "", "next": ""}], "exit_code": code}
    return Done(code, process.pid, data)


SOURCES = Sources(status, history_data, show_data, report, run)
