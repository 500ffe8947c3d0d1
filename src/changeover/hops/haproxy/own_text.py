"""A haproxy.cfg as sections of lines, each with its words and its number. Pure.

Refuses to know what a line means or where it may stand: `haproxy -c` says that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from changeover.hops.own_file import PLACEHOLDER

_WORD = re.compile(
    r"""(?P<gap>[ \t]+) | (?P<end>\#.*) | (?P<word>(?:\\. | '[^']*' | "(?:\\.|[^"\\])*" | [^\s\#'"])+ | .)""", re.X
)
_QUOTES = re.compile(r"""\\(.) | '([^']*)' | "((?:\\.|[^"\\])*)" """, re.X)
KINDS = frozenset(
    {
        *("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache"),
        *("program", "http-errors", "ring", "log-forward", "fcgi-app", "crt-store", "traces", "log-profile", "acme"),
    }
)


@dataclass(frozen=True)
class Line:
    """`text` without its comment. `words` as HAProxy understands them."""

    number: int
    text: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.words[0]

    def __str__(self) -> str:
        return " ".join(self.words)


@dataclass(frozen=True)
class Section:
    """`head` names it; `lines` are those with words."""

    head: Line
    lines: tuple[Line, ...]

    @property
    def kind(self) -> str:
        return self.head.name

    def of(self, *words: str) -> list[Line]:
        """Its lines that begin with these words."""
        return [line for line in self.lines if line.words[: len(words)] == words]


def sections(text: str) -> list[Section]:
    """Every section, in its order. Lines before the first one are in none."""
    lines = [line for line in _lines(text) if line.words]
    heads = [position for position, line in enumerate(lines) if line.name in KINDS]
    return [
        Section(lines[head], tuple(lines[head + 1 : following]))
        for head, following in zip(heads, [*heads[1:], len(lines)], strict=True)
    ]


def _lines(text: str) -> Iterator[Line]:
    for number, raw in enumerate(text.splitlines(), 1):
        end, words = len(raw), []
        for found in _WORD.finditer(raw):
            if found.lastgroup == "end":
                end = found.start()
                break
            if found.lastgroup == "word":
                words.append(_QUOTES.sub(lambda quoted: next(filter(None, quoted.groups()), ""), found[0]))
        yield Line(number, raw[:end].rstrip(), tuple(words))


_PIECE = re.compile(rf"\\[^\n]|{PLACEHOLDER.pattern}|.", re.S)
_PLAIN = re.compile(r"[A-Za-z0-9_./:,@=+-]")


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with the value of each placeholder, which stays one word in quotes and outside of them."""
    quote, parts = "", []
    for piece in _PIECE.findall(text):
        value = values.get(piece)
        if value is None:
            parts.append(piece)
            if piece == "\n" or (quote != "#" and piece == quote):
                quote = ""
            elif not quote and piece in ("'", '"', "#"):  # `#`: a comment, to the end of its line
                quote = piece
        elif quote == "'":
            parts.append(value.replace("'", "'\\''"))
        else:
            parts += [one if _PLAIN.fullmatch(one) else _escaped(one) for one in value]
    return "".join(parts)


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


_BEFORE_A_FILE = frozenset(
    {
        *("errorfile", "file", "lf-file", "-f", "lua-load", "lua-load-per-thread", "ssl-dh-param-file"),
        *("ca-file", "ca-verify-file", "crl-file"),
    }
)
"""Words whose next one is a file. Certificates are left out, because they are renewed where they are."""
_MAP = re.compile(r"\bmap(?:_\w+)?\(([^,)\s]+)")


def named_files(text: str) -> Iterator[str]:
    """The files that HAProxy reads besides this one, certificates left out."""
    for line in _lines(text):
        for word, following in zip(line.words, line.words[1:], strict=False):
            if word in _BEFORE_A_FILE:
                yield following
        if line.words[:1] == ("errorfile",) and len(line.words) > 2:
            yield line.words[2]
        yield from (name for word in line.words for name in _MAP.findall(word))


class Configuration:
    """A whole file. What a section does not say itself, the `defaults` before it do, or those that it names."""

    def __init__(self, text: str) -> None:
        self.sections = sections(text)
        self._above: dict[int, Section | None] = {}
        last: Section | None = None
        named: dict[str, Section] = {}
        for section in self.sections:
            words = section.head.words
            if "from" in words[:-1]:
                self._above[id(section)] = named.get(words[words.index("from") + 1])
            else:
                self._above[id(section)] = None if section.kind == "defaults" else last
            if section.kind == "defaults":
                last = section
                named[words[1] if len(words) > 1 else ""] = section

    def of(self, *kinds: str) -> list[Section]:
        return [section for section in self.sections if section.kind in kinds]

    def lines(self, section: Section, *words: str) -> list[Line]:
        """The lines with these words that hold for it."""
        own, above = section.of(*words), self._above[id(section)]
        return own if own or above is None else self.lines(above, *words)

    def reads_http(self, section: Section) -> bool:
        return [line.words[1:] for line in self.lines(section, "mode")][-1:] == [("http",)]
