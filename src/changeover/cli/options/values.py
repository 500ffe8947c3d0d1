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


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT`. Raises typer.BadParameter."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter(f"'{text}' is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def count(text: str) -> int | str:
    """`1` or `25%`. Raises typer.BadParameter."""
    try:
        return _COUNT.validate_python(int(text) if text.isdigit() else text)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
