"""Reads HCL, the language of Terraform: blocks, attributes and expressions, each with its place.

Also files of variables: .tfvars, and .tfvars.json. The grammar is tree-sitter's. Refuses to evaluate: `terraform.py`
resolves what is literal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, Word, parse

if TYPE_CHECKING:
    from tree_sitter import Node as Parsed
    from tree_sitter import Parser

_SIGN = re.compile(
    r'^(?:(?:resource|data)[ \t]+"[\w-]+"[ \t]+"[\w-]+"|(?:variable|module|output|provider)[ \t]+"[\w-]+"'
    r"|locals|terraform)[ \t]*\{",
    re.MULTILINE,
)
_REFERENCE = {"variable_expr", "get_attr", "index", "splat", "identifier"}
_DEEPEST = 60
VARIABLES = (".tfvars", ".tfvars.json")
"""Endings of files of variables, which have no sign."""
Kind = Literal["word", "text", "list", "object", "reference", "template", "conditional", "other"]


@dataclass(frozen=True)
class Expression:
    """`parts`: of a list its values, of an object keys and values by turns, of a conditional its three."""

    place: Place
    kind: Kind
    text: str
    parts: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Block:
    place: Place
    type: str
    labels: tuple[str, ...]
    attributes: Mapping[str, Expression]
    keys: Mapping[str, Place]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class HclFile(Document):
    """`variables`: what a file of variables sets."""

    blocks: tuple[Block, ...]
    variables: Mapping[str, Expression] = field(default_factory=dict)


def recognises(text: str, file: str) -> bool:
    return file.endswith(VARIABLES) or _SIGN.search(text) is not None


def read(text: str, file: str) -> tuple[HclFile, ...]:
    """Raises Unreadable."""
    if file.endswith(VARIABLES[1]):
        roots = parse(text, file)
        if len(roots) != 1 or not isinstance(roots[0], Map):
            raise Unreadable("a file of variables is an object", Place(file))
        return (HclFile(file, (), {name: _of_json(value) for name, value in roots[0].items.items()}),)
    if find_spec("tree_sitter_hcl") is None:
        raise Unreadable("reading Terraform needs two packages: pip install 'changeover[audit]'", Place(file))
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


def _of_json(node: Node) -> Expression:
    """Of JSON, whose nesting its reader bounds."""
    match node:
        case Word():
            return Expression(node.place, "text" if node.quoted else "word", node.word)
        case Items():
            return Expression(node.place, "list", "[…]", tuple(map(_of_json, node.values)))
        case Map():
            pairs = ((Expression(node.keys[key], "text", key), _of_json(value)) for key, value in node.items.items())
            return Expression(node.place, "object", "{…}", tuple(part for pair in pairs for part in pair))
    return Expression(node.place, "other", "")


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
    file: str

    def place(self, node: Parsed) -> Place:
        return Place(self.file, node.start_point[0] + 1, node.start_point[1] + 1)

    def blocks(self, body: Parsed, depth: int) -> Iterator[Block]:
        if depth > _DEEPEST:
            raise Unreadable(f"blocks are nested more than {_DEEPEST} deep", self.place(body))
        for node in _of(body, "block"):
            words = [_text(one).strip('"') for one in _of(node, "identifier", "string_lit")]
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
        if depth > _DEEPEST:
            raise Unreadable(f"expressions are nested more than {_DEEPEST} deep", self.place(node))
        place, text = self.place(node), _text(node)
        named = [one for one in node.children if one.is_named and one.type != "comment"]
        if node.type in {"expression", "literal_value", "collection_value", "template_expr"} and len(named) == 1:
            return self.expression(named[0], depth + 1)
        match node.type:
            case "numeric_lit" | "bool_lit" | "null_lit":
                return Expression(place, "word", text)
            case "string_lit":
                return Expression(place, "text", "".join(_text(one) for one in _of(node, "template_literal")))
            case "heredoc_template":
                return Expression(place, "other", text)
            case "quoted_template":
                parts = tuple(
                    self.expression(next(_of(one, "expression")), depth + 1)
                    if one.type == "template_interpolation" and any(_of(one, "expression"))
                    else Expression(self.place(one), "text", _text(one))
                    for one in _of(node, "template_literal", "template_interpolation")
                )
                return Expression(place, "template", text, parts)
            case "tuple":
                return Expression(place, "list", text, self._parts(node, depth))
            case "object":
                elements = tuple(part for one in _of(node, "object_elem") for part in self._parts(one, depth))
                return Expression(place, "object", text, elements)
            case "conditional":
                return Expression(place, "conditional", text, self._parts(node, depth))
        refers = node.type == "variable_expr" or (named and named[0].type == "variable_expr")
        if refers and all(one.type in _REFERENCE for one in named):
            return Expression(place, "reference", text)
        return Expression(place, "other", text)

    def _parts(self, node: Parsed, depth: int) -> tuple[Expression, ...]:
        return tuple(self.expression(one, depth + 1) for one in _of(node, "expression"))
