"""`changeover doctor`: what would break requests in a roll on Google Cloud, and the commands that cure it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from changeover import chain_files
from changeover.cli import exits
from changeover.cli.chains import chain_file
from changeover.cli.cloud_audit import examined
from changeover.cli.frame import run, run_synchronous
from changeover.cli.options.common import STATE, FileOption, JsonOption, StateOption
from changeover.cli.options.values import size
from changeover.cli.rendering.output import Output
from changeover.doctor.diagnosis import Diagnosis, Severity
from changeover.doctor.facts import UploadLoad
from changeover.doctor.permissions import custom_role, needed
from changeover.joining import gcp
from changeover.model.errors import fail

USUAL = UploadLoad()


def doctor(
    upload_size: Annotated[
        float,
        typer.Option(parser=size, metavar="SIZE", help="The largest body that clients send.", show_default="50MB"),
    ] = USUAL.size,
    client_rate: Annotated[
        float, typer.Option(metavar="BITS", help="Bits per second of the slowest client.", min=1)
    ] = USUAL.rate,
    role: Annotated[bool, typer.Option("--role", help="Print the custom role that a controller needs.")] = False,
    file: FileOption = None,
    state: StateOption = STATE,
    json: JsonOption = False,
) -> None:
    """Find what would break requests in a roll on Google Cloud, with the command that cures each.

    It reads every group, backend service, health check and instance template of the chain, and asks every agent. It
    changes nothing. For each precondition that does not hold it prints what was read, and what follows for a GET and
    for the largest upload. `fatal`: a roll would break requests, or could not end. Exit code 1: something is fatal, or
    a warning.
    """
    if role:
        run_synchronous(json, lambda output: _print_role(output, file))
    load = UploadLoad(int(upload_size), client_rate)
    run(json, lambda output: _examine(output, file, state, load))


def _print_role(output: Output, file: Path | None) -> int:
    tiers = chain_files.read_chain(file)[0].chain.tiers if file is not None else ()
    two = [tier for tier in tiers if tier.second_group is not None]
    permissions = needed(
        switching=any(tier.traffic is None for tier in two), weighing=any(tier.traffic is not None for tier in two)
    )
    role = custom_role(permissions)
    output.result({"permissions": dict(permissions), "role": role}, Text(role.rstrip()))
    return exits.DONE


async def _examine(output: Output, file: Path | None, state: Path, load: UploadLoad) -> int:
    parsed, _ = chain_files.read_chain(chain_file(file, state))
    if parsed.chain.platform.kind != "gcp":
        raise fail(
            "the chain is not on Google Cloud",
            next="`changeover validate` checks a chain on this machine, and `changeover audit` configurations.",
        )
    found: dict[str, list[Diagnosis]] = {}
    checkup = gcp.checkup(parsed)
    for tier in parsed.chain.tiers:
        found[tier.name] = examined(await checkup.facts(tier, load))
    every = [one for tier in found.values() for one in tier]
    counts = Counter(one.severity for one in every)
    data = {
        "counts": {severity: counts[severity] for severity in Severity},
        "tiers": {tier: [asdict(one) for one in its] for tier, its in found.items()},
    }
    output.result(data, _text(found, counts))
    return exits.ROLLED_BACK if counts[Severity.FATAL] or counts[Severity.WARNING] else exits.DONE


def _text(found: dict[str, list[Diagnosis]], counts: Counter[Severity]) -> Text:
    lines = []
    for one in (one for its in found.values() for one in its):
        lines += [
            f"{one.severity}: {one.where}: {one.read}  [{one.check}]",
            f"  GET   {one.get}",
            f"  POST  {one.post}",
            f"  cure  {one.cure}",
            "",
        ]
    summary = ", ".join(f"{counts[severity]} {severity}" for severity in Severity if counts[severity])
    return Text("\n".join([*lines, summary or f"{len(found)} tiers: every precondition holds"]))
