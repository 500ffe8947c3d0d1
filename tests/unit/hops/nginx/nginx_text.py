"""nginx's own way of reading a configuration: words, quotes and blocks; variables are left as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | "((?:\\.|[^"\\])*)" | ([{};]) | ([^\s{};"#][^\s{};]*)""", re.VERBOSE | re.DOTALL
)


@dataclass(frozen=True)
class Directive:
    words: tuple[str, ...]
    block: tuple[Directive, ...] = ()

    @property
    def name(self) -> str:
        return self.words[0]

    def all(self, name: str) -> list[Directive]:
        return [one for one in self.block if one.name == name]

    def one(self, name: str) -> Directive:
        (found,) = self.all(name)
        return found

    def value(self, name: str) -> tuple[str, ...]:
        """The words after the name, of the only directive of that name."""
        return self.one(name).words[1:]

    def names(self) -> set[str]:
        """Of every directive in it, however deep."""
        return {self.name}.union(*(one.names() for one in self.block))


def parse(text: str) -> Directive:
    """The whole file as one block. A text that nginx would not take apart either is an error."""
    tokens = _tokens(text)
    directives = tuple(_directives(tokens))
    assert next(tokens, None) is None, "a } too many"
    return Directive(("main",), directives)


def _directives(tokens: Iterator[tuple[bool, str]]) -> Iterator[Directive]:
    words: list[str] = []
    for quoted, token in tokens:
        if quoted or token not in "{};":
            words.append(token)
        elif token == ";":
            yield Directive(tuple(words))
            words = []
        elif token == "{":
            yield Directive(tuple(words), tuple(_directives(tokens)))
            words = []
        else:
            assert not words, f"{words} is not ended"
            return


def _tokens(text: str) -> Iterator[tuple[bool, str]]:
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        assert found, f"cannot read {text[position : position + 40]!r}"
        position = found.end()
        if found[1] is not None:
            yield True, re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), found[1])
        elif found[2] or found[3]:
            yield False, found[2] or found[3]
