"""An audit as text, grouped by file, and as one JSON object; a rule as text and as an object."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit, Judged
from changeover.audit.files import Loaded
from changeover.audit.finding import Outcome, Severity
from changeover.audit.handling.fixes import Fix
from changeover.audit.handling.suppressions import Suppression
from changeover.audit.rule import Rule
from changeover.conf.place import Unreadable

_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
MOST = 1_000
"""Findings of a rule, with the same outcome, that the text shows of one file. Its sums count all."""
_MARK = re.compile(r"^\s*# expect: .*\n", re.MULTILINE)
"""In an example of a rule: what its test expects of the next line."""


def data(found: Audit, loaded: Loaded, asked: Assumptions) -> Mapping[str, Any]:
    return {
        "assumed": asdict(asked),
        "files": sorted(loaded.texts),
        "skipped": sorted(loaded.skipped),
        "unreadable": [unreadable_data(one) for one in loaded.unreadable],
        "findings": [finding_data(one) for one in found.judged],
        "hops": [
            {"name": hop.name, "software": hop.software, "file": hop.place.file, "line": hop.place.line or None}
            for hop in found.view.hops
        ],
        "links": [{"front": one.front.name, "inner": one.inner.name, "how": one.how} for one in found.view.links],
        "unjoined": [
            {"hop": hop.name, "target": one.name, "file": one.place.file, "line": one.place.line or None}
            for hop, one in found.view.unjoined
        ],
        "unused_suppressions": [_suppression(one) for one in found.unused],
        "suppressions_without_reason": [_suppression(one) for one in found.unreasoned],
    }


def unreadable_data(broken: Unreadable) -> dict[str, Any]:
    return {"file": broken.place.file, "line": broken.place.line or None, "what": broken.what}


def finding_data(one: Judged) -> dict[str, Any]:
    finding = one.finding
    return {
        "rule": one.rule.id,
        "name": one.rule.name,
        "severity": one.rule.severity.value,
        "outcome": finding.outcome.value,
        "file": finding.place.file,
        "line": finding.place.line or None,
        "column": finding.place.column if finding.place.line else None,
        "object": finding.object,
        "what": finding.what,
        "get": finding.get.value if finding.outcome is Outcome.VIOLATED else None,
        "post": finding.post.value if finding.outcome is Outcome.VIOLATED else None,
        "consequence": finding.consequence,
        "fix": finding.fix,
        "missing": finding.missing,
        "numbers": dict(finding.numbers),
        "suppressed": one.suppressed,
    }


def fixes(wanted: Sequence[Fix]) -> list[dict[str, Any]]:
    return [
        {
            "file": one.file,
            "line": one.line,
            "rules": list(one.rules),
            "key": one.replacement.key,
            "old": one.replacement.old,
            "new": one.replacement.new,
        }
        for one in wanted
    ]


def _suppression(one: Suppression) -> dict[str, Any]:
    return {"file": one.place.file, "line": one.place.line, "rules": list(one.rules)}


_SHORT = ": shorter than "
"""Between a limit and the request that needs longer, in what a finding says."""


def text(found: Audit, loaded: Loaded, every: bool, remarks: Sequence[str] = ()) -> Text:
    """Findings by file, then `remarks`, what could not be read, and the sums.

    `every`: also what is met and what is suppressed.
    """
    by_file: dict[str, list[Judged]] = {}
    for one in found.judged:
        if every or (one.suppressed is None and one.finding.outcome != Outcome.MET):
            by_file.setdefault(one.finding.place.file, []).append(one)
    order = list(Outcome)
    # One text of many pieces: a text for each finding costs ten times as much.
    report = Text()
    for file, here in by_file.items():
        shown: Counter[tuple[str, Outcome]] = Counter()
        entries: dict[tuple[object, ...], list[Judged]] = {}
        for one in sorted(here, key=lambda one: order.index(one.finding.outcome)):
            kind = one.rule.id, one.finding.outcome
            shown[kind] += 1
            if shown[kind] <= MOST:
                entries.setdefault(_cause(one), []).append(one)
        for several in entries.values():
            if several[0].finding.outcome is Outcome.UNKNOWN and several[0].suppressed is None:
                _append_unknown(report, several)
            elif len(several) > 1:
                _append_limits(report, several)
            else:
                _append(report, several[0])
        for (rule, outcome), count in shown.items():
            if count > MOST:
                report.append(f"{file}  {count - MOST} more of {rule}, {outcome.value}: --json has each\n")
        report.append("\n")
    return report.append(Text("\n").join([*map(Text, remarks), *_notes(found, loaded)]))


def _cause(one: Judged) -> tuple[object, ...]:
    """What findings have in common that are shown as one: the missing fact, or what several limits of an object cut."""
    finding = one.finding
    if one.suppressed is None and finding.outcome is Outcome.UNKNOWN:
        return finding.outcome, finding.what, finding.missing
    needs = finding.what.partition(_SHORT)[2]
    if one.suppressed is None and finding.outcome is Outcome.VIOLATED and needs:
        return finding.outcome, finding.object, needs
    return (id(one),)


def _append_limits(report: Text, several: Sequence[Judged]) -> None:
    """Limits of one object that are all too short for one request: one heading, and a line for each."""
    worst = max((one.rule.severity for one in several), key=list(Severity).index)
    needs = several[0].finding.what.partition(_SHORT)[2]
    rules = ", ".join(dict.fromkeys(one.rule.id for one in several))
    report.append(f"{_places(several)}  ").append(f"{rules} {worst.value}", _COLOURS[worst])
    report.append(f"  {len(several)} limits of {several[0].finding.object} are shorter than {needs}\n")
    for one in several:
        finding, limit = one.finding, one.finding.what.partition(_SHORT)[0]
        report.append(f"    {one.rule.id}  {limit}: {finding.consequence}\n           fix: {finding.fix}\n")
    report.append(f"    explain: changeover audit --explain {several[0].rule.id}\n")


def _places(several: Sequence[Judged]) -> str:
    """Those of findings of one file."""
    first = several[0].finding.place
    lines = dict.fromkeys(one.finding.place.line for one in several)
    return ", ".join([str(first), *(str(line) for line in lines if line not in {0, first.line})])


def _append(report: Text, one: Judged) -> None:
    finding, rule = one.finding, one.rule
    report.append(f"{finding.place}  ")
    if finding.outcome is Outcome.VIOLATED:
        word = "suppressed" if one.suppressed else rule.severity.value
        report.append(f"{rule.id} {word}", "dim" if one.suppressed else _COLOURS[rule.severity])
        if one.suppressed:
            report.append(f"  {finding.what} ({one.suppressed})\n")
        else:
            fix = f"fix: {finding.fix}        explain: changeover audit --explain {rule.id}"
            report.append(f"  {finding.what}\n    {finding.consequence}\n    {fix}\n")
        return
    report.append(f"{rule.id} {finding.outcome.value}", "green" if finding.outcome is Outcome.MET else "magenta")
    report.append(f"  {finding.what}\n" + (f"    missing: {finding.missing}\n" if finding.missing else ""))


def _append_unknown(report: Text, several: Sequence[Judged]) -> None:
    """What lacks the same fact for the same reason: once, with each rule and each line."""
    finding = several[0].finding
    rules = ", ".join(dict.fromkeys(one.rule.id for one in several))
    report.append(f"{_places(several)}  ").append(f"{rules} {finding.outcome.value}", "magenta")
    report.append(f"  {finding.what}\n" + (f"    missing: {finding.missing}\n" if finding.missing else ""))


def _notes(found: Audit, loaded: Loaded) -> Iterator[Text]:
    for broken in loaded.unreadable:
        yield Text(f"{broken.place}  ").append("unreadable", "bold red").append(f"  {broken.what}")
    for one in found.unused:
        yield Text(f"{one.place}  the suppression of {', '.join(one.rules)} hides nothing: remove it")
    for one in found.unreasoned:
        yield Text(f"{one.place}  the suppression of {', '.join(one.rules)} has no reason: write `-- reason` behind it")
    for hop, target in found.view.unjoined:
        if len(found.view.hops) > 1:
            yield Text(f"{target.place}  no given file describes what {target.name} of {hop.name} leads to")
    for link in found.view.links:
        yield Text(f"chain: {link.front.name} -> {link.inner.name} (joined by {link.how})")
    counts = [
        _count(sum(one.rule.severity is severity for one in found.of(Outcome.VIOLATED)), severity.value)
        for severity in reversed(Severity)
    ]
    others = f"{len(found.of(Outcome.UNKNOWN))} unknown, {len(found.of(Outcome.MET))} met"
    hidden = sum(one.suppressed is not None for one in found.judged)
    yield Text(
        f"{', '.join(counts)}, {others}"
        + (f", {hidden} suppressed" if hidden else "")
        + f"; {_count(len(loaded.texts), 'file')} read"
        + (f", {len(loaded.unreadable)} unreadable" if loaded.unreadable else "")
        + (f", {len(loaded.skipped)} of no known format" if loaded.skipped else "")
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def rule_data(rule: Rule) -> Mapping[str, Any]:
    return {
        "rule": rule.id,
        "name": rule.name,
        "severity": rule.severity.value,
        "what": rule.what,
        "why": rule.why,
        "sources": list(rule.sources),
        "bad": {name: _MARK.sub("", body) for name, body in rule.bad.items()},
        "good": dict(rule.good),
        "fix": rule.fix,
    }


def rule_text(rule: Rule) -> Text:
    text = Text(f"{rule.id} ", "bold").append(f"{rule.name}, {rule.severity.value}\n\n{rule.what}\n\n{rule.why}\n")
    for title, files in (("Bad", rule.bad), ("Good", rule.good)):
        for name, body in files.items():
            text.append(f"\n{title}: {name}\n\n", "bold")
            text.append("".join(f"    {line}\n" for line in _MARK.sub("", body).splitlines()))
    text.append("\nFix: ", "bold").append(f"{rule.fix}\n\n")
    return text.append("\n".join(["Sources:", *(f"  {source}" for source in rule.sources)]))


def rule_section(rule: Rule) -> str:
    """The rule as a section of docs/rules.md."""
    blocks = [
        f"{title} (`{name}`):\n\n```text\n{_MARK.sub('', body)}```\n"
        for title, files in (("Bad", rule.bad), ("Good", rule.good))
        for name, body in files.items()
    ]
    sources = "".join(f"- <{source}>\n" for source in rule.sources)
    return (
        f"## {rule.id}: {rule.name}\n\n{rule.severity.value.capitalize()}. {rule.what}\n\n{rule.why}\n\n"
        + "\n".join(blocks)
        + f"\nFix: {rule.fix}\n\nSources:\n\n{sources}\n"
    )
