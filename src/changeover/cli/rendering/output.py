"""All output of a command.

Text: results on standard output, progress and problems on standard error. With --json: one object on standard output
and nothing else there. Colours only on a terminal (Rich decides, and heeds NO_COLOR). A reader that closes its end of
the pipe ends the command quietly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType

from changeover.cli.rendering.stdout import leave, write_json
from changeover.model.errors import ChangeoverError

if TYPE_CHECKING:
    from changeover.engine.runtime import Progress

_COLOURS = {"admitted": "green", "failed": "red", "leaving": "yellow", "draining": "yellow", "gone": "dim"}


class Output:
    """Where one command prints."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = _QuietConsole(highlight=False)
        self.err = _QuietConsole(stderr=True, highlight=False)

    def result(self, data: Mapping[str, Any], text: RenderableType) -> None:
        """Print the result, as an object or as text."""
        if self.as_json:
            write_json(data)
        else:
            self.out.print(text, markup=not isinstance(text, str))

    def problem(self, error: ChangeoverError) -> None:
        """Print the error on standard error; with --json also as an object on standard output."""
        for problem in error.problems:
            self.err.print(f"[red]error:[/] {_plain(str(problem))}")
        if self.as_json:
            problems = [{"what": p.what, "where": p.where, "state": p.state, "next": p.next} for p in error.problems]
            write_json({"error": problems, "exit_code": error.exit_code})

    def progress_since(self, start: float) -> Callable[[Progress], None]:
        """A listener that prints each progress event with the seconds since `start`."""
        return lambda event: self.err.print(progress_line(event, start), soft_wrap=True)


def progress_line(event: Progress, start: float) -> str:
    """`  12.3s  runtime-v1-2   leaving   retired`."""
    style = {"warning": "yellow", "info": ""}.get(event.level, "")
    text = _plain(event.text)
    if event.moved is not None:
        after = event.moved.after.value
        colour = _COLOURS.get(after, "cyan")
        text = f"[{colour}]{after:<9}[/] [dim]{_plain(event.moved.cause.value)}[/]"
    elif style:
        text = f"[{style}]{text}[/]"
    return f"[dim]{event.at - start:7.1f}s[/]  {event.instance or event.tier:<16} {text}"


class _QuietConsole(Console):
    def on_broken_pipe(self) -> None:
        self.quiet = True
        leave()


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
