"""All output of a command.

Text: results on standard output, progress and problems on standard error. With --json: one object on standard output
and nothing else there. Colours only on a terminal (Rich decides, and heeds NO_COLOR).

A reader that closes its end of the pipe ends a command that only prints. A command that changes a chain goes on without
output, and keeps its exit code: neither `| head`, a closed terminal nor a full disk behind `2>` stops it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.text import Text

from changeover.cli.rendering.stdout import as_json, discard, leave, write
from changeover.model.errors import ChangeoverError

if TYPE_CHECKING:
    from changeover.engine.runtime import Progress

_NO_LIMIT = 10_000
"""Columns of a pipe or a file."""
_COLOURS = {"admitted": "green", "failed": "red", "leaving": "yellow", "draining": "yellow", "gone": "dim"}


class Output:
    """Where one command prints. `acts`: the command changes a chain, and does not end when its output is lost."""

    def __init__(self, *, as_json: bool, acts: bool = False) -> None:
        self.as_json = as_json
        self._acts = acts
        self.out = _QuietConsole(acts=acts)
        self.err = _QuietConsole(acts=acts, stderr=True)

    def result(self, data: Mapping[str, Any], text: RenderableType) -> None:
        """Print the result, as an object or as text."""
        with self._loss_is_no_error():
            if self.as_json:
                self._write(as_json(data))
            elif isinstance(text, Text) and self.out.has_no_limit:
                self._write(f"{text.plain}\n")  # wrapping to columns takes half the time of a long report
            else:
                self.out.print(text, markup=not isinstance(text, str))

    def problem(self, error: ChangeoverError) -> None:
        """Print the error on standard error; with --json also as an object on standard output."""
        with self._loss_is_no_error():
            for problem in error.problems:
                self.err.print(f"[red]error:[/] {_plain(str(problem))}")
            if self.as_json:
                problems = [
                    {"what": p.what, "where": p.where, "state": p.state, "next": p.next} for p in error.problems
                ]
                self._write(as_json({"error": problems, "exit_code": error.exit_code}))

    def note(self, text: str) -> None:
        """Print a line on standard error."""
        with self._loss_is_no_error():
            self.err.print(text, markup=False, soft_wrap=True)

    def progress_since(self, start: float) -> Callable[[Progress], None]:
        """A listener that prints each progress event with the seconds since `start`."""

        def show(event: Progress) -> None:
            with self._loss_is_no_error():
                self.err.print(progress_line(event, start), soft_wrap=True)

        return show

    @contextmanager
    def _loss_is_no_error(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            if not self._acts:
                raise
            discard()

    def _write(self, text: str) -> None:
        if not self._acts:
            write(text)
            return
        sys.stdout.write(text)
        sys.stdout.flush()


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
    def __init__(self, *, acts: bool, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)
        self.has_no_limit = not self.is_terminal and "COLUMNS" not in os.environ
        if self.has_no_limit:
            self.width = _NO_LIMIT  # Rich takes 80 columns, and would break messages and cells for `grep`
        self._acts = acts

    def on_broken_pipe(self) -> None:
        """Rich calls this while it handles the BrokenPipeError."""
        if self._acts:
            raise  # noqa: PLE0704
        self.quiet = True
        leave()


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
