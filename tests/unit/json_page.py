"""docs/json.md as data, and what a command printed held against it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.unit.pages import DOCS

Path = tuple[str, ...]
"""`a[].b` as (`a`, `[]`, `b`)."""

WRONG = "When something goes wrong"


def sections() -> dict[str, list[tuple[Path, str]]]:
    """Each command's fields with what they mean; those of any command that goes wrong under WRONG."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for text in re.split(r"^## ", (DOCS / "json.md").read_text(), flags=re.MULTILINE)[1:]:
        title = text.splitlines()[0]
        rows = re.findall(r"^\| `([^`]+)` \| (.*) \|$", text.partition("A row of the ledger")[0], re.MULTILINE)
        for command in re.findall(r"`changeover (\w+)`", title) or [title]:
            found[command] = [(tuple(re.findall(r"\[\]|[^.\[\]]+", field)), meaning) for field, meaning in rows]
    return found


def insist(command: str, *outputs: object, also: str = "") -> None:
    """That these outputs have no field which the page does not tell, and the page none that is in none of them."""
    documented = sections()
    own = [field for field, _ in documented[command]]
    others = [field for field, _ in documented.get(also, [])]
    for field, meaning in documented[command]:
        if borrowed := re.search(r"`changeover (\w+)`", meaning):
            others += [(*field, *more) for more, _ in documented[borrowed[1]]]
    printed = [(path, value) for output in outputs for path, value in _leaves(output)]
    unknown = {path for path, value in printed if not any(_covers(field, path, value) for field in (*own, *others))}
    assert not unknown, f"docs/json.md has no row for {command}: {sorted(map('.'.join, unknown))}"
    unseen = {field for field in own if not any(_covers(field, path[: len(field)], "") for path, _ in printed)}
    assert not unseen, f"`{command} --json` does not print: {sorted(map('.'.join, unseen))}"


def _leaves(value: object, at: Path = ()) -> Iterator[tuple[Path, object]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, (*at, str(name)))
    elif isinstance(value, list):
        for inner in value or [{}]:
            yield from _leaves(inner, (*at, "[]"))
    else:
        yield at, value


def _covers(field: Path, path: Path, value: object) -> bool:
    """A `*` at the end stands for all that may follow. What is empty needs no row but those of what it may hold."""
    if len(path) < len(field):
        return value == {} and _covers(field[: len(path)], path, "")
    if len(path) > len(field) and field[-1] != "*":
        return False
    return all(mine in ("*", other) for mine, other in zip(field, path, strict=False))
