"""Terraform in JSON: files of variables and whole configurations (`*.tf.json`) -> the tree of HCL.

A text holds a template, as https://developer.hashicorp.com/terraform/language/syntax/json says. Refuses blocks that
are no object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from changeover.conf.place import Place, Unreadable
from changeover.conf.terraform.syntax import Block, Expression, HclFile
from changeover.conf.tree import Items, Map, Node, Word, parse

_LABELS: Mapping[str, int] = {
    "resource": 2,
    "data": 2,
    "variable": 1,
    "module": 1,
    "output": 1,
    "provider": 1,
    "locals": 0,
    "terraform": 0,
}
_INNER: Mapping[tuple[str, str], int] = {("terraform", "required_providers"): 0, ("resource", "dynamic"): 1}
"""Blocks in blocks whose structure the readers need; any other is as good as an attribute that is an object."""
_COMMENT = "//"
Parse = Callable[[str, Place], Expression]
"""A template, or an expression, of HCL at a place."""


def variables(text: str, file: str) -> HclFile:
    """Of a file of variables, which holds no templates. Raises Unreadable."""
    root = _root(text, file, "a file of variables")
    return HclFile(file, (), {name: _Reader(_as_text, _as_text).value(value) for name, value in root.items.items()})


def configuration(text: str, file: str, template: Parse, expression: Parse) -> HclFile:
    """Of a whole configuration. Raises Unreadable."""
    reader = _Reader(template, expression)
    root = _root(text, file, "a configuration of Terraform")
    blocks = [
        block
        for type, value in root.items.items()
        if type in _LABELS
        for block in reader.blocks(type, (), _LABELS[type], value, root.keys[type])
    ]
    return HclFile(file, tuple(blocks))


def _root(text: str, file: str, what: str) -> Map:
    roots = parse(text, file)
    if len(roots) != 1 or not isinstance(roots[0], Map):
        raise Unreadable(f"{what} is an object", Place(file))
    return roots[0]


def _as_text(text: str, place: Place) -> Expression:
    return Expression(place, "text", text)


@dataclass(frozen=True)
class _Reader:
    template: Parse
    expression: Parse

    def blocks(
        self, type: str, labels: tuple[str, ...], open_labels: int, value: Node, place: Place
    ) -> Iterator[Block]:
        """The blocks at a key: an object, or a list of them; objects around it hold its labels as keys."""
        for one in value.values if isinstance(value, Items) else (value,):
            if not isinstance(one, Map):
                raise Unreadable(f"{type} is no object", one.place)
            if not open_labels:
                yield self._block(type, labels, one, place)
                continue
            for name, inner in one.items.items():
                if name != _COMMENT:
                    yield from self.blocks(type, (*labels, name), open_labels - 1, inner, one.keys[name])

    def _block(self, type: str, labels: tuple[str, ...], body: Map, place: Place) -> Block:
        attributes: dict[str, Expression] = {}
        inner: list[Block] = []
        for name, value in body.items.items():
            if name == _COMMENT:
                continue
            if (count := _INNER.get((type, name))) is not None:
                inner += self.blocks(name, (), count, value, body.keys[name])
            elif (type, name) == ("dynamic", "content"):
                inner += self.blocks(name, (), 0, value, body.keys[name])
            elif (type, name) == ("variable", "type") and isinstance(value, Word):
                attributes[name] = self.expression(value.word, value.place)
            else:
                attributes[name] = self.value(value)
        keys = {name: body.keys[name] for name in attributes}
        return Block(place, type, labels, attributes, keys, tuple(inner))

    def value(self, node: Node) -> Expression:
        """Its nesting is bounded by the reader of JSON."""
        match node:
            case Word(quoted=True) if "${" in node.word or "%{" in node.word:
                return self.template(node.word, node.place)
            case Word():
                return Expression(node.place, "text" if node.quoted else "word", node.word)
            case Items():
                return Expression(node.place, "list", "[…]", tuple(map(self.value, node.values)))
            case Map():
                pairs = (
                    (Expression(node.keys[key], "text", key), self.value(value))
                    for key, value in node.items.items()
                    if key != _COMMENT
                )
                return Expression(node.place, "object", "{…}", tuple(part for pair in pairs for part in pair))
        return Expression(node.place, "other", "")
