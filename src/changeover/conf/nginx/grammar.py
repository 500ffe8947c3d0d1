"""nginx's grammar: a text -> directives, each with its place in the text.

Refuses to know what a directive means or where it may stand: `nginx -t` says that. crossplane, the usual parser, reads
files instead of a text and keeps neither columns nor offsets.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?:\s++|\#[^\n]*+)*+
      (?: "(?P<double>(?:\\.|[^"\\]++){0,4096}+)" | '(?P<single>(?:\\.|[^'\\]++){0,4096}+)'
      | (?P<mark>[{};])
      | (?P<word>(?:\\.|\$\{[^}]*\}|[^\s{};"'#\\])(?:\\.|\$\{[^}]*\}|[^\s{};\\$]++|\$){0,4097}+)
      | (?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)
_GAP = re.compile(r"(?:\s++|#[^\n]*+)*+")
_LONGEST = 4096
"""Bytes of a word: nginx refuses a longer one as a "too long parameter" (NGX_CONF_BUFFER in ngx_conf_file.c)."""
_DEEPEST = 64
"""Blocks within blocks. nginx's own configurations stay below 10."""
_LUA = re.compile(
    r"--\[(?P<note>=*)\[.*?\](?P=note)\]|--[^\n]*|\[(?P<long>=*)\[.*?\](?P=long)\]"
    r"|\"(?:\\.|[^\"\\\n]++)*+\"|'(?:\\.|[^'\\\n]++)*+'|[{}]",
    re.DOTALL,
)
"""Comments and strings of Lua, whose braces count for nothing, and braces."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Word:
    """`text` as nginx understands it, at `start` to `end` of the file, quotes included."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Directive:
    """`block` is None where it ends with a semicolon; `inside` is the offset after its opening brace."""

    words: tuple[Word, ...]
    line: int
    file: str
    block: tuple[Directive, ...] | None = None
    inside: int = 0
    column: int = 1

    @property
    def name(self) -> str:
        return self.words[0].text

    @property
    def values(self) -> tuple[str, ...]:
        return tuple([word.text for word in self.words[1:]])

    def __str__(self) -> str:
        return " ".join([word.text for word in self.words])


class NotNginx(ValueError):
    """The text is no nginx configuration. `line` says where."""

    def __init__(self, what: str, line: int) -> None:
        super().__init__(what)
        self.line = line


def parse(text: str, file: str) -> tuple[Directive, ...]:
    """The directives of one file. Raises NotNginx."""
    return tuple(_Reader(text, file).directives(0))


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self._text, self._file, self._at = text, file, 0
        self._ends = [found.start() for found in re.finditer("\n", text)]

    def directives(self, depth: int) -> Iterator[Directive]:
        words: list[Word] = []
        while (found := self._next()) is not None:
            token, mark = found
            if not mark:
                words.append(token)
            elif token.text == ";" and words:
                yield self._directive(words)
                words = []
            elif token.text == "{" and words:
                if depth == _DEEPEST:
                    raise NotNginx(f"blocks are nested more than {_DEEPEST} deep", self._line(token.start))
                if words[0].text.endswith("_by_lua_block"):  # another language
                    self._skip_lua(token.start)
                    block: tuple[Directive, ...] = ()
                else:
                    block = tuple(self.directives(depth + 1))
                yield self._directive(words, block, token.end)
                words = []
            elif token.text == "}" and not words and depth:
                return
            else:
                raise NotNginx(f"unexpected {token.text!r}", self._line(token.start))
        if words:
            raise NotNginx(f"{words[0].text!r} is not ended by a semicolon", self._line(words[0].start))
        if depth:
            raise NotNginx("a { is not closed", self._line(len(self._text)))

    def _next(self) -> tuple[Word, bool] | None:
        found = _TOKEN.match(self._text, self._at)
        kind = found.lastgroup if found is not None else None
        if found is None or kind is None:
            raise self._no_token()
        start, end = found.span(kind)
        self._at = found.end()
        text = found[kind]
        if kind == "mark":
            return Word(text, start, end), True
        if kind == "end":
            return None
        if kind != "word":
            start, end = start - 1, end + 1  # its quotes
        if end - start > _LONGEST // 4 and len(self._text[start:end].encode()) > _LONGEST:
            raise NotNginx(f"a word is longer than the {_LONGEST} bytes that nginx takes", self._line(start))
        return Word(_ESCAPE.sub(_unescaped, text) if "\\" in text else text, start, end), False

    def _no_token(self) -> NotNginx:
        gap = _GAP.match(self._text, self._at)
        start = gap.end() if gap is not None else self._at
        far = f" within the {_LONGEST} bytes of nginx's longest word" if len(self._text) - start > _LONGEST else ""
        return NotNginx(f"a quote is not closed{far}", self._line(start))

    def _skip_lua(self, start: int) -> None:
        depth = 0
        for found in _LUA.finditer(self._text, start):
            depth += {"{": 1, "}": -1}.get(found[0], 0)
            if not depth:
                self._at = found.end()
                return
        raise NotNginx("a { is not closed", self._line(start))

    def _directive(self, words: list[Word], block: tuple[Directive, ...] | None = None, inside: int = 0) -> Directive:
        line = self._line(words[0].start)
        column = words[0].start - (self._ends[line - 2] if line > 1 else -1)
        return Directive(tuple(words), line, self._file, block, inside, column)

    def _line(self, offset: int) -> int:
        return bisect_left(self._ends, offset) + 1


def _unescaped(found: re.Match[str]) -> str:
    """nginx takes the backslash away before quotes, `\\t`, `\\r` and `\\n`, and keeps any other."""
    return {'"': '"', "'": "'", "\\": "\\", " ": " ", ";": ";", "t": "\t", "r": "\r", "n": "\n"}.get(found[1], found[0])
