"""Reports of rollouts for the commands that write them: which ledgers, chain file and software they are about."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from changeover.chain_files import COPY, read_chain
from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import RolloutRow
from changeover.kit.files import write_whole
from changeover.model.errors import ChangeoverError
from changeover.report.build import ledgers_during, report_of_rollouts
from changeover.report.content import Report
from changeover.report.page import HEADLINES, render
from changeover.report.software import versions

LEDGERS = "ledgers"
"""Folder of a chain's ledgers, in its state folder."""


@dataclass(frozen=True)
class _ChainFacts:
    subject: str
    floors: dict[str, int] = field(default_factory=dict)
    sha256: str | None = None
    kinds: tuple[str, ...] = ()


def rollouts_report(
    journal: JournalReader, rows: Sequence[RolloutRow], ledgers: Sequence[Path] | None = None
) -> Report:
    """The report of rollouts of the chain of this journal. Raises ChangeoverError for a ledger that cannot be read."""
    now = time.time()
    window = min(row.started for row in rows), max(now if row.ended is None else row.ended for row in rows)
    facts = _facts(journal.folder, window[1])
    return report_of_rollouts(
        journal,
        rows,
        ledgers or ledgers_during(journal.folder / LEDGERS, window),
        made=now,
        subject=facts.subject,
        floors=facts.floors,
        chain_sha256=facts.sha256,
        software=versions(facts.kinds),
    )


def write_page(report: Report, file: Path) -> None:
    """Write the page. Raises OSError."""
    write_whole(file, render(report))


def in_words(report: Report, file: Path) -> str:
    """The verdict, why it is none where it is none, and where the report is."""
    return "\n".join(
        [f"{HEADLINES[report.conclusion]}: {report.summary}.", *report.broke, *report.gaps, f"report: {file}"]
    )


def _facts(state: Path, until: float) -> _ChainFacts:
    """What the chain file says. Nothing of it is known of a time before the file was last written."""
    copy = state / COPY
    try:
        parsed, _ = read_chain(copy, stored=True)
        changed = copy.stat().st_mtime
        text = copy.read_bytes()
    except (ChangeoverError, OSError):
        return _ChainFacts("a chain whose file cannot be read")
    chain = parsed.chain
    subject, kinds = f"Chain {chain.name}", ("haproxy", *(tier.kind for tier in chain.tiers))
    if chain.platform.kind != "local":
        kinds = ()  # the software is on other machines
    if changed > until:
        return _ChainFacts(subject, kinds=kinds)
    floors = {tier.name: tier.size - tier.unavailable for tier in chain.tiers}
    return _ChainFacts(subject, floors, hashlib.sha256(text).hexdigest(), kinds)
