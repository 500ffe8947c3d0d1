"""Parsers of option values: `50MB`, `30s`, `25%`. Each raises typer.BadParameter with the reason."""

from __future__ import annotations

from collections.abc import Callable

import typer
from pydantic import TypeAdapter, ValidationError

from changeover.model.units import Bytes, Count, Seconds

_BYTES: TypeAdapter[int] = TypeAdapter(Bytes)
_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
_COUNT: TypeAdapter[int | str] = TypeAdapter(Count)


def parsed(adapter: TypeAdapter[float] | TypeAdapter[int]) -> Callable[[str | float], float]:
    """A parser for `50MB` or `30s`. It passes a default, which is a number, through."""

    def parse(text: str | float) -> float:
        if not isinstance(text, str):
            return text
        try:
            return adapter.validate_python(int(text) if text.isdigit() else text)
        except ValidationError as error:
            raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error

    return parse


size, seconds = parsed(_BYTES), parsed(_SECONDS)


def count(text: str) -> int | str:
    """`1` or `25%`. Raises typer.BadParameter."""
    try:
        return _COUNT.validate_python(int(text) if text.isdigit() else text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
