"""Errors outside of every command: a wrong command line, and a fault of this program (exit code 70, a report file).

Imports little: the standard library, `kit`, the form of lines and the error type. The fault may be in anything else.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

from changeover.cli.exits import FAULT
from changeover.cli.options.log_format import asks_for_json
from changeover.cli.rendering.log_lines import as_object
from changeover.kit.redact import SHOWN, hide_credentials
from changeover.model.errors import Problem

if TYPE_CHECKING:
    from typer.exceptions import TyperException

_FIELD = re.compile(r"(?<=: ).+|(?<=://)[^/]*(?=@)")
"""The value of a header that an option gives, and the credentials of a URL."""


def report(error: Exception, words: Sequence[str]) -> int:
    """Write the report, print where it lies, and return the exit code. `words` is the command line."""
    try:
        kept = f"The traceback is in {_write(error, words)}."
    except (OSError, metadata.PackageNotFoundError) as refused:
        kept = f"The report with the traceback could not be written: {refused}."
    problem = Problem(
        what=f"fault of this program: {type(error).__name__}: {error}",
        where=_place(error),
        state=f"{kept} Running instances continue to serve; an unfinished rollout stays at its last step.",
        next="Check with `changeover status`, continue a rollout with `changeover resume`, and report the fault.",
    )
    with contextlib.suppress(OSError):  # a closed pipe changes no exit code
        _print(problem, FAULT, words)
    return FAULT


def usage_error(error: TyperException, words: Sequence[str]) -> int:
    """Print what is wrong with the command line `words`, and return the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        return error.exit_code  # Typer has printed the help
    help_of = context.command_path if context is not None else "changeover"
    problem = Problem(
        what=" ".join(error.format_message().split()).replace("Value error, ", ""),
        next=f"`{help_of} --help` lists the arguments and options.",
    )
    try:
        _print(problem, error.exit_code, words)
    except BrokenPipeError:
        from changeover.cli.rendering import stdout

        stdout.leave()
    return error.exit_code


def _print(problem: Problem, code: int, words: Sequence[str]) -> None:
    if asks_for_json(words):
        print(as_object(str(problem), level="error", event="error"), end="", file=sys.stderr, flush=True)
    else:
        print(f"error: {problem}", file=sys.stderr, flush=True)
    if "--json" in words[: words.index("--") if "--" in words else None]:
        about = {"what": problem.what, "where": problem.where, "state": problem.state, "next": problem.next}
        print(json.dumps({"error": [about], "exit_code": code}, indent=2), flush=True)


def _place(error: Exception) -> str:
    """File and line where the exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _write(error: Exception, words: Sequence[str]) -> str:
    """Write the report file, which only this user can read; returns its path."""
    handle, path = tempfile.mkstemp(prefix="changeover-fault-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(
            f"changeover {metadata.version('changeover')}, Python {platform.python_version()}, {platform.platform()}\n"
            f"at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, process {os.getpid()}\n"
            f"command line: {[_FIELD.sub(SHOWN, word) for word in words]}\n\n"
        )
        file.write(hide_credentials("".join(traceback.format_exception(error))))
    return path
