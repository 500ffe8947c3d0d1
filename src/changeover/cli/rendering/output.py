"""Where everything that a person or a program reads goes out.

Text for people: results on standard output, progress and problems on standard error. With --json: one object on
standard output and nothing else there. Colours only on a terminal (Rich sees to it, NO_COLOR included).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, RenderableType

from changeover.engine.runtime import Progress
from changeover.model.errors import ChangeoverError

_COLOURS = {"admitted": "green", "failed": "red", "leaving": "yellow", "draining": "yellow", "gone": "dim"}


class Output:
    """One command's way out."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)

    def result(self, data: Mapping[str, Any], text: RenderableType) -> None:
        """The answer, as an object or for people."""
        if self.as_json:
            json.dump(data, sys.stdout, indent=2)
            sys.stdout.write("\n")
        else:
            self.out.print(text, markup=not isinstance(text, str))

    def problem(self, error: ChangeoverError) -> None:
        """What went wrong, on standard error; with --json also as an object on standard output."""
        for problem in error.problems:
            self.err.print(f"[red]error:[/] {_plain(str(problem))}")
        if self.as_json:
            problems = [{"what": p.what, "where": p.where, "state": p.state, "next": p.next} for p in error.problems]
            json.dump({"error": problems, "exit_code": error.exit_code}, sys.stdout, indent=2)
            sys.stdout.write("\n")

    def teller(self, since: float) -> Callable[[Progress], None]:
        """A listener that prints what happens as it happens, with seconds since `since`."""
        return lambda told: self.err.print(told_line(told, since), soft_wrap=True)


def told_line(told: Progress, since: float) -> str:
    """`  12.3s  runtime-v1-2   admitted -> leaving   retired`."""
    style = {"warning": "yellow", "info": ""}.get(told.level, "")
    text = _plain(told.text)
    if told.moved is not None:
        after = told.moved.after.value
        colour = _COLOURS.get(after, "cyan")
        text = f"[{colour}]{after:<9}[/] [dim]{_plain(told.moved.cause.value)}[/]"
    elif style:
        text = f"[{style}]{text}[/]"
    return f"[dim]{told.at - since:7.1f}s[/]  {told.instance or told.tier:<16} {text}"


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
