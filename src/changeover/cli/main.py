"""The command line: which commands there are."""

from __future__ import annotations

import typer

from changeover.cli.commands.app import app as app_command
from changeover.cli.commands.control import abort, pause, promote, retry, undo
from changeover.cli.commands.demo import demo
from changeover.cli.commands.down import down
from changeover.cli.commands.history import history, show
from changeover.cli.commands.keep import keep
from changeover.cli.commands.plan import plan
from changeover.cli.commands.probe import probe
from changeover.cli.commands.receive import receive
from changeover.cli.commands.relay import relay
from changeover.cli.commands.render import render
from changeover.cli.commands.resume import resume
from changeover.cli.commands.roll import roll
from changeover.cli.commands.schema import schema
from changeover.cli.commands.simulate import simulate
from changeover.cli.commands.status import status
from changeover.cli.commands.up import up
from changeover.kit import process

EPILOG = "Exit codes: 0 done, 1 rolled back safely, 2 could not do the job, 3 service was interrupted."

cli = typer.Typer(
    name="changeover",
    help="Roll any tier of a chain of servers so that no request in flight is broken, and prove it.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (
    *(up, status, plan, roll, pause, resume, promote, abort, undo, retry, history, show),
    *(probe, down, demo, simulate, schema, render, receive, relay),
):
    cli.command(epilog=EPILOG)(command)
cli.command("app", epilog=EPILOG)(app_command)
cli.command(hidden=True)(keep)


def main() -> None:
    process.ignore_no_signals()
    cli()
