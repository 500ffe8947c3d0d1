"""A journal with one rollout and a ledger beside it, for tests of the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.unit.probe.rows import row

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import LogLine
from changeover.probe.records.ledger import Ledger
from changeover.probe.records.row import LedgerRow, RequestKind
from changeover.report.build import report_of_rollouts
from changeover.report.content import Report
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase

START, END = 1000.0, 1030.0


def journal_of_a_roll(folder: Path) -> Journal:
    """Of tier `runtime`, two old instances, of which the first was replaced; the second never moved."""
    journal = Journal(folder / "journal.db")
    journal.take_lease("roll", START)
    row = journal.begin_rollout(START, "runtime", "v1", "v2")
    for at, name, kind, text in (
        (START, "new-3", "command", "create instance: template v2"),
        (1002.0, "new-3", "phase", "creating -> warming: became ready"),
        (1003.0, "new-3", "phase", "warming -> ready: ready for min_ready"),
        (1004.0, "new-3", "phase", "ready -> admitted: every router admits it"),
        (1004.0, "old-1", "phase", "admitted -> leaving: retired"),
        (1005.0, "old-1", "phase", "leaving -> draining: out of every router"),
        (1024.0, "old-1", "phase", "draining -> drained: nothing in flight"),
        (1024.5, "old-1", "phase", "drained -> stopping: stop signal sent"),
        (1025.0, "old-1", "phase", "stopping -> gone: process ended"),
    ):
        journal.write_line(at, row.id, "runtime", LogLine(kind, text, name))
    old = {"creating": 900.0, "admitted": 905.0}
    for member in (
        Member("old-1", "v1", 1, Phase.GONE, {**old, "leaving": 1004.0, "drained": 1024.0, "gone": 1025.0}),
        Member("old-2", "v1", 2, Phase.ADMITTED, dict(old)),
        Member("new-3", "v2", 3, Phase.ADMITTED, {"creating": START, "admitted": 1004.0}),
    ):
        journal.write_member("runtime", member)
    journal.end_rollout(row.id, END, "completed", "")
    journal.release_lease()
    return journal


def rows_around(start: float = START - 3, end: float = END + 3) -> list[LedgerRow]:
    """A GET each half second, and one upload that spans the drain."""
    gets = [row(scheduled=at / 2, started=at / 2, finished=at / 2 + 0.02) for at in range(int(start * 2), int(end * 2))]
    upload = row(
        kind="upload",
        path="/up",
        scheduled=1001.0,
        started=1001.0,
        finished=1023.5,
        bytes_sent=50_000_000,
        instance="old-1",
    )
    return [*gets, upload]


def lost(at: float = 1010.0, **facts: object) -> LedgerRow:
    plain = {"scheduled": at, "started": at, "finished": at + 0.5, "outcome": "lost", "reason": "status 502"}
    return row(**{**plain, "tier_state": {"moving": "runtime"}, **facts})


def without_end(ledger: Path) -> Path:
    """The ledger as a killed probe leaves it."""
    ledger.write_text("".join(ledger.read_text(encoding="utf-8").splitlines(keepends=True)[:-1]), encoding="utf-8")
    return ledger


def ledger_of(folder: Path, rows: Iterable[LedgerRow], planned: Sequence[RequestKind] = ("get", "upload")) -> Path:
    path = folder / "ledger.jsonl"
    with Ledger(path, planned) as ledger:
        for one in rows:
            ledger.record(one)
    return path


def report_of(journal: JournalReader, ledgers: Sequence[Path], **facts: object) -> Report:
    given: dict[str, object] = {
        "made": END + 5,
        "subject": "Chain pair",
        "floors": {"runtime": 2},
        "chain_sha256": "ab" * 32,
        "software": {"nginx": "1.22.1"},
    }
    return report_of_rollouts(journal, journal.rollouts(), ledgers, **{**given, **facts})  # type: ignore[arg-type]
