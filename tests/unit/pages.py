"""Pages of docs/ of which parts are made from the code, between `<!-- name -->` and `<!-- /name -->`.

With CHANGEOVER_WRITE_DOCS=1 they are written anew; without it they must be what the code says.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

from pydantic_core import PydanticUndefined

from changeover.model.config_model import ConfigModel
from changeover.model.units import human_seconds

DOCS = Path(__file__).parents[2] / "docs"


def insist(page: str, block: str, text: str) -> None:
    """That block of that page is this text; or it is written there."""
    file = DOCS / page
    now = file.read_text()
    wanted, found = re.subn(
        rf"(<!-- {block} -->\n).*?(<!-- /{block} -->)", lambda m: m[1] + text + m[2], now, flags=re.DOTALL
    )
    assert found == 1, f"{page} has {found} blocks {block}"
    if os.environ.get("CHANGEOVER_WRITE_DOCS"):
        file.write_text(wanted)
    else:
        assert wanted == now, "run this test with CHANGEOVER_WRITE_DOCS=1"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def settings(part: type[ConfigModel]) -> str:
    """What a part of a chain file may say."""
    rows = []
    for field, one in part.model_fields.items():
        name = one.alias or field
        default = one.default
        if default is PydanticUndefined:
            shown = "needed"
        elif default in ((), {}) or isinstance(default, ConfigModel):
            shown = ""
        elif isinstance(default, tuple):
            shown = ", ".join(f"`{item}`" for item in default)
        elif isinstance(default, float) and _is_time(one.metadata):
            shown = f"`{human_seconds(default)}`"
        elif isinstance(default, bool):
            shown = "`true`" if default else "`false`"
        else:
            shown = f"`{default}`" if default not in (None, "", {}) and not isinstance(default, ConfigModel) else ""
        rows.append((f"`{name}`", shown, one.description or ""))
    return table(("key", "default", "meaning"), rows)


def _is_time(metadata: Iterable[object]) -> bool:
    """Whether the field is one of `Seconds`, which alone are read by a parser of their own."""
    return any(type(one).__name__ == "BeforeValidator" for one in metadata)


def members(kind: type[StrEnum]) -> str:
    """The members of an enumeration, each with the comment beside it."""
    comments = dict(re.findall(r'^ +\w+ = "([^"]+)"  # (.+)$', inspect.getsource(kind), re.MULTILINE))
    assert comments.keys() == {one.value for one in kind}, f"every {kind.__name__} needs a comment beside it"
    return table((kind.__name__.lower(), "meaning"), ((f"`{one}`", comments[one.value]) for one in kind))
