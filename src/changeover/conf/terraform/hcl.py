"""Reads HCL, the language of Terraform: blocks, attributes and expressions, each with its place.

Also its JSON: files of variables, and `*.tf.json`. The grammar is tree-sitter's. Refuses to evaluate: `values.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from changeover.conf.place import Place, Unreadable
from changeover.conf.terraform import json_syntax
from changeover.conf.terraform.syntax import VARIABLES, Block, Expression, HclFile
from changeover.conf.terraform.templates import template, unquoted

if TYPE_CHECKING:
    from tree_sitter import Node as Parsed
    from tree_sitter import Parser

_SIGN = re.compile(
    r'^(?:(?:resource|data)[ \t]+(?:"[\w-]+"|\w+)[ \t]+(?:"[^"\n]+"|[\w-]+)'
    r'|(?:variable|module|output|provider)[ \t]+"[\w-]+"|locals|terraform)[ \t]*\{',
    re.MULTILINE,
)
_BARE_SIGN = re.compile(r"^(?:variable|module|output|provider)[ \t]+[\w-]+[ \t]*\{", re.MULTILINE)
"""Labels without quotes, which other languages have too."""
_JSON = ".tf.json"
_END = "CHANGEOVER_END"
_DEEPEST = 60
_SIGNS = {"+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||"}


def recognises(text: str, file: str) -> bool:
    if file.endswith((*VARIABLES, _JSON)) or _SIGN.search(text) is not None:
        return True
    return file.endswith(".tf") and _BARE_SIGN.search(text) is not None


def read(text: str, file: str) -> tuple[HclFile, ...]:
    """Raises Unreadable."""
    if file.endswith(VARIABLES[1]):
        return (json_syntax.variables(text, file),)
    if find_spec("tree_sitter_hcl") is None:
        raise Unreadable("reading Terraform needs two packages: pip install 'changeover[audit]'", Place(file))
    if file.endswith(_JSON):
        return (json_syntax.configuration(text, file, _template_at, _expression_at),)
    root = _parser().parse(text.encode()).root_node
    if root.has_error:
        line = _first_error(root)
        raise Unreadable("this is not HCL", Place(file, line))
    walk = _Walk(file)
    bodies = list(_of(root, "body"))
    blocks = tuple(one for body in bodies for one in walk.blocks(body, 0))
    variables = {
        _text(one.children[0]): walk.expression(next(_of(one, "expression")), 0)
        for body in bodies
        for one in (_of(body, "attribute") if file.endswith(VARIABLES) else ())
    }
    return (HclFile(file, blocks, variables),)


def _template_at(text: str, place: Place) -> Expression:
    """Of a text of JSON, whose escapes are those of JSON. Raises Unreadable."""
    if _END in text:
        return Expression(place, "other", text)
    found = replace(_expression_at(f"<<{_END}\n{text}\n{_END}\n", place), text=text)
    if found.kind != "template":
        return replace(found, text=found.text.removesuffix("\n"))
    last = found.parts[-1]
    parts = (*found.parts[:-1], replace(last, text=last.text.removesuffix("\n")))
    return replace(found, parts=parts if parts[-1].text else parts[:-1])


def _expression_at(text: str, place: Place) -> Expression:
    root = _parser().parse(f"x = {text}\n".encode()).root_node
    attribute = next((one for body in _of(root, "body") for one in _of(body, "attribute")), None)
    if root.has_error or attribute is None:
        raise Unreadable("this is no expression of Terraform", place)
    return _Walk(place.file, place).expression(next(_of(attribute, "expression")), 0)


@cache
def _parser() -> Parser:
    import tree_sitter_hcl  # an extra: `changeover audit` of other formats needs neither
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_hcl.language()))


def _first_error(root: Parsed) -> int:
    stack = [root]
    while stack:
        at = stack.pop()
        if at.type == "ERROR" or at.is_missing:
            return at.start_point[0] + 1
        stack += reversed([one for one in at.children if one.has_error or one.is_missing])
    return 0


def _of(node: Parsed, *types: str) -> Iterator[Parsed]:
    return (one for one in node.children if one.type in types)


def _text(node: Parsed) -> str:
    return (node.text or b"").decode(errors="replace")


@dataclass(frozen=True)
class _Walk:
    """`at`: where the text stands that holds it all, of which the nodes' own lines do not count."""

    file: str
    at: Place | None = None

    def place(self, node: Parsed) -> Place:
        return self.at or Place(self.file, node.start_point[0] + 1, node.start_point[1] + 1)

    def blocks(self, body: Parsed, depth: int) -> Iterator[Block]:
        if depth > _DEEPEST:
            raise Unreadable(f"blocks are nested more than {_DEEPEST} deep", self.place(body))
        for node in _of(body, "block"):
            words = [_text(one).strip('"') for one in _of(node, "identifier", "string_lit")]
            if any("{{" in word or "<%" in word or "{%" in word for word in words):
                raise Unreadable("the file is a template: render it first", self.place(node))
            attributes: dict[str, Expression] = {}
            keys: dict[str, Place] = {}
            inner: tuple[Block, ...] = ()
            for own in _of(node, "body"):
                inner = tuple(self.blocks(own, depth + 1))
                for one in _of(own, "attribute"):
                    name = _text(one.children[0])
                    keys[name] = self.place(one)
                    attributes[name] = self.expression(next(_of(one, "expression")), depth)
            yield Block(self.place(node), words[0], tuple(words[1:]), attributes, keys, inner)

    def expression(self, node: Parsed, depth: int) -> Expression:
        return self._term([node], depth)

    def _term(self, nodes: Sequence[Parsed], depth: int) -> Expression:
        """An operand: what it begins with, and the attributes and indices that follow."""
        first, place = nodes[0], self.place(nodes[0])
        if depth > _DEEPEST:
            raise Unreadable(f"expressions are nested more than {_DEEPEST} deep", place)
        if first.type == "(" and len(nodes) > 2:
            base, rest = self._term(nodes[1:2], depth + 1), nodes[3:]
        else:
            base, rest = self._primary(first, depth), nodes[1:]
        if not rest:
            return base
        text = "".join(map(_text, nodes))
        keys: list[Expression] = []
        for one in rest:
            if one.type == "get_attr":
                keys.append(Expression(self.place(one), "attribute", _text(one.children[-1])))
            elif one.type == "index" and (inner := next(_of(one.children[0], "expression"), None)) is not None:
                keys.append(self.expression(inner, depth + 1))
            elif one.type == "index":
                keys.append(Expression(self.place(one), "word", _text(one).strip(".")))
            elif one.type == "splat":
                keys.append(Expression(self.place(one), "splat", _text(one)))
            else:
                return Expression(place, "other", text)
        return Expression(place, "get", text, (base, *keys))

    def _primary(self, node: Parsed, depth: int) -> Expression:
        place, text = self.place(node), _text(node)
        children = [one for one in node.children if one.type != "comment"]
        match node.type:
            case "expression" | "literal_value" | "collection_value" | "template_expr" | "operation" if children:
                return self._term(children, depth + 1)
            case "numeric_lit" | "bool_lit" | "null_lit":
                return Expression(place, "word", text)
            case "variable_expr":
                return Expression(place, "name", text)
            case "string_lit":
                return Expression(place, "text", unquoted(text[1:-1]))
            case "quoted_template" | "heredoc_template":
                return template(node, self.place, lambda inner: self.expression(inner, depth + 1))
            case "tuple":
                return Expression(place, "list", text, self._parts(node, depth))
            case "object":
                elements = tuple(part for one in _of(node, "object_elem") for part in self._element(one, depth))
                return Expression(place, "object", text, elements)
            case "conditional":
                parts = self._split(children, {"?", ":"}, depth)
                return Expression(place, "conditional" if len(parts) == 3 else "other", text, parts)
            case "function_call":
                return Expression(place, "call", text, self._called(node, depth))
            case "binary_operation":
                sign = next((one for one in children if one.type in _SIGNS), None)
                if sign is not None:
                    operands = self._split(children, {sign.type}, depth)
                    return Expression(place, "operation", text, (self._word(sign), *operands))
            case "unary_operation":
                operand = self._term(children[1:], depth + 1)
                return Expression(place, "operation", text, (self._word(children[0]), operand))
            case "for_expr":
                return self._for(node.children[0], place, text, depth)
        return Expression(place, "other", text)

    def _word(self, node: Parsed) -> Expression:
        return Expression(self.place(node), "word", _text(node))

    def _parts(self, node: Parsed, depth: int) -> tuple[Expression, ...]:
        return tuple(self.expression(one, depth + 1) for one in _of(node, "expression"))

    def _split(self, nodes: Sequence[Parsed], signs: set[str], depth: int) -> tuple[Expression, ...]:
        """The operands between signs. An operand is several nodes, without one around them."""
        operands: list[list[Parsed]] = [[]]
        for one in nodes:
            if one.type in signs:
                operands.append([])
            else:
                operands[-1].append(one)
        return tuple(self._term(one, depth + 1) for one in operands if one)

    def _element(self, node: Parsed, depth: int) -> tuple[Expression, ...]:
        """A key, which is a name as it stands there, and its value."""
        key, *values = self._parts(node, depth)
        plain = key.kind == "name" and not _text(node).startswith("(")
        return (replace(key, kind="text") if plain else key, *values)

    def _called(self, node: Parsed, depth: int) -> tuple[Expression, ...]:
        given = next(_of(node, "function_arguments"), None)
        arguments = self._parts(given, depth) if given is not None else ()
        if given is not None and arguments and any(_of(given, "ellipsis")):
            last = arguments[-1]
            arguments = (*arguments[:-1], Expression(last.place, "spread", last.text, (last,)))
        return (self._word(node.children[0]), *arguments)

    def _for(self, node: Parsed, place: Place, text: str, depth: int) -> Expression:
        intro = next(_of(node, "for_intro"), None)
        results = self._parts(node, depth)
        grouped = any(_of(node, "ellipsis"))
        if intro is None or grouped or len(results) != (2 if node.type == "for_object_expr" else 1):
            return Expression(place, "other", text)
        names = Expression(place, "list", "", tuple(self._word(one) for one in _of(intro, "identifier")))
        condition = next(_of(node, "for_cond"), None)
        tested = self._parts(condition, depth) if condition is not None else ()
        absent = Expression(place, "absent", "")
        return Expression(
            place,
            "for",
            text,
            (
                names,
                *self._parts(intro, depth)[:1],
                results[0] if len(results) == 2 else absent,
                results[-1],
                tested[0] if tested else Expression(place, "word", "true"),
            ),
        )
