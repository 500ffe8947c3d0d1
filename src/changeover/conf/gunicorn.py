"""Reads settings of gunicorn, which are a Python file: by its syntax tree, never by running it.

A value that is not literal is None: what a function returns is not known. `os.getenv("X", "30")` has its default.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable

_KEYS = (
    "bind|workers|worker_class|threads|timeout|graceful_timeout|keepalive|wsgi_app|max_requests|preload_app"
    "|worker_connections|accesslog|errorlog|loglevel|proc_name"
)
_SIGN = re.compile(rf"^(?:{_KEYS})[ \t]*=[^=]", re.MULTILINE)
_DISTINCT = re.compile(r"^(?:bind|workers|worker_class|graceful_timeout|wsgi_app)[ \t]*=[^=]", re.MULTILINE)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_NAME = re.compile(r"gunicorn[\w.-]*\.py$")


@dataclass(frozen=True)
class PythonValue:
    """`value` is None where the expression is not literal."""

    value: str | float | None
    text: str
    place: Place


@dataclass(frozen=True)
class GunicornFile(Document):
    values: Mapping[str, PythonValue]


def recognises(text: str, file: str) -> bool:
    if _NAME.search(file):
        return _SIGN.search(text) is not None
    return file.endswith(".py") and len(_SIGN.findall(text)) > 2 and len(_DISTINCT.findall(text)) > 1


def read(text: str, file: str) -> tuple[GunicornFile, ...]:
    """Raises Unreadable."""
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable("this is not Python", Place(file, getattr(error, "lineno", None) or 0)) from error
    values: dict[str, PythonValue] = {}
    lines = _LINE_END.split(text.encode())
    for node in tree.body:
        target, value = None, None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.AnnAssign):
            target, value = node.target, node.value
        if isinstance(target, ast.Name) and value is not None:
            place = Place(file, node.lineno, node.col_offset + 1)
            shown = f"{target.id} = {_text(value, lines)[:60]}"
            values[target.id] = PythonValue(_literal(value, values, 0), shown, place)
    return (GunicornFile(file, values),)


def _text(node: ast.expr, lines: Sequence[bytes]) -> str:
    """As `ast.get_source_segment`, which splits the whole file for each node: the time would grow by its square."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    if first == last:
        found = lines[first][node.col_offset : node.end_col_offset]
    else:
        between = lines[first + 1 : last]
        found = b"\n".join((lines[first][node.col_offset :], *between, lines[last][: node.end_col_offset]))
    return found.decode(errors="replace")


def _literal(node: ast.expr, known: Mapping[str, PythonValue], depth: int) -> str | float | None:
    if depth > 20:
        return None
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=str() | int() | float() as value):
            return value
        case ast.Name(id=name) if name in known:
            return known[name].value
        case ast.Call(func=ast.Name(id="int" | "float" | "str" as kind), args=[inner]):
            found = _literal(inner, known, depth + 1)
            try:
                return None if found is None else {"int": int, "float": float, "str": str}[kind](found)
            except (ValueError, OverflowError):
                return None
        case ast.Call(func=ast.Attribute(attr="getenv" | "get"), args=[_, default]):
            return _literal(default, known, depth + 1)
        case ast.JoinedStr(values=parts):
            filled = [one.value if isinstance(one, ast.FormattedValue) else one for one in parts]
            words = [_literal(one, known, depth + 1) for one in filled]
            return None if None in words else "".join(map(str, words))
        case ast.BoolOp(op=ast.Or(), values=[*_, last]):
            return _literal(last, known, depth + 1)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _literal(left, known, depth + 1), _literal(right, known, depth + 1)
            if not isinstance(a, int | float) or not isinstance(b, int | float) or abs(a) > 1e9 or abs(b) > 1e9:
                return None
            match op:
                case ast.Mult():
                    return a * b
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
    return None
