"""The tree of a file of Terraform, whichever of its two languages it is in: HCL or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import normpath
from typing import Literal

from changeover.conf.document import Document
from changeover.conf.place import Place

VARIABLES = (".tfvars", ".tfvars.json")
"""Endings of files of variables, which have no sign."""
BESIDE = ("*.tfvars", "*.tfvars.json", "override.tf", "*_override.tf", "override.tf.json", "*_override.tf.json")
"""Files that change what others of their folder say, or may."""
TEMPLATED = re.compile(r"\{\{(?!\s*\.\w)|\{%|<%")
"""Of Jinja, Helm or ERB. Not `{{.Name}}`, which Docker fills in when it runs."""
Kind = Literal[
    "word",
    "text",
    "list",
    "object",
    "name",
    "get",
    "attribute",
    "splat",
    "template",
    "conditional",
    "call",
    "spread",
    "operation",
    "for",
    "absent",
    "other",
]


@dataclass(frozen=True)
class Expression:
    """`parts`: of a list its values, of an object keys and values by turns, of a conditional its three.

    Of `get` what it reads from, and the keys; of a call the name and the arguments, the last may be `spread`; of an
    operation its sign and its operands; of a `for` its names, what it goes through, the key, the value, the condition.
    """

    place: Place
    kind: Kind
    text: str
    parts: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Block:
    place: Place
    type: str
    labels: tuple[str, ...]
    attributes: Mapping[str, Expression]
    keys: Mapping[str, Place]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class HclFile(Document):
    """`variables`: what a file of variables sets."""

    blocks: tuple[Block, ...]
    variables: Mapping[str, Expression] = field(default_factory=dict)


def source(folder: str, block: Block) -> str | None:
    """The folder of a local module that a block calls."""
    found = block.attributes.get("source")
    if block.type != "module" or found is None or not found.text.startswith("."):
        return None
    return normpath(f"{folder}/{found.text}")
