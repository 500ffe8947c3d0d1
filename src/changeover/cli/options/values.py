"""Parsers of option values: `50MB`, `30s`, `25%`. Each raises typer.BadParameter with the reason."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import typer
from pydantic import TypeAdapter, ValidationError

from changeover.model.units import Bytes, Count, Seconds

_adapter = cache(TypeAdapter)
"""Of a type: it takes milliseconds to build, which `--help` need not spend."""


def parsed(type: Any) -> Callable[[str | float], float]:
    """A parser for `50MB` or `30s`. It passes a default, which is a number, through."""

    def parse(text: str | float) -> float:
        if not isinstance(text, str):
            return text
        try:
            found: float = _adapter(type).validate_python(int(text) if text.isdigit() else text)
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        return found

    return parse


size, seconds = parsed(Bytes), parsed(Seconds)


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT`. Raises typer.BadParameter."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter(f"'{text}' is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def count(text: str) -> int | str:
    """`1` or `25%`. Raises typer.BadParameter."""
    try:
        found: int | str = _adapter(Count).validate_python(int(text) if text.isdigit() else text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    return found
