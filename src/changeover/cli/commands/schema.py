"""`changeover schema`: the JSON Schema of a chain file."""

from __future__ import annotations

from changeover.cli.options.common import JsonOption
from changeover.cli.rendering.stdout import write_json
from changeover.hops import registry
from changeover.model.schema import chain_schema


def schema(as_json: JsonOption = False) -> None:
    """Print the JSON Schema of a chain file. Editors complete and check the file with it."""
    write_json(chain_schema(registry.known_hops()))
