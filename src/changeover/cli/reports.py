"""Reports of rollouts for the commands that write them: which ledgers, chain file and software they are about."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from changeover.chain_files import COPY, read_chain
from changeover.cli import exits
from changeover.cli.ledgers import LEDGERS
from changeover.cli.options.reports import ReportFiles
from changeover.cli.rendering.output import Output
from changeover.engine.journal.reading import JournalReader
from changeover.engine.journal.records import RolloutRow
from changeover.engine.release.outcome import Released
from changeover.kit.files import write_whole
from changeover.model.errors import ChangeoverError, fail
from changeover.probe.records.ledger import is_growing
from changeover.report.build import ledgers_during, report_of_rollouts, report_of_traffic
from changeover.report.compare import Comparison
from changeover.report.content import HEADLINES, CommandPart, Report
from changeover.report.markdown import summary
from changeover.report.page import render
from changeover.report.software import versions

_FLUSHED = 2.0
"""Seconds after which a running probe has written the rows of the rollout's end: it writes once a second."""


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
        whole=bool(ledgers),
        made=now,
        subject=facts.subject,
        floors=facts.floors,
        chain_sha256=facts.sha256,
        software=versions(facts.kinds),
    )


def write_page(report: Report, file: Path) -> None:
    """Write the page. Raises OSError."""
    write_whole(file, render(report))


def write_files(report: Report, page: Path | None, markdown: Path | None) -> None:
    """Write what was asked for. Raises OSError."""
    if page is not None:
        write_page(report, page)
    if markdown is not None:
        write_whole(markdown, summary(report, "" if page is None else str(page)))


async def report_rolled(
    output: Output, journal: JournalReader, numbers: Collection[int], page: Path | None, markdown: Path | None
) -> bool:
    """Write the files about rollouts that have just ended; whether that succeeded. A failure changes no rollout."""
    rows = [row for row in journal.rollouts() if row.id in numbers]
    if not rows:
        output.note("No report was written: no tier was rolled.")
        return True
    try:
        if any(is_growing(path) for path in (journal.folder / LEDGERS).glob("*.jsonl") if path.exists()):
            await asyncio.sleep(_FLUSHED)
            output.note("A probe still sends. After its end, `changeover show ID --html FILE` includes all requests.")
        report = rollouts_report(journal, rows)
        write_files(report, page, markdown)
    except (ChangeoverError, OSError) as error:
        output.note(f"The report was not written: {error}. The rollout is not affected.")
        return False
    output.note(in_words(report, page or markdown or Path()))
    return True


async def with_report(output: Output, journal: JournalReader, released: Released, files: ReportFiles, code: int) -> int:
    """Write what was asked for about a release that has ended. `code`: of the command if that succeeds."""
    numbers = {part.row.id for part in released.parts}
    if files.are_wanted and not await report_rolled(output, journal, numbers, files.page, files.markdown):
        return code or exits.COULD_NOT
    return code


def in_words(report: Report, file: Path) -> str:
    """The verdict, why it is none where it is none, and where the report is."""
    return "\n".join(
        [f"{HEADLINES[report.conclusion]}: {report.summary}.", *report.broke, *report.gaps, f"report: {file}"]
    )


def report_traffic(
    output: Output, ledger: Path, subject: str, ran: Mapping[str, object] | None, files: ReportFiles
) -> bool:
    """Write the files about a probe that has ended; whether that succeeded. `ran`: its command, and what broke."""
    try:
        command = None if ran is None else CommandPart.model_validate(ran)
        report = report_of_traffic(ledger, made=time.time(), subject=subject, command=command, software=versions(()))
        if report is None:
            raise fail("the probe sent no request", where=str(ledger))
        write_files(report, files.page, files.markdown)
    except (ChangeoverError, OSError) as error:
        output.note(f"The report was not written: {error}.")
        return False
    return True


def compare_chain(found: Comparison, report: Report, state: Path) -> None:
    """Compare what a report takes from the chain file with the copy in the state folder, if that is still the same."""
    facts = _facts(state, inf)
    if report.chain_sha256 not in (None, facts.sha256):
        found.unknown.append("The chain file is not that of the report any more: its name and the floors.")
        return
    floors = facts.floors if report.chain_sha256 else {}
    for one in report.rollouts:
        here = floors.get(one.tier) if one.from_template else None
        if one.floor != here:
            found.untrue.append(
                f"Rollout {one.id}: the floor is {one.floor} in the report, and {here} by the chain file."
            )
    if report.chain_sha256 and report.subject != facts.subject:
        found.untrue.append(f"The report is about {report.subject}, and the state folder is of {facts.subject}.")


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
