"""Proves a rule: runs its bad and its good example beside each other, and holds the losses against the rule's words."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit, audit
from changeover.audit.finding import Effect, Finding, Outcome
from changeover.audit.rule import Rule
from changeover.conf.document import Document
from changeover.conf.registry import reader_of
from changeover.lab.client import Outcome as Result
from changeover.lab.client import Sent
from changeover.lab.demonstration import Demonstration
from changeover.lab.stage import staged
from changeover.model.errors import fail

LIMIT = 120.0
"""Seconds that a demonstration may take. The longest takes 23 s on two cores at a load of 11."""
_HARM = {Effect.CUT, Effect.ERROR, Effect.REFUSED}
"""Effects that the client of a request sees."""


@dataclass(frozen=True)
class Run:
    """The requests of one example. `left`: what the demonstration counts instead of lost requests."""

    sent: tuple[Sent, ...]
    left: int | None = None

    def lost(self, method: str = "") -> list[Sent]:
        return [one for one in self.sent if one.outcome is Result.LOST and method in {"", one.method}]

    @property
    def harm(self) -> int:
        return len(self.lost()) if self.left is None else self.left


@dataclass(frozen=True)
class Proof:
    """`disagreements` is empty if the examples did what the rule says of them."""

    rule: Rule
    shown: Demonstration
    bad: Run
    good: Run
    disagreements: tuple[str, ...]


async def prove(rule: Rule, shown: Demonstration) -> Proof:
    """One demonstration of a rule. Raises ChangeoverError if its software is not installed, does not start, or does not
    end within LIMIT."""
    taken = {name: rule.good[name] for name in shown.good}
    files = {**shown.besides, **(shown.bad_files or {**rule.bad, **taken})}
    kept = {**shown.besides, **(shown.good_files or rule.good)}
    runs = [
        asyncio.ensure_future(_run(rule, shown, files, {**rule.assume, **rule.assume_bad})),
        asyncio.ensure_future(_run(rule, shown, kept, rule.assume)),
    ]
    try:
        async with asyncio.timeout(LIMIT):
            (findings, bad), (unwanted, good) = await asyncio.gather(*runs)
    except TimeoutError as error:
        what = f"the demonstration of {rule.id} did not end within {LIMIT:.0f} s"
        raise fail(what, state="its servers are stopped", next="Run it on a machine with less load.") from error
    finally:
        for run in runs:
            run.cancel()
        await asyncio.gather(*runs, return_exceptions=True)  # until every process has ended
    unfounded = ["the auditor finds something in the good example"] if unwanted else []
    return Proof(rule, shown, bad, good, (*disagreements(findings, bad, good), *unfounded))


async def _run(
    rule: Rule, shown: Demonstration, files: Mapping[str, str], assume: Mapping[str, str]
) -> tuple[list[Finding], Run]:
    asked = Assumptions().given(assume)
    found = _audited(rule, files, asked)
    async with staged(shown, files, found.view, asked) as stage:
        await shown.traffic(stage)
        await stage.over()
        violated = [one.finding for one in found.judged if one.finding.outcome is Outcome.VIOLATED]
        return violated, Run(tuple(stage.client.sent), stage.left if shown.counts else None)


def _audited(rule: Rule, files: Mapping[str, str], asked: Assumptions) -> Audit:
    documents: list[Document] = []
    for file, text in files.items():
        reader = reader_of(text, file)
        assert reader is not None, file
        documents += reader.read(text, file)
    return audit(documents, asked, files, rules=[rule])


def disagreements(findings: Sequence[Finding], bad: Run, good: Run) -> list[str]:
    """Where the examples did not do what the findings on the bad one say, and what a rule promises of its good one."""
    found = [] if findings else ["the auditor finds nothing in the bad example"]
    if good.harm:
        found.append(f"the good example loses {good.harm}")
    if not bad.harm:
        found.append("the bad example loses nothing")
    for method, effects in (("GET", {one.get for one in findings}), ("POST", {one.post for one in findings})):
        if bad.left is not None or not any(one.method == method for one in bad.sent):
            continue
        lost = bad.lost(method)
        if effects == {Effect.OK} and lost:
            found.append(f"the rule says that a {method} survives, and the bad example loses {len(lost)}")
        if effects & _HARM and not lost:
            found.append(f"the rule says that a {method} is lost, and the bad example answers every one")
    return found
