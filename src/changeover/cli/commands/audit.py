"""`changeover audit`: find from configuration alone where a rollout would cut a request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from changeover.audit.assumptions import Assumptions, keys, rate
from changeover.audit.audit import Audit
from changeover.audit.audit import audit as judged
from changeover.audit.files import Loaded, load
from changeover.audit.finding import Outcome, Severity
from changeover.audit.rule import Rule
from changeover.audit.rules import all_rules
from changeover.cli import exits
from changeover.cli.frame import run_synchronous
from changeover.cli.options.common import JsonOption
from changeover.cli.options.values import size
from changeover.cli.rendering import audit as rendering
from changeover.cli.rendering import audit_files
from changeover.cli.rendering.output import Output
from changeover.model.errors import fail


@dataclass(frozen=True)
class _Reports:
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


def _rate(text: str | float) -> float:
    try:
        return rate(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def audit(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES...", help="Files and folders with configuration.")
    ] = None,
    upload: Annotated[
        float, typer.Option("--upload", parser=size, help="Size of the largest upload.", show_default="50MB")
    ] = 50_000_000,
    client_rate: Annotated[
        float, typer.Option("--client-rate", parser=_rate, help="Rate of the slowest client.", show_default="1Mbps")
    ] = 1_000_000.0,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            "--assume", metavar="KEY=VALUE", help="What no file says, such as nginx=1.22.1; docs/audit.md has the keys."
        ),
    ] = None,
    chain: Annotated[str, typer.Option("--chain", help="The files of a chain, edge first, separated by commas.")] = "",
    explain: Annotated[str, typer.Option("--explain", metavar="RULE", help="Explain a rule and exit.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Show also what is met, with its margin.")] = False,
    fail_on: Annotated[Severity, typer.Option("--fail-on", help="Exit 1 from this severity on.")] = Severity.WARNING,
    unknown_fails: Annotated[bool, typer.Option("--unknown-fails", help="Exit 1 if a rule cannot be judged.")] = False,
    sarif: Annotated[Path | None, typer.Option("--sarif", help="Also write SARIF 2.1.0 to this file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML to this file.")] = None,
    json: JsonOption = False,
) -> None:
    """Find from configuration alone where a rollout would cut a request.

    Each rule of docs/rules.md is violated, met or unknown. An unknown names what is missing. A finding has the effect
    on a GET and on the POST of the largest upload, the numbers behind it, and the fix.

    `# changeover: ignore NGX07 -- reason` in a file accepts the finding of its line, or of the next line.

    Exits 0 without a finding at or above --fail-on, 1 with one, 2 if a file cannot be read.
    """
    if explain:
        run_synchronous(json, lambda output: _explain(output, explain))
    else:
        assumed = Assumptions(upload=int(upload), client_rate=client_rate)
        order = tuple(one.strip() for one in chain.split(",") if one.strip())
        run_synchronous(
            json,
            lambda output: _audit(
                output, files or [], assumed, assume or [], order, every, fail_on, unknown_fails, _Reports(sarif, junit)
            ),
        )


def _audit(
    output: Output,
    files: list[Path],
    assumed: Assumptions,
    assume: list[str],
    order: tuple[str, ...],
    every: bool,
    fail_on: Severity,
    unknown_fails: bool,
    reports: _Reports,
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


def _explain(output: Output, wanted: str) -> int:
    rules = {rule.id: rule for rule in all_rules()}
    rule: Rule | None = rules.get(wanted.upper())
    if rule is None:
        raise fail(f"no rule is named {wanted}", next=f"There are: {', '.join(rules)}.")
    output.result(rendering.rule_data(rule), rendering.rule_text(rule))
    return exits.DONE
