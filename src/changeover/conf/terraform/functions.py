"""Functions of Terraform that compute, over plain values: None, truth values, numbers, text, lists and dicts.

An Open among them is a value that is not known. Refuses whatever looks outside of the configuration: files, the clock.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, Open, Word, parse

MOST = 10_000
"""Values of one list or map, and characters of a text, that an expression may build."""


@dataclass(frozen=True)
class Reference(Word):
    """A resource or a data source that an expression names. What its attributes hold is not known."""


class NotKnown(Exception):
    """A value that is needed is Open."""

    def __init__(self, value: Open) -> None:
        super().__init__(value.expression)
        self.value = value


class Wrong(Exception):
    """Terraform refuses this call or operation."""


def plain(node: Node) -> Any:
    """The value of a node. Null is None."""
    match node:
        case Reference():
            return node
        case Word(word=word, quoted=True):
            return word
        case Word(word=word):
            return None if node.null else {"true": True, "false": False}.get(word, _number_or_text(word))
        case Items(values=values):
            return [plain(one) for one in values]
        case Map(items=items):
            return {key: plain(one) for key, one in items.items()}
    return node


def node_of(value: Any, place: Place) -> Node:
    """The node of a value, as it takes effect at a place. Raises Wrong for one that is too large."""
    match value:
        case Node():
            return value
        case list() if len(value) <= MOST:
            values = tuple(node_of(one, place) for one in value)
            return Items(place, 1 + sum(one.size for one in values), values)
        case dict() if len(value) <= MOST:
            items = {str(key): node_of(one, place) for key, one in value.items()}
            return Map(place, 1 + sum(one.size for one in items.values()), items, dict.fromkeys(items, place))
        case str() if len(value) <= MOST:
            return Word(place, 1, value, True)
        case str():
            raise NotKnown(Open(place, 1, "", f"the value of this expression, which is longer than {MOST} characters"))
        case None | bool() | int() | float():
            return Word(place, 1, "null" if value is None else text(value), False)
    raise Wrong


def _number_or_text(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


def number(value: Any) -> float:
    """Terraform also takes a text that is a number."""
    settled(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Wrong
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise Wrong from None
    if not math.isfinite(found):
        raise Wrong
    return found


def text(value: Any) -> str:
    settled(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    found = number(value)
    return str(int(found)) if found.is_integer() else repr(found)


def truth(value: Any) -> bool:
    settled(value)
    found = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise Wrong
    return found


def same(left: Any, right: Any) -> bool:
    """A number never equals a text."""
    for one in (left, right):
        for inner in _inside(one):
            settled(inner)
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def known(value: Any) -> Any:
    """A value that may be passed on. Raises NotKnown."""
    if isinstance(value, Open):
        raise NotKnown(value)
    return value


def settled(value: Any) -> Any:
    """A value that may be computed with. Raises NotKnown."""
    if isinstance(value, Reference):
        raise NotKnown(Open(value.place, 1, value.word, f"what an attribute of {value.word} holds"))
    return known(value)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _inside(one)
    else:
        yield value


def _list(value: Any) -> list[Any]:
    if not isinstance(settled(value), list):
        raise Wrong
    return list(value)


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(settled(value), dict):
        raise Wrong
    return dict(value)


def _try(*values: Any) -> Any:
    for one in values:
        if not (isinstance(one, Open) and one.wrong):
            return known(one)
    raise Wrong


def _can(value: Any) -> bool:
    return False if isinstance(value, Open) and value.wrong else known(value) is value


def _coalesce(*values: Any) -> Any:
    for one in values:
        if known(one) is not None and one != "":
            return one
    raise Wrong


def _lookup(among: Any, key: Any, *default: Any) -> Any:
    found = _dict(among)
    if (name := text(key)) in found:
        return found[name]
    if not default:
        raise Wrong
    return default[0]


def _merge(*maps: Any) -> dict[str, Any]:
    return {key: value for one in maps if known(one) is not None for key, value in _dict(one).items()}


def _flatten(values: Any) -> list[Any]:
    return [inner for one in _list(values) for inner in (_flatten(one) if isinstance(one, list) else [known(one)])]


def _distinct(values: Any) -> list[Any]:
    found: list[Any] = []
    for one in _list(values)[:MOST]:
        if not any(same(one, other) for other in found):
            found.append(one)
    return found


def _set(values: Any) -> list[Any]:
    found = _distinct(values)
    return sorted(found) if all(isinstance(one, str) for one in found) else found


def _length(value: Any) -> int:
    if not isinstance(settled(value), str | list | dict):
        raise Wrong
    return len(value)


def _one(values: Any) -> Any:
    found = _list(values)
    if len(found) > 1:
        raise Wrong
    return found[0] if found else None


def _element(values: Any, index: Any) -> Any:
    if not (found := _list(values)):
        raise Wrong
    return found[int(number(index)) % len(found)]


def _range(*bounds: Any) -> list[int]:
    found = range(*(int(number(one)) for one in bounds))
    if len(found) > MOST:
        raise Wrong
    return list(found)


def _replace(value: Any, old: Any, new: Any) -> str:
    if len(sought := text(old)) > 1 and sought.startswith("/") and sought.endswith("/"):
        raise LookupError  # a regular expression, of another dialect
    if not sought or text(value).count(sought) * len(text(new)) > MOST:
        raise Wrong
    return text(value).replace(sought, text(new))


def _format(spec: Any, *values: Any) -> str:
    """`%s`, `%d`, `%v`, also `%03d`."""
    given = iter(values)

    def filled(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        value = next(given)
        return f"%{found[1]}d" % int(number(value)) if found[2] == "d" else text(value).rjust(int(found[1] or 0))

    pattern = re.compile(r"%(\d{0,2})([sdv])|%%")
    if "%" in pattern.sub("", text(spec)):
        raise LookupError
    try:
        return pattern.sub(filled, text(spec))
    except StopIteration:
        raise Wrong from None


def _extreme(choose: Callable[[Iterable[float]], float]) -> Callable[..., float]:
    return lambda *values: choose([number(one) for one in values])


def _join(separator: Any, *lists: Any) -> str:
    return text(separator).join(text(one) for values in lists for one in _list(values))


def _compact(values: Any) -> list[Any]:
    return [one for one in _list(values) if known(one) is not None and one != ""]


def _coalescelist(*lists: Any) -> list[Any]:
    for one in lists:
        if found := _list(one):
            return found
    raise Wrong


def _contains(values: Any, value: Any) -> bool:
    return any(same(one, value) for one in _list(values))


def _zipmap(keys: Any, values: Any) -> dict[str, Any]:
    return dict(zip(map(text, _list(keys)), _list(values), strict=True))


def _encoded(value: Any) -> str:
    """As Terraform writes JSON: keys in order, no spaces, and what HTML would read as its own escaped."""
    for one in _inside(value):
        settled(one)
    found = json.dumps(_whole(value), separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False)
    return found.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _whole(value: Any) -> Any:
    """With numbers as Terraform writes them: 5, not 5.0."""
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decoded(value: Any) -> Any:
    """Of JSON or of YAML with one document, which has JSON in it."""
    try:
        found = parse(text(value), "")
    except Unreadable:
        raise Wrong from None
    if len(found) != 1:
        raise Wrong
    return plain(found[0])


def _substr(value: Any, offset: Any, length: Any) -> str:
    at, many = int(number(offset)), int(number(length))
    found = text(value)[at:]
    return found if many == -1 else found[: max(many, 0)]


FILES = frozenset(("file", "templatefile", "filebase64", "fileexists", "fileset", "filesha256", "filemd5"))
"""Functions that read the disk."""
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": lambda value: abs(number(value)),
    "alltrue": lambda values: all([truth(one) for one in _list(values)]),
    "anytrue": lambda values: any([truth(one) for one in _list(values)]),
    "can": _can,
    "ceil": lambda value: math.ceil(number(value)),
    "chomp": lambda value: text(value).rstrip("\r\n"),
    "coalesce": _coalesce,
    "coalescelist": _coalescelist,
    "compact": _compact,
    "concat": lambda *lists: [one for values in lists for one in _list(values)],
    "contains": _contains,
    "distinct": _distinct,
    "element": _element,
    "endswith": lambda value, end: text(value).endswith(text(end)),
    "flatten": _flatten,
    "floor": lambda value: math.floor(number(value)),
    "format": _format,
    "join": _join,
    "jsondecode": _decoded,
    "jsonencode": _encoded,
    "keys": lambda among: sorted(_dict(among)),
    "length": _length,
    "lookup": _lookup,
    "lower": lambda value: text(value).lower(),
    "max": _extreme(max),
    "merge": _merge,
    "min": _extreme(min),
    "nonsensitive": lambda value: value,
    "one": _one,
    "range": _range,
    "replace": _replace,
    "reverse": lambda values: _list(values)[::-1],
    "sensitive": lambda value: value,
    "slice": lambda values, start, end: _list(values)[int(number(start)) : int(number(end))],
    "split": lambda separator, value: text(value).split(text(separator)),
    "startswith": lambda value, start: text(value).startswith(text(start)),
    "substr": _substr,
    "sum": lambda values: sum(number(one) for one in _list(values)),
    "tobool": lambda value: None if value is None else truth(value),
    "tolist": _list,
    "tomap": _dict,
    "tonumber": lambda value: None if value is None else number(value),
    "toset": _set,
    "tostring": lambda value: None if value is None else text(value),
    "trimprefix": lambda value, start: text(value).removeprefix(text(start)),
    "trimspace": lambda value: text(value).strip(),
    "trimsuffix": lambda value, end: text(value).removesuffix(text(end)),
    "trim": lambda value, of: text(value).strip(text(of)),
    "try": _try,
    "upper": lambda value: text(value).upper(),
    "values": lambda among: [value for _, value in sorted(_dict(among).items(), key=lambda one: one[0])],
    "yamldecode": _decoded,
    "zipmap": _zipmap,
}
BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: number(left) + number(right),
    "-": lambda left, right: number(left) - number(right),
    "*": lambda left, right: number(left) * number(right),
    "/": lambda left, right: number(left) / number(right),
    "%": lambda left, right: math.fmod(number(left), number(right)),
    "==": same,
    "!=": lambda left, right: not same(left, right),
    "<": lambda left, right: number(left) < number(right),
    "<=": lambda left, right: number(left) <= number(right),
    ">": lambda left, right: number(left) > number(right),
    ">=": lambda left, right: number(left) >= number(right),
}
UNARY: Mapping[str, Callable[[Any], Any]] = {"-": lambda value: -number(value), "!": lambda value: not truth(value)}
