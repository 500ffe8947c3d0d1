"""Writes the value that a finding asks for, where one literal of one line has to change. Pure: text in, text out.

Refuses files that a program printed, templates, values that come from elsewhere (variables, aliases, expressions), keys
that a line has twice, and two findings that ask for different values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from changeover.audit.audit import Audit
from changeover.audit.finding import Outcome
from changeover.audit.handling.baseline import line_of
from changeover.audit.setting import Replacement
from changeover.conf.document import Document
from changeover.conf.google import GoogleFile
from changeover.conf.nginx.reader import NginxFile

_TEMPLATE = re.compile(r"\{\{|\{%|<%")
_SHARED = re.compile(r"[\s:\[{,-][&*]\w")
"""A YAML anchor, whose value others use, or an alias."""


@dataclass(frozen=True)
class Fix:
    """`rules` ask for it."""

    file: str
    line: int
    rules: tuple[str, ...]
    replacement: Replacement


def fixes(found: Audit, texts: Mapping[str, str], documents: Sequence[Document]) -> list[Fix]:
    """Those that can be written, by file and line."""
    printed = {one.file for one in documents if _is_printed(one)}
    asked: dict[tuple[str, int, str], list[tuple[str, Replacement]]] = {}
    for one in found.of(Outcome.VIOLATED):
        place, wanted = one.finding.place, one.finding.replacement
        if wanted is None or place.file not in texts or place.file in printed or _TEMPLATE.search(texts[place.file]):
            continue
        if _where(line_of(texts, place), wanted) is not None:
            asked.setdefault((place.file, place.line, wanted.key), []).append((one.rule.id, wanted))
    return [
        Fix(file, line, tuple(dict.fromkeys(rule for rule, _ in wanted)), wanted[0][1])
        for (file, line, _), wanted in sorted(asked.items())
        if len({one for _, one in wanted}) == 1
    ]


def _is_printed(document: Document) -> bool:
    if isinstance(document, GoogleFile):
        return any(one.origin not in {"connector", "gke"} for one in document.resources)
    return isinstance(document, NginxFile) and document.dumped


def _where(line: str, wanted: Replacement) -> tuple[int, int] | None:
    """The columns of the literal; None unless the line has the key once, and nothing but the literal as its value."""
    key, old = re.escape(wanted.key), re.escape(wanted.old)
    if _SHARED.search(line.partition("#")[0]):
        return None
    option = wanted.key.startswith("-")
    between = r"(?:=|\s+|[\"']\s*,\s*[\"'])" if option else r"[\"']?\s*[=:\s]\s*[\"']?"
    after = r"(?=$|[\s\"'\],;])" if option else r"(?=[\"']?\s*(?:$|[;,}#]|//|/\*))"
    found = list(re.finditer(rf"(?<![\w.-]){key}{between}({old}){after}", line))
    keys = re.findall(rf"(?<![\w.-]){key}(?![\w-])", line)
    return found[0].span(1) if len(found) == len(keys) == 1 else None


def fixed(text: str, wanted: Sequence[Fix]) -> str:
    """A text with the fixes of its file."""
    lines = text.split("\n")
    for one in wanted:
        line = lines[one.line - 1]
        if (span := _where(line.rstrip("\r"), one.replacement)) is not None:
            lines[one.line - 1] = line[: span[0]] + one.replacement.new + line[span[1] :]
    return "\n".join(lines)


def changed(texts: Mapping[str, str], wanted: Sequence[Fix]) -> dict[str, str]:
    """The new text of each file that changes."""
    files = dict.fromkeys(one.file for one in wanted)
    return {file: fixed(texts[file], [one for one in wanted if one.file == file]) for file in files}


def diff(texts: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """A unified diff, as `patch -p0` takes it, line by line without its end."""
    for file, text in new.items():
        yield from difflib.unified_diff(_lines(texts[file]), _lines(text), file, file, lineterm="")


def _lines(text: str) -> list[str]:
    *lines, rest = text.split("\n")
    return [*lines, f"{rest}\n\\ No newline at end of file"] if rest else lines
