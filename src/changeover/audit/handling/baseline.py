"""A baseline: the findings that were there when it was created, which a later audit accepts.

A finding is known by its rule, outcome, file, object and the content of its line, never by the line's number. Pure.
Refuses to hide a finding more often than the baseline has it.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath

from changeover.audit.audit import Audit, Judged
from changeover.audit.finding import Outcome
from changeover.conf.place import Place
from changeover.model.errors import fail

FORMAT = 1
_KEY = ("rule", "outcome", "file", "object", "line")
Known = tuple[str, ...]


def line_of(texts: Mapping[str, str], place: Place) -> str:
    """The line of a place, without its end; empty for a file as a whole."""
    lines = _lines(texts.get(place.file, ""))
    return lines[place.line - 1].rstrip("\r") if 0 < place.line <= len(lines) else ""


@lru_cache(maxsize=16)
def _lines(text: str) -> list[str]:
    return text.split("\n")


@dataclass
class Baseline:
    """`left`: how often each finding may still be accepted. Paths are relative to the folder of `file`."""

    file: str
    left: Counter[Known]

    def accepts(self, one: Judged, texts: Mapping[str, str]) -> str | None:
        """Why a finding is accepted; None if it is new. Each entry accepts one finding."""
        key = _key(one, texts, PurePath(self.file).parent)
        if not self.left[key]:
            return None
        self.left[key] -= 1
        return f"in the baseline {self.file}"

    @property
    def gone(self) -> int:
        """Entries that no finding has used."""
        return self.left.total()


def created(found: Audit, texts: Mapping[str, str], file: str) -> str:
    """The text of a baseline: every finding that is violated or unknown, and not accepted otherwise."""
    kept = [*found.of(Outcome.VIOLATED), *found.of(Outcome.UNKNOWN)]
    entries = [
        {**dict(zip(_KEY, _key(one, texts, PurePath(file).parent), strict=True)), "what": one.finding.what}
        for one in kept
    ]
    entries.sort(key=lambda one: tuple(one[key] for key in ("file", "rule", "object", "line", "what")))
    return json.dumps({"format": FORMAT, "findings": entries}, indent=1, ensure_ascii=False) + "\n"


def read(text: str, file: str) -> Baseline:
    """Raises ChangeoverError if the text is no baseline."""
    try:
        page = json.loads(text)
        number = page["format"]
        entries = [tuple(one[key] for key in _KEY) for one in page["findings"]]
        if not all(isinstance(part, str) for one in entries for part in one):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise fail("this is no baseline", where=file, next="Write one with --create-baseline.") from error
    if number != FORMAT:
        raise fail(f"its format {number} is not {FORMAT}", where=file, next="Write it again with --create-baseline.")
    return Baseline(file, Counter(entries))


def _key(one: Judged, texts: Mapping[str, str], folder: PurePath) -> Known:
    finding = one.finding
    path = os.path.relpath(finding.place.file, folder).replace(os.sep, "/")
    line = hashlib.sha256(line_of(texts, finding.place).strip().encode()).hexdigest()[:16]
    # Some objects are the file itself, as it was named on the command line.
    object = finding.object.replace(finding.place.file, path)
    return one.rule.id, finding.outcome.value, path, object, line
