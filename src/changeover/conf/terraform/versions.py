"""The versions of the Google provider that a configuration allows: defaults depend on them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from changeover.conf.terraform.syntax import Block

_BOUND = re.compile(r"(~>|>=|<=|>|<|=|!=)?\s*(\d+)(?:\.(\d+))?(?:\.\d+)?")


def majors(blocks: Iterable[Block]) -> tuple[int | None, int | None]:
    """The lowest and the highest, from `required_providers`, and from a `provider` block of old; None is open."""
    texts = [
        value.text
        for block in blocks
        if block.type == "terraform"
        for inner in block.blocks
        if inner.type == "required_providers"
        for name, expression in inner.attributes.items()
        if name in {"google", "google-beta"}
        for key, value in [*zip(expression.parts[::2], expression.parts[1::2], strict=False), (None, expression)]
        if (key is not None and key.text.strip('"') == "version") or (key is None and expression.kind == "text")
    ]
    low: int | None = None
    high: int | None = None
    for operator, major, minor in (found for text in texts for found in _BOUND.findall(text)):
        number = int(major)
        if operator in {"", "=", "~>", ">=", ">"}:
            low = max(low or 0, number)
        if operator in {"", "=", "~>", "<="}:
            high = min(high or number, number)
        if operator == "<":
            below = number if minor and int(minor) else number - 1
            high = below if high is None else min(high, below)
    return low, high
