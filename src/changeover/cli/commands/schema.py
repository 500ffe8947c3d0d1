"""`changeover schema`: the JSON Schema of a chain file or a probe.yaml."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from changeover.cli.options.common import JsonOption
from changeover.cli.rendering.stdout import write_json
from changeover.hops import registry
from changeover.model.probe import ProbeFile
from changeover.model.schema import chain_schema, schema_of


class Described(StrEnum):
    CHAIN = "chain"
    PROBE = "probe"


def schema(
    of: Annotated[
        Described, typer.Argument(help="`chain`: a chain file; `probe`: a probe.yaml, for `probe --config`.")
    ] = Described.CHAIN,
    as_json: JsonOption = False,
) -> None:
    """Print the JSON Schema of a chain file. Editors complete and check the file with it."""
    write_json(chain_schema(registry.known_hops()) if of is Described.CHAIN else schema_of(ProbeFile))
