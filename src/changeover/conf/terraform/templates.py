"""Templates of HCL, in quotes and in heredocs -> expressions. A directive becomes what it computes.

`%{ if }` becomes a conditional, and `%{ for }` a `join` of what each pass yields. Refuses none that the grammar takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from changeover.conf.place import Place, Unreadable
from changeover.conf.terraform.syntax import Expression

if TYPE_CHECKING:
    from tree_sitter import Node as Parsed

_QUOTED = re.compile(r"\\([nrt\"\\])|\$\$(?=\{)|%%(?=\{)")
_BARE = re.compile(r"\$\$(?=\{)|%%(?=\{)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_BEGINS = {"template_if_intro": "if", "template_for_start": "for"}
_ENDS = {"template_else_intro": "else", "template_if_end": "endif", "template_for_end": "endfor"}
_DEEPEST = 20
_BUILDS = {"template_if", "template_for", "template_directive"}


@dataclass(frozen=True)
class _Token:
    """A text, an interpolation, or one of the words of a directive. `left`, `right`: it strips the space there."""

    kind: str
    node: Parsed
    text: str = ""
    left: bool = False
    right: bool = False


def unquoted(text: str) -> str:
    """Of a text in quotes, without its escapes."""
    return _QUOTED.sub(lambda found: _ESCAPED.get(found[1] or "", found[1] or found[0][0]), text)


def template(node: Parsed, place: Callable[[Parsed], Place], expression: Callable[[Parsed], Expression]) -> Expression:
    """The expression of a `quoted_template` or of a `heredoc_template`. Raises Unreadable."""
    source = node.text or b""
    first, last, indented = _bounds(node, source)
    tokens = list(_tokens(node, source, node.start_byte, first, last))
    if indented:
        tokens = _dedented(tokens, source[first:last].decode(errors="replace"))
    escapes = _BARE if node.type == "heredoc_template" else None
    found, rest = _Build(place, expression, escapes).sequence(node, _stripped(tokens), 0)
    text = source.decode(errors="replace")
    if rest:
        return Expression(place(node), "other", text)
    return replace(found, text=found.text if found.kind == "text" else text)


def _bounds(node: Parsed, source: bytes) -> tuple[int, int, bool]:
    """Where the content begins and ends within the node, and whether its indentation does not count."""
    if node.type != "heredoc_template":
        return 1, len(source) - 1, False
    start = next(one for one in node.children if one.type == "heredoc_identifier")
    first = source.index(b"\n", start.end_byte - node.start_byte) + 1
    end = node.children[-1].start_byte - node.start_byte
    return first, max(first, source.rfind(b"\n", 0, end) + 1), source.startswith(b"<<-")


def _tokens(node: Parsed, source: bytes, base: int, first: int, last: int, depth: int = 0) -> Iterator[_Token]:
    """Everything in a node by turns; text is what stands between the others, whitespace of the grammar included."""
    at = first
    if depth > 2 * _DEEPEST:  # a directive is two nodes
        yield _Token("deep", node)
        return
    for child in node.children:
        start, end = child.start_byte - base, child.end_byte - base
        marks = [one.type == "strip_marker" for one in child.children]
        left, right = marks[1:2] == [True], marks[-2:-1] == [True] and len(marks) > 3
        kind = "value" if child.type == "template_interpolation" else _BEGINS.get(child.type) or _ENDS.get(child.type)
        if kind is None and child.type not in _BUILDS:
            continue
        if start > at:
            yield _Token("text", node, source[at:start].decode(errors="replace"))
        if kind is None:
            yield from _tokens(child, source, base, start, end, depth + 1)
        else:
            yield _Token(kind, child, "", left, right)
        at = end
    if last > at:
        yield _Token("text", node, source[at:last].decode(errors="replace"))


def _dedented(tokens: Sequence[_Token], whole: str) -> list[_Token]:
    """Without the indentation that all lines of a `<<-` heredoc share."""
    shared = min((len(line) - len(line.lstrip(" ")) for line in whole.split("\n") if line.strip()), default=0)
    found: list[_Token] = []
    begins = True
    for one in tokens:
        if one.kind == "text":
            pattern = (r"(\A|\n)" if begins else r"(\n)") + f" {{0,{shared}}}"
            found.append(replace(one, text=re.sub(pattern, r"\1", one.text)))
            begins = one.text.endswith("\n")
        else:
            begins = False
            found.append(one)
    return found


def _stripped(tokens: Sequence[_Token]) -> list[_Token]:
    found = list(tokens)
    for at, one in enumerate(found):
        if one.left and at and found[at - 1].kind == "text":
            found[at - 1] = replace(found[at - 1], text=found[at - 1].text.rstrip())
        if one.right and at + 1 < len(found) and found[at + 1].kind == "text":
            found[at + 1] = replace(found[at + 1], text=found[at + 1].text.lstrip())
    return found


@dataclass(frozen=True)
class _Build:
    place: Callable[[Parsed], Place]
    expression: Callable[[Parsed], Expression]
    escapes: re.Pattern[str] | None
    """Of a heredoc; in quotes a backslash escapes too."""

    def sequence(self, node: Parsed, tokens: Sequence[_Token], depth: int) -> tuple[Expression, Sequence[_Token]]:
        """What the tokens build until a word that ends a directive, and the tokens from that word on."""
        if depth > _DEEPEST or any(one.kind == "deep" for one in tokens):
            raise Unreadable(f"directives are nested more than {_DEEPEST} deep", self.place(node))
        parts: list[Expression] = []
        rest = tokens
        while rest and rest[0].kind not in _ENDS.values():
            one, rest = rest[0], rest[1:]
            place = self.place(one.node)
            if one.kind == "text":
                text = unquoted(one.text) if self.escapes is None else self.escapes.sub(_first, one.text)
                parts += [Expression(place, "text", text)] if text else []
            elif one.kind == "value":
                parts.append(self._inner(one.node))
            elif one.kind == "if":
                made, rest = self._if(one.node, rest, depth)
                parts.append(made)
            else:
                made, rest = self._for(one.node, rest, depth)
                parts.append(made)
        place = self.place(node)
        if not parts:
            return Expression(place, "text", ""), rest
        if len(parts) == 1 and parts[0].kind == "text":
            return replace(parts[0], place=place), rest
        return Expression(place, "template", "", tuple(parts)), rest

    def _inner(self, node: Parsed) -> Expression:
        found = next((one for one in node.children if one.type == "expression"), None)
        return self.expression(found) if found is not None else Expression(self.place(node), "other", "")

    def _if(self, node: Parsed, tokens: Sequence[_Token], depth: int) -> tuple[Expression, Sequence[_Token]]:
        place, other = self.place(node), Expression(self.place(node), "text", "")
        then, rest = self.sequence(node, tokens, depth + 1)
        if rest and rest[0].kind == "else":
            other, rest = self.sequence(node, rest[1:], depth + 1)
        return Expression(place, "conditional", "%{ if }", (self._inner(node), then, other)), rest[1:]

    def _for(self, node: Parsed, tokens: Sequence[_Token], depth: int) -> tuple[Expression, Sequence[_Token]]:
        place = self.place(node)
        body, rest = self.sequence(node, tokens, depth + 1)
        words = [one for one in node.children if one.type == "identifier"]
        names = tuple(Expression(place, "word", (one.text or b"").decode(errors="replace")) for one in words)
        every = Expression(place, "word", "true")
        passes = (Expression(place, "list", "", names), self._inner(node), Expression(place, "absent", ""), body, every)
        called = (
            Expression(place, "word", "join"),
            Expression(place, "text", ""),
            Expression(place, "for", "%{ for }", passes),
        )
        return Expression(place, "call", "%{ for }", called), rest[1:]


def _first(found: re.Match[str]) -> str:
    return found[0][0]
