"""`changeover audit`: find from configuration alone where a rollout would cut a request."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from changeover.audit.finding import Severity
from changeover.cli.frame import run, run_synchronous
from changeover.cli.options.common import JsonOption
from changeover.cli.options.values import size


def _rate(text: str | float) -> float:
    from changeover.audit.assumptions import rate  # here: `--help` needs no model

    try:
        return rate(text) if isinstance(text, str) else text
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def audit(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILES...", help="Files and folders with configuration.")
    ] = None,
    upload: Annotated[
        float | None, typer.Option("--upload", parser=size, help="Size of the largest upload.", show_default="50MB")
    ] = None,
    client_rate: Annotated[
        float | None,
        typer.Option("--client-rate", parser=_rate, help="Rate of the slowest client.", show_default="1Mbps"),
    ] = None,
    assume: Annotated[
        list[str] | None,
        typer.Option(
            "--assume", metavar="KEY=VALUE", help="What no file says, such as nginx=1.22.1; docs/audit.md has the keys."
        ),
    ] = None,
    chain: Annotated[str, typer.Option("--chain", help="The files of a chain, edge first, separated by commas.")] = "",
    explain: Annotated[str, typer.Option("--explain", metavar="RULE", help="Explain a rule and exit.")] = "",
    prove: Annotated[
        str, typer.Option("--prove", metavar="RULE", help="Run the examples of a rule, or of `all`, under traffic.")
    ] = "",
    table: Annotated[
        bool, typer.Option("--table", help="Show one replacement of each tier, and which uploads survive it.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Also write what --table shows to this file, as a page with a picture."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show also what is met, with its margin.")] = False,
    fail_on: Annotated[Severity, typer.Option("--fail-on", help="Exit 1 from this severity on.")] = Severity.WARNING,
    unknown_fails: Annotated[bool, typer.Option("--unknown-fails", help="Exit 1 if a rule cannot be judged.")] = False,
    sarif: Annotated[Path | None, typer.Option("--sarif", help="Also write SARIF 2.1.0 to this file.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write JUnit XML to this file.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Its settings; .changeover-audit.yaml of this folder unless given.")
    ] = None,
    baseline: Annotated[Path | None, typer.Option("--baseline", help="Accept the findings that this file has.")] = None,
    create_baseline: Annotated[
        Path | None, typer.Option("--create-baseline", help="Write the findings of now to this file, and exit 0.")
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Write the values that findings ask for.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Print what --fix changes, as a diff.")] = False,
    json: JsonOption = False,
) -> None:
    """Find from configuration alone where a rollout would cut a request.

    Each rule of docs/rules.md is violated, met or unknown. An unknown names what is missing. A finding has the effect
    on a GET and on the POST of the largest upload, the numbers behind it, and the fix.

    `# changeover: ignore NGX07 -- reason` in a file accepts the finding of its line, or of the next line.

    `--table` judges no rule. It shows when an instance of each tier gets which signal, when its requests are cut, and
    which uploads survive at which rate. It exits 0, or 2 if a file cannot be read or no tier is described.

    `--prove RULE` starts the bad and the good example of a rule on this machine, with shorter times, and sends
    requests: the bad one must lose some, the good one none. It exits 0 if both do what the rule says, 1 if not, 2 if
    their software is not installed or the rule cannot be demonstrated.

    Exits 0 without a finding at or above --fail-on, 1 with one, 2 if a file cannot be read.
    """
    from changeover.cli import audited  # here: `--help` imports no reader and no rule

    judging = {
        "--all": every,
        "--unknown-fails": unknown_fails,
        "--sarif": sarif,
        "--junit": junit,
        "--baseline": baseline,
        "--create-baseline": create_baseline,
        "--fix": fix,
        "--diff": diff,
    }
    modes = {"--prove": prove, "--explain": explain, "--table": table, "--html": html}
    named = [name for name, value in {**modes, **judging}.items() if value]
    allowed = ({"--table", "--html"}, {"--prove"}, {"--explain"}, judging.keys())
    if not any(set(named) <= set(one) for one in allowed):
        raise typer.BadParameter(f"{' and '.join(named)} cannot be combined.")
    if prove and files:
        raise typer.BadParameter("--prove reads no file: it runs the examples of the rule.")
    if prove:
        from changeover.cli import proved

        run(json, lambda output: proved.demonstrate(output, prove))
    elif explain:
        run_synchronous(json, lambda output: audited.explain(output, explain))
    else:
        asked = audited.Request(
            files=files or [],
            upload=upload,
            client_rate=client_rate,
            assume=assume or [],
            chain=chain,
            every=every,
            fail_on=fail_on,
            unknown_fails=unknown_fails,
            config=config,
            baseline=baseline,
            create_baseline=create_baseline,
            fix=fix,
            diff=diff,
        )
        if table or html is not None:
            from changeover.cli import tabled

            run_synchronous(json, lambda output: tabled.tabulate(output, asked, html))
        run_synchronous(json, lambda output: audited.judge(output, asked, audited.Reports(sarif, junit)))
