"""Options that take a distribution: `10s` (constant), `5s..20s` (uniform), `10s~1.5` (log-normal around a median)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

from changeover.cli.options.values import seconds, size
from changeover.model.units import human_bytes, human_seconds
from changeover.rollout.simulation.distributions import Constant, Distribution, LogNormal, Uniform


@dataclass(frozen=True)
class Unit:
    """How values of a distribution are read and written."""

    metavar: str
    read: Callable[[str | float], float]
    write: Callable[[float], str]

    def option(self, usual: Distribution, help: str) -> Any:
        """A typer option whose help shows the default as the user would write it."""
        return typer.Option(parser=self.parse, metavar=self.metavar, help=help, show_default=self.spell(usual))

    def parse(self, text: str | Distribution) -> Distribution:
        """A distribution from an option's text; a default is passed through. Raises typer.BadParameter."""
        if not isinstance(text, str):
            return text
        first, between, second = text.partition("..")
        if between:
            low, high = self.read(first), self.read(second)
            if not 0 < low <= high:
                raise typer.BadParameter("in LOW..HIGH, LOW must be above 0 and HIGH at least LOW")
            return Uniform(low, high)
        first, around, second = text.partition("~")
        value = self.read(first)
        if not around:
            return Constant(value)
        factor = _number(second)
        if factor is None or factor < 1 or not value:
            raise typer.BadParameter("in MEDIAN~FACTOR, MEDIAN must be above 0 and FACTOR a number of at least 1")
        return LogNormal(value, factor)

    def spell(self, spread: Distribution) -> str:
        """A distribution as the user would write it; `parse` reads it back."""
        match spread:
            case Constant(value):
                return self.write(value)
            case Uniform(low, high):
                return f"{self.write(low)}..{self.write(high)}"
            case LogNormal(median, factor):
                return f"{self.write(median)}~{factor:g}"
            case _:
                return str(spread)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _bytes(value: float) -> str:
    return human_bytes(value).replace(".0 ", " ").replace(" ", "")


def _rate(text: str | float) -> float:
    value = size(text.removesuffix("/s") if isinstance(text, str) else text)
    if not value:
        raise typer.BadParameter("the rate must be above 0, such as 1MB/s")
    return value


TIME = Unit("TIME", seconds, human_seconds)
SIZE = Unit("SIZE", size, _bytes)
RATE = Unit("RATE", _rate, lambda value: _bytes(value) + "/s")
