"""`changeover validate`: check a chain file and what it needs on this machine, without starting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from changeover import chain_files
from changeover.cli import exits
from changeover.cli.frame import run
from changeover.cli.options.common import JsonOption
from changeover.cli.rendering.output import Output
from changeover.cli.rendering.validation import data, picture
from changeover.cli.validation import Findings, of_machine
from changeover.model.errors import ChangeoverError, fail


def validate(
    file: Annotated[Path, typer.Option("--file", "-f", help="The chain file.")] = Path("chain.yaml"),
    json: JsonOption = False,
) -> None:
    """Check a chain file without starting anything: keys, rules, files it names, software, ports.

    The software of each template checks its configuration, such as by `nginx -t`.

    Exits 0 if the chain can start, 1 if it cannot. An address that is in use is a warning: the chain itself may be up.
    """
    run(json, lambda output: _validate(output, file))


async def _validate(output: Output, file: Path) -> int:
    if not file.is_file():
        raise fail(
            "there is no such chain file", where=str(file), next="`changeover init` writes one; -f names another."
        )
    try:
        chain = chain_files.read_chain(file)[0].chain
        findings = await of_machine(file)
    except ChangeoverError as error:
        chain, findings = None, Findings(error.problems)
    output.result(data(file, chain, findings), picture(file, chain, findings))
    return exits.ROLLED_BACK if findings.problems else exits.DONE
