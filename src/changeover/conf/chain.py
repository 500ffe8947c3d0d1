"""Reads chain files of this project, as far as an audit needs them: tiers with their kind and drain, and their places.

Refuses to check keys: `changeover validate` does that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Map, parse

_SIGN = re.compile(r"^tiers:[ \t]*(?:#.*)?$", re.MULTILINE)
_TIER = re.compile(r"^[ \t]+(?:-[ \t]+)?(?:kind|templates):|^[ \t]*-[ \t]+\{name:.*kind:", re.MULTILINE)


@dataclass(frozen=True)
class ChainFile(Document):
    """`tiers` edge first."""

    tiers: tuple[Map, ...]


def recognises(text: str, file: str) -> bool:
    return _SIGN.search(text) is not None and _TIER.search(text) is not None


def read(text: str, file: str) -> tuple[ChainFile, ...]:
    """Raises Unreadable."""
    roots = parse(text, file)
    tiers = roots[0].maps("tiers") if roots else ()
    if not tiers:
        raise Unreadable("`tiers` names no tier", Place(file))
    return (ChainFile(file, tiers),)
