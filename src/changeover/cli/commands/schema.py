"""`changeover schema`: what a chain file may say."""

from __future__ import annotations

import json
import sys

from changeover import wiring
from changeover.cli.options.common import JsonOption


def schema(as_json: JsonOption = False) -> None:
    """Print the JSON Schema of a chain file, with which editors complete and check it."""
    json.dump(wiring.schema(), sys.stdout, indent=2)
    sys.stdout.write("\n")
