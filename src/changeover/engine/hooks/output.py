"""What a hook or a service wrote: without effect on a terminal, and cut to what a message can carry."""

from __future__ import annotations

import re
from textwrap import indent

MAX_CHARACTERS, MAX_LINES = 2000, 20
"""How much of an output goes into a message: enough to show a reason, too little to bury the rest."""
MAX_REASON = 200
"""How many characters of an output's last line go into the one line that the journal records."""
MAX_READ = 4 * MAX_CHARACTERS
"""Bytes that are read of an output, before secrets and escape sequences are removed."""
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)")


def plain(text: str) -> str:
    """Remove escape sequences, and replace other characters that do not print."""
    text = _ESCAPES.sub("", text).expandtabs(4).replace("\r", "\n")
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).strip()


def end_of(text: str, *, cut: bool) -> str:
    """The last lines of a text, marked where some are missing. `cut`: the text is itself the end of a longer one."""
    whole = "\n".join(_lines(text))
    shown = "\n".join(_lines(whole[-MAX_CHARACTERS:])[-MAX_LINES:])
    return f"[…]\n{shown}" if cut or shown != whole else shown


def start_of(text: str, *, cut: bool) -> str:
    """The first lines of a text, marked where some are missing. `cut`: the text is the start of a longer one."""
    whole = "\n".join(_lines(text))
    shown = "\n".join(_lines(whole[:MAX_CHARACTERS])[:MAX_LINES])
    return f"{shown}\n[…]" if cut or shown != whole else shown


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def with_output(text: str, output: str) -> str:
    """A message, followed by the output that it is about, if there is any."""
    return f"{text}. Its output:\n{indent(output, '    ')}" if output else text
