"""Reads an HAProxy configuration: sections of lines, each line as words with its place.

Refuses templates and conditional blocks (`.if`), whose lines depend on the machine that HAProxy starts on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable

PROXIES = {"frontend", "backend", "listen"}
_SECTIONS = {
    *PROXIES,
    *("global", "defaults", "userlist", "peers", "mailers", "resolvers", "program", "cache", "ring", "log-forward"),
    *("http-errors", "fcgi-app", "crt-store", "traces", "acme", "log-profile"),
}
_SIGN = re.compile(
    r"^[ \t]*(?:defaults(?:[ \t]+[\w.:-]+)?|global|(?:frontend|backend|listen)[ \t]+[\w.:-]+)[ \t]*(?:#.*|from .*)?$",
    re.MULTILINE,
)
_LINE = re.compile(
    r"^[ \t]*(?:bind|mode|timeout|server|stats|maxconn|default_backend|log|daemon|balance)\s", re.MULTILINE
)
_TEMPLATE = re.compile(r"\{\{|\{%|<%")
_UNITS = {"us": 1e-6, "ms": 1e-3, "": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class Line:
    words: tuple[str, ...]
    place: Place

    @property
    def text(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Section:
    """`name` is empty where it has none; `inherits` is the `defaults` section that applies to it.

    `source`: the name of that section, which another file may have.
    """

    kind: str
    name: str
    place: Place
    lines: tuple[Line, ...]
    inherits: Section | None
    source: str | None = None

    def find(self, *start: str) -> Line | None:
        """The last line that begins with these words, here or in the `defaults` that apply."""
        at: Section | None = self
        while at is not None:
            for line in reversed(at.lines):
                if line.words[: len(start)] == start:
                    return line
                if line.words[0] in {"no", "default"} and line.words[1 : 1 + len(start)] == start:
                    return None
            at = at.inherits
        return None

    @property
    def lost(self) -> str | None:
        """The name of `defaults` that apply and that no file has: what is not set here is not known."""
        at: Section | None = self
        while at is not None:
            if at.source is not None and at.inherits is None:
                return at.source
            at = at.inherits
        return None

    def each(self, first: str) -> Iterator[Line]:
        """The lines of this section alone that begin with a word and have another."""
        return (line for line in self.lines if line.words[0] == first and len(line.words) > 1)


@dataclass(frozen=True)
class HaproxyFile(Document):
    sections: tuple[Section, ...]


def recognises(text: str, file: str) -> bool:
    if _SIGN.search(text) is None or _LINE.search(text) is None:
        return False
    first = next(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return first.split()[0] in _SECTIONS or first.lstrip().startswith(".") or _TEMPLATE.search(first) is not None


def read(text: str, file: str) -> tuple[HaproxyFile, ...]:
    """Raises Unreadable."""
    found: list[tuple[Line, list[Line]]] = []
    for number, raw in enumerate(text.split("\n"), 1):
        if _TEMPLATE.search(raw.partition("#")[0]):
            raise Unreadable("the file is a template: render it first", Place(file, number))
        words = tuple(_words(raw, Place(file, number)))
        if not words:
            continue
        line = Line(words, Place(file, number, len(raw) - len(raw.lstrip()) + 1))
        if words[0] in {".if", ".elif", ".else", ".endif"}:
            raise Unreadable("what a conditional block holds depends on the machine", line.place)
        if words[0] in _SECTIONS and not (found and raw[:1].isspace() and words[0] in {"cache", "program"}):
            found.append((line, []))
        elif words[0].startswith("."):
            continue  # .notice, .warning
        elif found:
            found[-1][1].append(line)
        else:
            raise Unreadable(f"`{words[0]}` stands before the first section", line.place)
    return (HaproxyFile(file, tuple(_sections(found))),)


def _sections(found: list[tuple[Line, list[Line]]]) -> Iterator[Section]:
    named: dict[str, Section] = {}
    last: Section | None = None
    for head, lines in found:
        kind, *names = head.words
        source = names[names.index("from") + 1] if "from" in names[:-1] else None
        name = names[0] if names and names[0] != "from" else ""
        inherits = named.get(source) if source is not None else last if kind in PROXIES else None
        section = Section(kind, name, head.place, tuple(lines), inherits, source)
        if kind == "defaults":
            last = section
            named[name] = section
        yield section


def _words(line: str, place: Place) -> Iterator[str]:
    """Words of a line, without quotes, escapes and the comment. Raises Unreadable."""
    word: list[str] = []
    started, quote = False, ""
    at = 0
    while at < len(line):
        sign = line[at]
        if quote:
            if sign == quote:
                quote = ""
            elif sign == "\\" and quote == '"' and at + 1 < len(line):
                at += 1
                word.append(line[at])
            else:
                word.append(sign)
        elif sign in "'\"":
            quote, started = sign, True
        elif sign == "\\" and at + 1 < len(line):
            at += 1
            word.append(line[at])
            started = True
        elif sign == "#":
            break
        elif sign.isspace():
            if started:
                yield "".join(word)
            word, started = [], False
        else:
            word.append(sign)
            started = True
        at += 1
    if quote:
        raise Unreadable("a quote is not closed on its line", place)
    if started:
        yield "".join(word)


def seconds(text: str) -> float | None:
    """`30s`, `500` (milliseconds) -> seconds; None if it is no time, such as one from the environment."""
    found = re.fullmatch(r"(\d{1,12})(us|ms|s|m|h|d|)", text)
    return int(found[1]) * _UNITS[found[2]] if found else None
