"""docs/changeover.1: the manual page of every command, made from the commands. Wheels carry it in share/man/man1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import typer

from changeover.cli.main import load

MAN_PAGE = "changeover.1"


def man_page(summary: str, commands: Iterable[str], exit_codes: Mapping[str, str]) -> str:
    """The whole page. No date and no version: either would change the page with every build."""
    return "\n".join(
        [
            r".\" Made from the commands: CHANGEOVER_WRITE_DOCS=1 pytest tests/unit/test_docs.py",
            '.TH CHANGEOVER 1 "" changeover "User Commands"',
            ".SH NAME",
            rf"changeover \- {_text(summary[0].lower() + summary[1:].removesuffix('.'))}",
            ".SH SYNOPSIS",
            r".B changeover",
            r"\fICOMMAND\fR [\fIOPTIONS\fR]",
            ".br",
            ".B changeover",
            r"\-\-version | \-\-help | \-\-install\-completion | \-\-show\-completion",
            ".SH COMMANDS",
            *(line for name in commands for line in _command(name)),
            ".SH EXIT STATUS",
            *(line for code, meaning in exit_codes.items() for line in (".TP", _text(code.strip("`")), _text(meaning))),
            ".SH FILES",
            ".TP",
            r".I chain.yaml",
            "The chain file that a command reads unless \\-f names another.",
            ".TP",
            r".I .changeover/",
            "The state folder unless \\-\\-state names another: journal, instances, logs, ledgers.",
            "",
        ]
    )


def _command(name: str) -> Iterable[str]:
    command = load(name)
    context = typer.Context(command, info_name=f"changeover {name}")
    yield f".SS {_text(command.get_usage(context).removeprefix('Usage: '))}"
    for number, paragraph in enumerate((command.help or "").split("\n\n")):
        if number:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))
    for one in command.params:
        if (record := one.get_help_record(context)) is not None:
            yield from (".TP", rf"\fB{_text(record[0])}\fR", _text(record[1]))


def _text(line: str) -> str:
    """Escaped for roff: no backslash, hyphen or leading dot means anything."""
    escaped = line.replace("\\", r"\e").replace("-", r"\-").replace("`", "")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
