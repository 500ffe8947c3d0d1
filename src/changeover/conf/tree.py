"""YAML and JSON as a tree in which every key and value has its place.

Built from the parser's events, not by recursion, so that depth costs nothing. Refuses keys that are given twice, of
which YAML takes the last silently, aliases that expand to too much, and templates. Numbers and truth values stay text:
what a plain word means depends on the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite

import yaml

from changeover.conf.place import Place, Unreadable

_DEEPEST = 100
_QUOTES = {"'", '"', "|", ">"}
_MOST = 500_000
"""Values of one file, with each alias counted as what it stands for."""
_TEMPLATE = re.compile(r"\{\{(?!\.\w)|\{%|<%")
"""Not `{{.Name}}` in quotes, which Docker fills in when it runs."""
_ANYWHERE = re.compile(r"^[^#\n]*(?:\{\{|\{%|<%)", re.MULTILINE)
_TRUE, _FALSE = {"true", "yes", "on"}, {"false", "no", "off"}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Node:
    """`place` is that of the value; a key's own is in the Map around it."""

    place: Place
    size: int
    """Values in it, itself included."""

    def get(self, *path: str | int) -> Node | None:
        """The value at a path of keys and positions; None if it is not there."""
        at: Node | None = self
        for step in path:
            if isinstance(at, Map) and isinstance(step, str):
                at = at.items.get(step)
            elif isinstance(at, Items) and isinstance(step, int):
                at = at.values[step] if step < len(at.values) else None
            else:
                return None
        return at

    def text(self, *path: str | int) -> str | None:
        """The word at a path; None if there is none, or a map or a list."""
        found = self.get(*path)
        return found.word if isinstance(found, Word) and not found.null else None

    def number(self, *path: str | int) -> float | None:
        """A finite number at a path; None if there is none."""
        try:
            found = float(self.text(*path) or "")
        except ValueError:
            return None
        return found if isfinite(found) else None

    def flag(self, *path: str | int) -> bool | None:
        text = (self.text(*path) or "").lower()
        return True if text in _TRUE else False if text in _FALSE else None

    def each(self, *path: str | int) -> tuple[Node, ...]:
        """The values of a list at a path; those of a map too; none if there is neither."""
        found = self.get(*path)
        if isinstance(found, Items):
            return found.values
        return tuple(found.items.values()) if isinstance(found, Map) else ()

    def maps(self, *path: str | int) -> tuple[Map, ...]:
        """The maps at a path: those of a list, or the one that stands there alone."""
        found = self.get(*path)
        inner = found.values if isinstance(found, Items) else (found,)
        return tuple(one for one in inner if isinstance(one, Map))


@dataclass(frozen=True)
class Word(Node):
    """A scalar. `quoted`: it stands in quotes, so it is text whatever it looks like.

    `block`: it is a literal block of YAML (`|`), whose lines are those of its file, from the next one on.
    """

    word: str
    quoted: bool
    block: bool = False

    @property
    def null(self) -> bool:
        return not self.quoted and self.word in {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True)
class Open(Node):
    """A value that only the program knows which fills it in: an expression that is not literal.

    `missing`: what would have to be given. `wrong`: the program refuses the expression.
    """

    expression: str
    missing: str = ""
    wrong: bool = False


@dataclass(frozen=True)
class Items(Node):
    values: tuple[Node, ...]


@dataclass(frozen=True)
class Map(Node):
    """`keys` holds the place of each key; what `<<` merges has the place where it was written."""

    items: Mapping[str, Node]
    keys: Mapping[str, Place]


def parse(text: str, file: str) -> tuple[Node, ...]:
    """Every document of a YAML or JSON text. Raises Unreadable."""
    if text.lstrip()[:1] in {"{", "["}:
        text = text.replace("\t", " ")  # JSON takes tabs where YAML does not, and has none within strings
    try:
        return tuple(_Builder(file).documents(yaml.parse(text, Loader=_LOADER)))
    except (yaml.YAMLError, Unreadable) as error:
        if found := _ANYWHERE.search(text):
            line = text.count("\n", 0, found.end()) + 1
            raise Unreadable("the file is a template: render it first", Place(file, line)) from error
        if isinstance(error, Unreadable):
            raise
        mark = getattr(error, "problem_mark", None)
        raise Unreadable(
            f"this is not YAML: {getattr(error, 'problem', None) or 'it has no text'}",
            Place(file, mark.line + 1 if mark else 0),
        ) from error
    except ValueError as error:
        raise Unreadable(f"this is not YAML: {type(error).__name__}", Place(file)) from error


@dataclass
class _Open:
    """A map or a list whose end has not come yet."""

    place: Place
    anchor: str | None
    is_map: bool
    found: list[Node]

    @cached_property
    def keys(self) -> dict[str, Place]:
        return {}


class _Builder:
    def __init__(self, file: str) -> None:
        self._file = file
        self._anchors: dict[str, Node] = {}
        self._stack: list[_Open] = []
        self._size = 0

    def documents(self, events: Iterator[yaml.Event]) -> Iterator[Node]:
        for event in events:
            mark = event.start_mark
            place = Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file)
            match event:
                case yaml.DocumentStartEvent():
                    self._anchors.clear()
                    continue
                case yaml.ScalarEvent():
                    if _TEMPLATE.search(event.value):
                        raise Unreadable("the file is a template: render it first", place)
                    node: Node = Word(place, 1, event.value, event.style in _QUOTES, event.style == "|")
                    anchor = event.anchor
                case yaml.AliasEvent():
                    if event.anchor not in self._anchors:
                        raise Unreadable(f"*{event.anchor} names nothing that stands before it", place)
                    node, anchor = self._anchors[event.anchor], None
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    if len(self._stack) == _DEEPEST:
                        raise Unreadable(f"values are nested more than {_DEEPEST} deep", place)
                    self._stack.append(_Open(place, event.anchor, isinstance(event, yaml.MappingStartEvent), []))
                    continue
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    opened = self._stack.pop()
                    node, anchor = self._closed(opened), opened.anchor
                case _:
                    continue
            if anchor is not None:
                self._anchors[anchor] = node
            if self._stack:
                self._stack[-1].found.append(node)
            else:
                yield node

    def _closed(self, opened: _Open) -> Node:
        size = 1 + sum(one.size for one in opened.found)
        if size > _MOST:
            raise Unreadable(f"aliases make it larger than {_MOST} values", opened.place)
        if not opened.is_map:
            return Items(opened.place, size, tuple(opened.found))
        items: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        merged: list[Map] = []
        for key, value in zip(opened.found[::2], opened.found[1::2], strict=True):
            if not isinstance(key, Word):
                raise Unreadable("a list or a map cannot be a key", key.place)
            if key.word == "<<" and not key.quoted:
                merged += [one for one in (value, *value.each()) if isinstance(one, Map)]
            elif key.word in items:
                first = keys[key.word].line
                raise Unreadable(f"{key.word} is given twice, first on line {first}", key.place)
            else:
                items[key.word], keys[key.word] = value, key.place
        for other in merged:
            items = {**other.items, **items}
            keys = {**other.keys, **keys}
        return Map(opened.place, size, items, keys)
