"""Every wait and interval in the code: classes that end in `Timing` or `Pooling`, and numbers of a module in seconds.

Refuses one without its reason beside it: nobody could tell whether a chain needs to reach it. The auditor waits for
nothing; its numbers are facts of other software, and docs/rules.md has them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2] / "src/changeover"


class Wait(NamedTuple):
    place: str
    """The module, such as `engine/timing`."""
    name: str
    value: str
    reason: str


def waits() -> Iterator[Wait]:
    """In the order of their modules. Every reason is one paragraph; empty where there is none."""
    for file in sorted(ROOT.rglob("*.py")):
        place = file.relative_to(ROOT).with_suffix("").as_posix()
        if place.startswith("audit/"):
            continue
        text = file.read_text(encoding="utf-8")
        tree, lines = ast.parse(text), text.splitlines()
        yield from _in(tree.body, place, lines, floats=True)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name.endswith(("Timing", "Pooling")):
                yield from _in(node.body, place, lines, floats=False)


def _in(body: list[ast.stmt], place: str, lines: list[str], *, floats: bool) -> Iterator[Wait]:
    for node, after in zip(body, [*body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if not floats:
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=float()) as value) if floats:
                pass
            case _:
                continue
        reason = ""
        match after:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                reason = " ".join(text.split())
            case _ if "  # " in lines[node.lineno - 1]:
                reason = lines[node.lineno - 1].partition("  # ")[2]
            case _ if lines[node.lineno - 2].lstrip().startswith("#"):
                reason = lines[node.lineno - 2].lstrip("# ")
        yield Wait(place, name, ast.unparse(value), reason)
