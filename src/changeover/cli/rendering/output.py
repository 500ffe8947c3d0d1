"""All output of a command.

Text: results on standard output, progress and problems on standard error. With --json: one object on standard output
and nothing else there. `--log-format` decides the form of lines on standard error. Colours only on a terminal (Rich
decides, and heeds NO_COLOR).

A reader that closes its end of the pipe ends a command that only prints. A command that changes a chain goes on without
output, and keeps its exit code: neither `| head`, a closed terminal nor a full disk behind `2>` stops it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.text import Text

from changeover.cli.options.log_format import LogFormat, log_format
from changeover.cli.rendering.log_lines import as_object
from changeover.cli.rendering.stdout import as_json, discard, leave, write
from changeover.kit.clock import utc
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
        self._lines = log_format()
        self.out = _QuietConsole(acts=acts)
        self.err = _QuietConsole(acts=acts, stderr=True)

    @property
    def is_live(self) -> bool:
        """Whether a line on standard error may change while it is looked at."""
        return self.err.is_terminal and self._lines is LogFormat.TEXT

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
                if self._lines is LogFormat.JSON:
                    self._log(as_object(str(problem), level="error", event="error"))
                else:
                    self.err.print(f"{self._date()}[red]error:[/] {_plain(str(problem))}")
            if self.as_json:
                problems = [
                    {"what": p.what, "where": p.where, "state": p.state, "next": p.next} for p in error.problems
                ]
                self._write(as_json({"error": problems, "exit_code": error.exit_code}))

    def note(self, text: str, event: str = "note") -> None:
        """Print a line on standard error. `event`: what it is, in an object."""
        with self._loss_is_no_error():
            if self._lines is LogFormat.JSON:
                self._log(as_object(text, event=event))
            else:
                self.err.print(f"{self._date()}{text}", markup=False, soft_wrap=True)

    def progress_since(self, start: float) -> Callable[[Progress], None]:
        """A listener that prints each progress event, with the seconds since `start` or with its time."""

        def show(event: Progress) -> None:
            with self._loss_is_no_error():
                if self._lines is LogFormat.JSON:
                    self._log(progress_object(event))
                else:
                    when = f"{event.at - start:7.1f}s" if self._lines is LogFormat.TEXT else utc(event.at)
                    self.err.print(progress_line(event, when), soft_wrap=True)

        return show

    def _date(self) -> str:
        return f"{utc(time.time())}  " if self._lines is LogFormat.DATED else ""

    def _log(self, line: str) -> None:
        self.err.file.write(line)
        self.err.file.flush()

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


def progress_object(event: Progress) -> str:
    """A step of an instance (event `phase`) or a note, as an object in one line."""
    moved = event.moved
    return as_object(
        event.text if moved is None else f"{event.text}: {moved.cause}",
        event.at,
        level=event.level,
        event="note" if moved is None else "phase",
        tier=event.tier,
        instance=event.instance,
        rollout=event.rollout,
    )


def progress_line(event: Progress, when: str) -> str:
    """`  12.3s  runtime-v1-2   leaving   retired`. `when` stands at its beginning."""
    style = {"warning": "yellow", "info": ""}.get(event.level, "")
    text = _plain(event.text)
    if event.moved is not None:
        after = event.moved.after.value
        colour = _COLOURS.get(after, "cyan")
        text = f"[{colour}]{after:<9}[/] [dim]{_plain(event.moved.cause.value)}[/]"
    elif style:
        text = f"[{style}]{text}[/]"
    return f"[dim]{when}[/]  {event.instance or event.tier or event.about:<16} {text}"


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
