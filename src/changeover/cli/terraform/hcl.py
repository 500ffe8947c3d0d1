"""Text of HCL: names that Compute Engine accepts, quoted strings, and the alignment of `terraform fmt`. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable

LONGEST = 63
"""Characters of a name in Compute Engine."""
_ATTRIBUTE = re.compile(r"^( *)([\w-]+) += (.*)$")
_HEREDOC = re.compile(r"= <<(\w+)$")


def name(stem: str, suffix: str = "", most: int = LONGEST) -> str:
    """A name of Compute Engine. One that would be too long is cut, and a hash of the whole keeps it apart."""
    found = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    found = found if found[:1].isalpha() else f"c-{found}"
    if len(found) + len(suffix) > most:
        digits = hashlib.sha256(stem.encode()).hexdigest()[:6]
        found = f"{found[: most - len(suffix) - len(digits) - 1].rstrip('-')}-{digits}"
    return found + suffix


def label(text: str) -> str:
    """The name of a block."""
    return re.sub(r"\W", "_", text)


def quoted(text: str) -> str:
    return escaped(json.dumps(text, ensure_ascii=False))


def escaped(text: str) -> str:
    """Without interpolation: `${` and `%{` begin one in every string of HCL."""
    return text.replace("${", "$${").replace("%{", "%%{")


def aligned(text: str) -> str:
    """Neighbouring attributes get their `=` in one column, as `terraform fmt` puts it."""
    done: list[str] = []
    run: list[tuple[str, str, str]] = []
    heredoc = ""
    for line in text.splitlines():
        found = None if heredoc else _ATTRIBUTE.match(line)
        if found is not None and (not run or run[0][0] == found[1]) and not found[3].endswith(("{", "[")):
            run.append((found[1], found[2], found[3]))
        else:
            done += _columns(run)
            run = []
            done.append(line)
        if heredoc:
            heredoc = "" if line == heredoc else heredoc
        elif (start := _HEREDOC.search(line)) is not None:
            heredoc = start[1]
    return "\n".join([*done, *_columns(run)]) + "\n"


def _columns(run: Iterable[tuple[str, str, str]]) -> list[str]:
    rows = list(run)
    width = max((len(key) for _, key, _ in rows), default=0)
    return [f"{indent}{key:<{width}} = {value}" for indent, key, value in rows]
