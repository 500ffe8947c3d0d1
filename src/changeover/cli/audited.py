"""What `changeover audit` does with its options: read, judge, report. Its command names the options."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit
from changeover.audit.audit import audit as judged
from changeover.audit.files import Loaded, load
from changeover.audit.finding import Outcome, Severity
from changeover.audit.handling.baseline import Baseline
from changeover.audit.handling.configuration import Configuration
from changeover.audit.handling.fixes import changed, diff, fixes
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.cli import exits
from changeover.cli.options import audit as settings
from changeover.cli.rendering import audit as rendering
from changeover.cli.rendering import audit_files
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail


@dataclass(frozen=True)
class Reports:
    """Files for other programs, beside the result on stdout."""

    sarif: Path | None
    junit: Path | None

    def write(self, found: Audit, loaded: Loaded) -> None:
        if self.sarif is not None:
            settings.write("--sarif", self.sarif, audit_files.sarif(found, loaded, Path.cwd()))
        if self.junit is not None:
            settings.write("--junit", self.junit, audit_files.junit(found, loaded))


@dataclass(frozen=True)
class Request:
    """What the command line asks of an audit. `upload` and `client_rate` are None unless given."""

    files: list[Path]
    upload: float | None
    client_rate: float | None
    assume: list[str]
    chain: str
    every: bool
    fail_on: Severity
    unknown_fails: bool
    config: Path | None
    baseline: Path | None
    create_baseline: Path | None
    fix: bool
    diff: bool


@contextmanager
def _without_collector() -> Iterator[None]:
    """What an audit builds has no circles, and the search for some takes a third of a large one."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_without_collector()
def judge(output: Output, asked: Request, reports: Reports) -> int:
    if not asked.files:
        raise fail("no file is given", next="Name the files or folders that hold the configuration.")
    if asked.baseline is not None and asked.create_baseline is not None:
        raise fail("--baseline cannot be combined with --create-baseline", next="Create a baseline first, then use it.")
    if asked.create_baseline is not None and (asked.fix or asked.diff):
        raise fail("--create-baseline cannot be combined with --fix or --diff")
    configured = settings.configured(asked.config)
    assumed = settings.assumptions(asked.upload, asked.client_rate, asked.assume, configured)
    loaded, found, baseline = _judged(asked, configured, assumed)
    wanted = fixes(found, loaded.texts, loaded.documents) if asked.fix or asked.diff else []
    new = changed(loaded.texts, wanted)
    difference = "\n".join(diff(loaded.texts, new))
    if asked.fix and new and not loaded.unreadable:
        settings.write_fixed(loaded.texts, new)
        loaded, found, baseline = _judged(asked, configured, assumed)
    notes = [*settings.notes(configured, loaded, baseline), *settings.of_fixes(asked.fix, wanted, loaded)]
    if asked.create_baseline is not None and not loaded.unreadable and found.judged:
        notes.append(settings.write_baseline(asked.create_baseline, found, loaded))
    reports.write(found, loaded)
    page = (
        {
            **rendering.data(found, loaded, assumed),
            "configuration": configured.file or None,
            "baseline_gone": baseline.gone if baseline is not None else None,
            "fixes": rendering.fixes(wanted),
            "diff": difference if asked.diff else None,
            "notes": notes,
        }
        if output.as_json
        else {}
    )
    text = rendering.text(found, loaded, asked.every, notes)
    output.result(page, Text("\n\n").join([Text(difference), text]) if asked.diff and difference else text)
    if loaded.unreadable:
        return exits.COULD_NOT
    if not found.judged:
        raise fail(
            "no rule applies to these files, so nothing was judged",
            next="docs/audit.md lists the kinds of files that are read.",
        )
    if asked.create_baseline is not None:
        return exits.DONE
    failed = found.at_least(asked.fail_on) or (asked.unknown_fails and found.of(Outcome.UNKNOWN))
    return exits.ROLLED_BACK if failed else exits.DONE


def _judged(asked: Request, configured: Configuration, assumed: Assumptions) -> tuple[Loaded, Audit, Baseline | None]:
    baseline = settings.baseline(asked.baseline)
    loaded = load(asked.files)
    order = settings.order(asked.chain, configured, loaded)
    rules = [rule for rule in all_rules() if configured.selected is None or rule.id in configured.selected]
    found = judged(loaded.documents, assumed, loaded.texts, order, rules).accepting(configured.accepts)
    if baseline is not None:
        found = found.accepting(lambda one: baseline.accepts(one, loaded.texts))
    return loaded, found, baseline


def explain(output: Output, wanted: str) -> int:
    rules = {rule.id: rule for rule in all_rules()}
    rule: Rule | None = rules.get(wanted.upper())
    if rule is None:
        raise fail(f"no rule is named {wanted}", next=f"There are: {', '.join(rules)}.")
    output.result(rendering.rule_data(rule), rendering.rule_text(rule))
    return exits.DONE
