"""One audit: documents -> the joined view -> the outcome of every rule, with the suppressions applied. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from changeover.audit.assumptions import Assumptions
from changeover.audit.commands import commands
from changeover.audit.finding import Finding, Outcome, Severity
from changeover.audit.google.resources import google
from changeover.audit.handling.suppressions import Suppression, suppressions
from changeover.audit.hops import HOPS, STOPS
from changeover.audit.published import published
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.audit.view import View, joined
from changeover.conf.chain import ChainFile
from changeover.conf.document import Document

_ORDER = [Severity.NOTE, Severity.WARNING, Severity.ERROR]


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding of a rule. `suppressed` holds the reason of the operator who accepts it.

    `outside`: what accepts it is no comment in its file, but a configuration of the audit, or a baseline.
    """

    rule: Rule
    finding: Finding
    suppressed: str | None = None
    outside: bool = False


@dataclass(frozen=True)
class Audit:
    """`unused` are suppressions that hide nothing; `unreasoned` those without a reason, which hide nothing either."""

    view: View
    judged: tuple[Judged, ...]
    unused: tuple[Suppression, ...]
    unreasoned: tuple[Suppression, ...]

    def of(self, outcome: Outcome) -> list[Judged]:
        """Those that are not suppressed, by place."""
        return list(self._open.get(outcome, ()))

    @cached_property
    def _open(self) -> dict[Outcome, list[Judged]]:
        found: dict[Outcome, list[Judged]] = {}
        for one in self.judged:
            if one.suppressed is None:
                found.setdefault(one.finding.outcome, []).append(one)
        return found

    def accepting(self, reason: Callable[[Judged], str | None]) -> Audit:
        """With those findings accepted, too, that have a reason. What is met needs none."""

        def accepted(one: Judged) -> Judged:
            if one.suppressed is not None or one.finding.outcome is Outcome.MET or (why := reason(one)) is None:
                return one
            return replace(one, suppressed=why, outside=True)

        return replace(self, judged=tuple(map(accepted, self.judged)))

    def at_least(self, severity: Severity) -> list[Judged]:
        """Violations that count for the exit code."""
        return [one for one in self.of(Outcome.VIOLATED) if _ORDER.index(one.rule.severity) >= _ORDER.index(severity)]


def _order(one: Judged) -> tuple[str, int, int, str]:
    at = one.finding.place
    return at.file, at.line, at.column, one.rule.id


def audit(
    documents: Sequence[Document],
    asked: Assumptions,
    texts: Mapping[str, str],
    order: tuple[str, ...] = (),
    rules: Iterable[Rule] | None = None,
) -> Audit:
    """`order`: the files of a chain, edge first. `rules`: those to check, every one unless given."""
    checked = tuple(rules) if rules is not None else all_rules()
    hops = tuple(hop for make in HOPS for hop in make(documents, asked))
    stops = tuple(stop for make in STOPS for stop in make(documents))
    view = replace(
        joined(hops, stops, order, google(documents)),
        commands=tuple(commands(documents)),
        ports=tuple(published(documents)),
        chains=tuple(one for one in documents if isinstance(one, ChainFile)),
    )
    found = [Judged(rule, one) for rule in checked for one in rule.check(view, asked)]
    found.sort(key=_order)
    given = [one for file, text in sorted(texts.items()) for one in suppressions(text, file)]
    used: set[Suppression] = set()
    judged: list[Judged] = []
    by_line: dict[tuple[str, int], list[Suppression]] = {}
    for comment in given:
        by_line.setdefault((comment.place.file, comment.line), []).append(comment)
    for one in found:
        here = by_line.get((one.finding.place.file, one.finding.place.line), [])
        hiding = [comment for comment in here if comment.reason and one.rule.id in comment.rules]
        used.update(hiding)
        judged.append(replace(one, suppressed=hiding[0].reason) if hiding else one)
    left_out = {rule.id for rule in all_rules()} - {rule.id for rule in checked}
    unused = tuple(one for one in given if one.reason and one not in used and not left_out & set(one.rules))
    return Audit(view, tuple(judged), unused, tuple(one for one in given if not one.reason))
