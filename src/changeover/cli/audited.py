"""What `changeover audit` does with its options: read, judge, report. Its command names the options."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from changeover.audit.assumptions import Assumptions, keys
from changeover.audit.audit import Audit
from changeover.audit.audit import audit as judged
from changeover.audit.files import Loaded, load
from changeover.audit.finding import Outcome, Severity
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.cli import exits
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
            _write("--sarif", self.sarif, audit_files.sarif(found, loaded, Path.cwd()))
        if self.junit is not None:
            _write("--junit", self.junit, audit_files.junit(found, loaded))


def _write(option: str, path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise fail(f"{option} {path}: {error.strerror}", next="Name a file in a folder that exists.") from error


def judge(
    output: Output,
    files: list[Path],
    assumed: Assumptions,
    assume: list[str],
    order: tuple[str, ...],
    every: bool,
    fail_on: Severity,
    unknown_fails: bool,
    reports: Reports,
) -> int:
    if not files:
        raise fail("no file is given", next="Name the files or folders that hold the configuration.")
    if assumed.upload <= 0:
        raise fail("--upload needs more than 0 bytes")
    for one in assume:
        if "=" not in one:
            raise fail(f"--assume {one} is no KEY=VALUE", next=f"There are: {', '.join(keys())}.")
    asked = assumed.given(dict(one.split("=", 1) for one in assume))
    loaded = load(files)
    if missing := [one for one in order if one not in loaded.texts]:
        raise fail(f"--chain names {missing[0]}, which is none of the files that were read")
    found = judged(loaded.documents, asked, loaded.texts, order)
    reports.write(found, loaded)
    output.result(rendering.data(found, loaded, asked), rendering.text(found, loaded, every))
    if loaded.unreadable:
        return exits.COULD_NOT
    if not found.judged:
        raise fail(
            "no rule applies to these files, so nothing was judged",
            next="docs/audit.md lists the kinds of files that are read.",
        )
    failed = found.at_least(fail_on) or (unknown_fails and found.of(Outcome.UNKNOWN))
    return exits.ROLLED_BACK if failed else exits.DONE


def explain(output: Output, wanted: str) -> int:
    rules = {rule.id: rule for rule in all_rules()}
    rule: Rule | None = rules.get(wanted.upper())
    if rule is None:
        raise fail(f"no rule is named {wanted}", next=f"There are: {', '.join(rules)}.")
    output.result(rendering.rule_data(rule), rendering.rule_text(rule))
    return exits.DONE
