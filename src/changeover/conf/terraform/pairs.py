"""What `for`, `for_each` and `dynamic` go through, and the names that stand for each part of it."""

from __future__ import annotations

from changeover.conf.place import Place
from changeover.conf.terraform.functions import MOST, NotKnown, Wrong, settled
from changeover.conf.tree import Items, Map, Node, Open, Word


def pairs(among: Node) -> list[tuple[Node, Node]]:
    """Keys and values of a map or a list. Raises NotKnown and Wrong."""
    settled(among)
    if isinstance(among, Map):
        return [(Word(among.keys[key], 1, key, True), among.items[key]) for key in sorted(among.items)]
    if not isinstance(among, Items):
        raise Wrong
    return [(Word(one.place, 1, str(at), False), one) for at, one in enumerate(among.values)]


def each(key: Node, value: Node) -> Map:
    """`each`, or the iterator of a `dynamic` block. The key of a value in a set is the value."""
    return Map(value.place, 3, {"key": key, "value": value}, {})


def instance_name(at: Node, one: Node) -> str:
    """What stands in brackets in the address of an instance: a key, or the value of a set."""
    found = one if isinstance(at, Word) and not at.quoted else at
    return found.word if isinstance(found, Word) else ""


def words(place: Place, **words: str) -> Map:
    """A map of plain words."""
    return Map(place, 2, {key: Word(place, 1, word, False) for key, word in words.items()}, {})


def bounded(node: Node) -> Node:
    """Raises NotKnown for a value with too many parts."""
    if node.size > MOST:
        raise NotKnown(Open(node.place, 1, "", f"the value of this expression, which has more than {MOST} parts"))
    return node


def position(word: str) -> int:
    """Of a value in a list. Raises Wrong."""
    if not word.isdigit():
        raise Wrong
    return int(word)


def perhaps(made: Map, among: Open) -> Map:
    """The block of a `dynamic` whose `for_each` is open: it has that key, which no argument of a block may have."""
    items = {**made.items, "for_each": among}
    return Map(made.place, made.size + 1, items, {**made.keys, "for_each": among.place})
