"""Configuration in which comments say what the auditor is to find: `# expect: ID` is about the next line.

A `# expect: ID` in the last line is about the file as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from changeover.audit.assumptions import Assumptions
from changeover.audit.audit import Audit, audit
from changeover.audit.finding import Outcome
from changeover.audit.rule import Rule
from changeover.conf.document import Document
from changeover.conf.registry import reader_of

_EXPECT = re.compile(r"^\s*(?:#|;|//)\s*expect: (?P<ids>[A-Z0-9, ]+)$")
Found = set[tuple[str, int, str]]


def expected(files: Mapping[str, str]) -> Found:
    """(file, line, rule) of every mark."""
    found: Found = set()
    for file, text in files.items():
        lines = text.rstrip("\n").split("\n")
        for number, line in enumerate(lines, 1):
            if hit := _EXPECT.match(line):
                about = next((n for n in range(number + 1, len(lines) + 1) if not _EXPECT.match(lines[n - 1])), 0)
                found |= {(file, about, one.strip()) for one in hit["ids"].split(",")}
    return found


def fixture(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The files of a whole set, and what its file `assume` assumes."""
    files = {
        str(one.relative_to(folder)): one.read_text(encoding="utf-8") for one in folder.rglob("*") if one.is_file()
    }
    return files, dict(line.split("=", 1) for line in files.pop("assume", "").split())


def documents(files: Mapping[str, str]) -> list[Document]:
    found: list[Document] = []
    for file, text in files.items():
        reader = reader_of(text, file)
        assert reader is not None, f"no reader recognises {file}"
        found += reader.read(text, file)
    return found


def audited(
    files: Mapping[str, str], assume: Mapping[str, str] | None = None, rules: Iterable[Rule] | None = None
) -> Audit:
    return audit(documents(files), Assumptions().given(assume or {}), files, rules=rules)


def violations(found: Audit) -> Found:
    return {(one.finding.place.file, one.finding.place.line, one.rule.id) for one in found.of(Outcome.VIOLATED)}
