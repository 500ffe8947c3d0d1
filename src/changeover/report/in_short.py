"""The verdict of rollouts that have just ended, in one line for notifications. Refuses to raise: a rollout goes on.

It counts the ledgers in the state folder. A probe that still sends is named: its requests in flight have no outcome.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection
from pathlib import Path

from changeover.engine.journal.reading import JournalReader
from changeover.model.errors import ChangeoverError
from changeover.model.units import human_bytes
from changeover.report.build import ledgers_during, report_of_rollouts
from changeover.report.content import HEADLINES, Report

MOST = 256_000_000
"""Bytes of ledgers that are counted for a message, which the end of a rollout waits for: about half a minute."""


def in_one_line(report: Report) -> str:
    """`Not proved: 0 lost, 0 duplicated, 0 corrupted of 96 GET and 1 POST (50.0 MB). The probe was killed: …`"""
    return " ".join([f"{HEADLINES[report.conclusion]}: {report.summary}.", *report.broke, *report.gaps, *report.aside])


def verdict_of(journal_file: Path, ledgers: Path, numbers: Collection[int]) -> str:
    """The line about these rollouts. `ledgers`: the folder of the ledgers."""
    now = time.time()
    try:
        with contextlib.closing(JournalReader(journal_file)) as journal:
            rows = [row for row in journal.rollouts() if row.id in numbers]
            window = min(row.started for row in rows), max(now if row.ended is None else row.ended for row in rows)
            during = [path for path in ledgers.glob("*.jsonl") if path.exists() and path.stat().st_mtime >= window[0]]
            if (size := sum(path.stat().st_size for path in during)) > MOST:
                return f"Not proved: the ledgers have {human_bytes(size)}, too many to count them for this message."
            report = report_of_rollouts(
                journal,
                rows,
                ledgers_during(ledgers, window),
                made=now,
                subject="",
                floors={},
                chain_sha256=None,
                software={},
            )
    except (ChangeoverError, OSError, sqlite3.Error, ValueError) as error:
        return f"Not proved: the requests cannot be counted: {error}"
    return in_one_line(report)
