"""Reads HCL, the language of Terraform: blocks, attributes and expressions, each with its place.

Also files of variables: .tfvars, and .tfvars.json. The grammar is tree-sitter's. Refuses to evaluate: `values.py` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
_ESCAPE = re.compile(r"\\([nrt\"\\])|\$\$(?=\{)|%%(?=\{)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}
_DEEPEST = 60
_SIGNS = {"+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||"}
VARIABLES = (".tfvars", ".tfvars.json")
"""Endings of files of variables, which have no sign."""
BESIDE = ("*.tfvars", "*.tfvars.json", "override.tf", "*_override.tf")
"""Files that change what others of their folder say, or may."""
Kind = Literal[
    "word",
    "text",
    "list",
    "object",
    "name",
    "get",
    "attribute",
    "splat",
    "template",
    "conditional",
    "call",
    "spread",
    "operation",
    "for",
    "absent",
    "other",
]


@dataclass(frozen=True)
class Expression:
    """`parts`: of a list its values, of an object keys and values by turns, of a conditional its three.

    Of `get` what it reads from, and the keys; of a call the name and the arguments, the last may be `spread`; of an
    operation its sign and its operands; of a `for` its names, what it goes through, the key, the value, the condition.
    """

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


def _unescaped(node: Parsed) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1] or found[0][0]), _text(node))


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
                return Expression(place, "text", "".join(_unescaped(one) for one in _of(node, "template_literal")))
            case "quoted_template":
                return self._template(node, children, depth)
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

    def _template(self, node: Parsed, children: Sequence[Parsed], depth: int) -> Expression:
        parts: list[Expression] = []
        for one in children:
            if one.type == "template_literal":
                parts.append(Expression(self.place(one), "text", _unescaped(one)))
            elif one.type == "template_interpolation" and (inner := next(_of(one, "expression"), None)) is not None:
                parts.append(self.expression(inner, depth + 1))
            elif one.type not in {"quoted_template_start", "quoted_template_end"}:
                return Expression(self.place(node), "other", _text(node))  # a directive: %{ if … }
        return Expression(self.place(node), "template", _text(node), tuple(parts))

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
