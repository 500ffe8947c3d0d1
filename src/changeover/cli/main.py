"""The command line: finds the command, imports that one, and turns an unforeseen exception into exit code 70.

`changeover --help` imports no command. The list of commands is in registry.py.
"""

from __future__ import annotations

import gc
import os
import sys
from copy import copy
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from changeover.cli.options.log_format import OPTION, VARIABLE, LogFormat
from changeover.cli.registry import COMMANDS
from changeover.kit import process

EPILOG = (
    "Exit codes: 0 done, 1 findings or rolled back safely, 2 could not do the job, 3 service was interrupted, "
    "4 there is something to do, 5 the rollout is unfinished, 70 a fault of this program."
)


class LazyGroup(TyperGroup):
    """Holds a placeholder for each command, and replaces the one that is called by the command itself."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, _, rest = super().resolve_command(ctx, args)
        command = load(str(name))
        for option in self.params:
            if option.name == "log_format":  # after the command too, where operators look for it
                also = copy(option)
                also.hidden = True  # type: ignore[attr-defined]
                command.params.append(also)
        return name, command, rest

    def main(self, args: Any = None, *, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """As Typer's, but a usage error has the form of every other error, as JSON too."""
        words = sys.argv[1:] if args is None else list(args)
        if not standalone_mode:
            return super().main(words, standalone_mode=False, **extra)
        try:
            code = super().main(words, standalone_mode=False, **extra)
        except TyperException as error:
            from changeover.cli import faults  # here: a run without an error imports nothing for one

            code = faults.usage_error(error, words)
        sys.exit(code)


def load(name: str) -> Any:
    """The command of that name, imported."""
    entry = COMMANDS[name]
    module = import_module(f"changeover.cli.commands.{entry.module}")
    gc.enable()  # see __main__.py
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name, cls=getattr(module, "COMMAND_CLASS", None), epilog=EPILOG, hidden=entry.hidden)(
        getattr(module, name)
    )
    return get_command(alone)


def _placeholder() -> None:
    raise AssertionError("LazyGroup.resolve_command replaces every placeholder before it is called")


cli = typer.Typer(
    cls=LazyGroup,
    name="changeover",
    help="Roll any tier of a chain of servers without breaking a request in flight, and prove it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for _name, _entry in COMMANDS.items():
    cli.command(_name, help=_entry.summary, hidden=_entry.hidden)(_placeholder)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"changeover {metadata.version('changeover')}")
        raise typer.Exit


def _set_log_format(wanted: LogFormat) -> LogFormat:
    os.environ[VARIABLE] = wanted  # for Output, the keeper and a detached command
    if wanted is LogFormat.JSON:
        import logging  # here, as `--help` needs neither

        from changeover.cli.rendering.log_lines import ObjectHandler

        logging.lastResort = ObjectHandler()
    return wanted


@cli.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(
            OPTION,
            envvar=VARIABLE,
            callback=_set_log_format,
            expose_value=False,
            help="Form of the lines on standard error: text, dated text, or JSON.",
        ),
    ] = LogFormat.TEXT,
) -> None:
    """Every option before the command."""


def main() -> None:
    process.ignore_no_signals()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without `→` must not end a rollout
    try:
        cli(prog_name="changeover")  # also for `python -m changeover`: completion scripts call this name
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # help and usage errors; Rich and Typer exit with 1 there
            from changeover.cli.rendering import stdout

            stdout.leave()
        raise
    except Exception as error:
        from changeover.cli import faults  # here: a run without a fault imports nothing for one

        sys.exit(faults.report(error, sys.argv[1:]))
