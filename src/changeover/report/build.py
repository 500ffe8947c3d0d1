"""Build a report from a journal, ledgers and facts. Reads files; refuses to choose what the report is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import RolloutRow
from changeover.model.errors import fail
from changeover.probe.records.ledger import read_ledger
from changeover.report.content import FORMAT, CommandPart, Report, RolloutPart
from changeover.report.requests import Window, from_ledgers, ledger_file
from changeover.report.rollouts import rollout_part

_LEAST_MARGIN = 5.0
"""Seconds before and after the rollouts that the pictures show, where traffic flowed then."""


def report_of_rollouts(
    journal: JournalReader,
    rows: Sequence[RolloutRow],
    ledgers: Sequence[Path],
    *,
    whole: bool = False,
    made: float,
    subject: str,
    floors: Mapping[str, int],
    chain_sha256: str | None,
    software: Mapping[str, str],
) -> Report:
    """The report of one rollout or more. `floors`: tier -> instances that must serve. Raises ChangeoverError.

    `whole`: the verdict is of every request of the ledgers, not only of those in the time of the rollouts.
    """
    window = window_of(rows, made)
    return Report(
        format=FORMAT,
        made=made,
        version=metadata.version("changeover"),
        subject=subject,
        start=window[0],
        end=window[1],
        requests=from_ledgers(
            [(path, ledger_file(path)) for path in ledgers], window, None if whole else counted_time(rows, made)
        ),
        rollouts=tuple(rollout_part(journal, row, floors.get(row.tier)) for row in rows),
        command=None,
        chain_sha256=chain_sha256,
        software=software,
    )


def counted_time(rows: Sequence[RolloutRow | RolloutPart], made: float) -> Window:
    """The time whose requests count: that of the rollouts, and a margin in which what they broke may show."""
    start, end = _lasted(rows, made)
    return start, end + _margin(start, end)


def window_of(rows: Sequence[RolloutRow | RolloutPart], made: float) -> Window:
    """The time that the pictures show: that of the rollouts, and a margin before and after it."""
    start, end = _lasted(rows, made)
    return start - _margin(start, end), end + _margin(start, end)


def _lasted(rows: Sequence[RolloutRow | RolloutPart], made: float) -> Window:
    return min(row.started for row in rows), max(made if row.ended is None else row.ended for row in rows)


def _margin(start: float, end: float) -> float:
    return max(_LEAST_MARGIN, 0.1 * (end - start))


def report_of_traffic(
    ledger: Path,
    *,
    made: float,
    subject: str,
    command: CommandPart | None,
    software: Mapping[str, str],
) -> Report | None:
    """The report of a probe alone; None for a ledger without a row. Raises ChangeoverError."""
    requests = from_ledgers([(ledger, ledger_file(ledger))], None)
    if requests is None:
        return None
    return Report(
        format=FORMAT,
        made=made,
        version=metadata.version("changeover"),
        subject=subject,
        start=requests.first,
        end=requests.last,
        requests=requests,
        rollouts=(),
        command=command,
        chain_sha256=None,
        software=software,
    )


def ledgers_during(folder: Path, window: Window) -> list[Path]:
    """The ledgers of a folder whose probes sent in that time, the oldest first. Raises ChangeoverError."""
    return [path for path in sorted(folder.glob("*.jsonl")) if _sent_during(path, window)]


def _sent_during(path: Path, window: Window) -> bool:
    """Whether it has a row in that time; without an end, also whether its probe lived then, which may have sent."""
    try:
        alive = path.stat().st_mtime
    except FileNotFoundError as error:  # a link to a ledger elsewhere, which the probe made when it began
        if path.lstat().st_mtime > window[1]:
            return False
        raise fail(
            f"a ledger is gone, and its probe may have sent requests in that time: {path.readlink()}",
            where=str(path),
            next="Move it back, name the ledgers with --ledger, or delete this link if that probe had ended before.",
        ) from error
    if alive < window[0]:
        return False
    file, began = ledger_file(path), alive
    for row in read_ledger(path, file.size):
        if row.scheduled <= window[1] and row.finished >= window[0]:
            return True
        began = min(began, row.scheduled)
    return not file.ended and began <= window[1]
