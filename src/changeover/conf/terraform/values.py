"""The values of Terraform's expressions, as far as the given files determine them.

A module has its variables, locals and outputs, and the modules that it calls; each is evaluated once, when something
needs it. What the files leave open is Open, and says what is missing: a variable that no file sets, an answer of a
provider, a function that looks outside. Refuses to guess, and to evaluate more than a bounded amount.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from changeover.conf.place import Place
from changeover.conf.terraform.functions import (
    BINARY,
    FILES,
    FUNCTIONS,
    UNARY,
    NotKnown,
    Reference,
    Wrong,
    known,
    node_of,
    plain,
    text,
    truth,
)
from changeover.conf.terraform.pairs import bounded, each, instance_name, pairs, perhaps, position, words
from changeover.conf.terraform.syntax import TEMPLATED, Block, Expression, source
from changeover.conf.tree import Items, Map, Node, Open, Word

Names = Mapping[str, Node]
"""Names that stand for a value within a block or an expression: `each`, `count`, and those of `for` and `dynamic`."""
Instances = list[tuple[str, Names]]
_MODULES = 12
"""Modules within modules."""
_DEEPEST = 90
"""Expressions within each other, through references: Python's stack has room for them."""
_INSTANCES = 200
"""Instances of a block that are looked at."""
_MODULE_COST = 50


@dataclass
class Budget:
    """What the evaluation of one root may still cost, in expressions."""

    left: int = 200_000
    depth: int = 0


@dataclass(eq=False)
class Module:
    """One instance of a module. `given` are its arguments, evaluated when a variable is needed."""

    folder: str
    folders: Mapping[str, Sequence[Block]]
    given: Mapping[str, Callable[[], Node]]
    budget: Budget
    level: int = 0
    address: str = ""
    """What stands before the addresses of its resources: `module.lb["blue"].`."""
    _known: dict[str, Node] = field(default_factory=dict)
    _made: dict[int, Instances] = field(default_factory=dict)
    _called: dict[str, list[tuple[str, Module]] | Open] = field(default_factory=dict)

    def each(self, type: str) -> Iterator[Block]:
        return (one for one in self.folders[self.folder] if one.type == type)

    def node(self, value: Expression, names: Names) -> Node:
        """The value of an expression."""
        budget = self.budget
        budget.left -= 1
        if budget.left < 0 or budget.depth > _DEEPEST:
            return Open(value.place, 1, value.text, "the value of this expression, which is too long to evaluate here")
        budget.depth += 1
        try:
            return self._node(value, names)
        except NotKnown as error:
            return replace(error.value, place=value.place, expression=value.text)
        except (Wrong, ArithmeticError, TypeError, ValueError):
            return Open(value.place, 1, value.text, "the value of this expression, which Terraform refuses", True)
        finally:
            budget.depth -= 1

    def _node(self, value: Expression, names: Names) -> Node:
        parts = value.parts
        match value.kind:
            case "text" if TEMPLATED.search(value.text):
                raise NotKnown(Open(value.place, 1, value.text, "what a template fills in here: render the file first"))
            case "word" | "text" | "attribute":
                return Word(value.place, 1, value.text, value.kind != "word")
            case "list":
                values = tuple(self.node(one, names) for one in parts)
                return bounded(Items(value.place, 1 + sum(one.size for one in values), values))
            case "object":
                return self._object(value, names)
            case "conditional":
                return self.node(parts[1 if truth(self._plain(parts[0], names)) else 2], names)
            case "template":
                if len(parts) == 1 and parts[0].kind != "text":
                    return self.node(parts[0], names)
                return node_of("".join(text(self._plain(one, names)) for one in parts), value.place)
            case "name" | "get":
                return self._got(value, names)
            case "call":
                return self._call(value, names)
            case "operation" if len(parts) == 2:
                return node_of(UNARY[parts[0].text](self._plain(parts[1], names)), value.place)
            case "operation":
                return self._operation(value, names)
            case "for":
                return self._for(value, names)
        raise NotKnown(Open(value.place, 1, value.text))

    def _plain(self, value: Expression, names: Names) -> Any:
        return plain(self.node(value, names))

    def _object(self, value: Expression, names: Names) -> Node:
        items: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key, inner in zip(value.parts[::2], value.parts[1::2], strict=True):
            name = text(self._plain(key, names))
            items[name], keys[name] = self.node(inner, names), key.place
        return bounded(Map(value.place, 1 + sum(one.size for one in items.values()), items, keys))

    def _operation(self, value: Expression, names: Names) -> Node:
        sign, left, right = value.parts
        if sign.text in {"&&", "||"}:
            decides = sign.text == "||"
            sides = [self._plain(left, names), self._plain(right, names)]
            given = [truth(one) for one in sides if not isinstance(one, Open)]
            if decides not in given:
                for one in sides:
                    known(one)
            return node_of(decides if decides in given else not decides, value.place)
        return node_of(BINARY[sign.text](self._plain(left, names), self._plain(right, names)), value.place)

    def _call(self, value: Expression, names: Names) -> Node:
        name = value.parts[0].text
        if name not in FUNCTIONS:
            what = f"the result of {name}(…)"
            if name in FILES and len(value.parts) > 1:
                named = value.parts[1].text.strip('"')[:60]
                what = f"the text of {named}, which {name}(…) reads"
            raise NotKnown(Open(value.place, 1, value.text, what))
        given: list[Any] = []
        for one in value.parts[1:]:
            if one.kind == "spread":
                spread = known(self._plain(one.parts[0], names))
                given += spread if isinstance(spread, list) else [spread]
            else:
                given.append(self._plain(one, names))
        try:
            return bounded(node_of(FUNCTIONS[name](*given), value.place))
        except LookupError:
            raise NotKnown(Open(value.place, 1, value.text, f"the result of {name}(…)")) from None

    def _for(self, value: Expression, names: Names) -> Node:
        """Its parts: the names, what it goes through, the key of a map, the value, the condition."""
        variables, among, key, result, condition = value.parts
        found: list[Node] = []
        keys: list[str] = []
        for at, one in pairs(self.node(among, names)):
            bound = (at, one)[-len(variables.parts) :]
            inner = {**names, **{name.text: node for name, node in zip(variables.parts, bound, strict=True)}}
            if not truth(self._plain(condition, inner)):
                continue
            found.append(self.node(result, inner))
            if key.kind != "absent":
                keys.append(text(self._plain(key, inner)))
        if key.kind == "absent":
            return bounded(node_of(found, value.place))
        return bounded(node_of(dict(zip(keys, found, strict=True)), value.place))

    def _got(self, value: Expression, names: Names) -> Node:
        base, keys = (value.parts[0], list(value.parts[1:])) if value.kind == "get" else (value, [])
        plainly = [one.text for one in keys]
        found: Node
        if base.kind != "name":
            found = self.node(base, names)
        elif base.text in names:
            found = names[base.text]
        elif base.text in {"var", "local"} and keys:
            find = self.variable if base.text == "var" else self._local
            found = self._once(f"{base.text}.{plainly[0]}", partial(find, plainly[0]))
            keys = keys[1:]
        elif base.text == "module" and len(keys) > 1:
            return self._output(value, keys, names)
        elif base.text.startswith("google_") and keys:
            return self._resource(value, base.text, keys, names)
        elif base.text == "data" and len(keys) > 1:
            return Reference(value.place, 1, f"{self.address}data.{plainly[0]}.{plainly[1]}", True)
        else:
            raise NotKnown(Open(value.place, 1, value.text, f"the value of {value.text[:60]}"))
        return self._stepped(value, found, keys, names)

    def _stepped(self, value: Expression, found: Node, keys: Sequence[Expression], names: Names) -> Node:
        for key in keys:
            if isinstance(known(found), Reference):
                break
            if key.kind == "splat":
                raise NotKnown(Open(value.place, 1, value.text))
            step = text(self._plain(key, names))
            inner = found.get(step if isinstance(found, Map) else position(step))
            if inner is None:
                raise Wrong
            found = inner
        # Where it takes effect, not where it was defined.
        return replace(found, place=value.place) if isinstance(found, Word) else known(found)

    def _resource(self, value: Expression, type: str, keys: Sequence[Expression], names: Names) -> Node:
        """What names a resource, or with a splat each of its instances."""
        name = f"{self.address}{type}.{keys[0].text}"
        index = self._index(keys[1:], names)
        block = next((one for one in self.each("resource") if one.labels == (type, keys[0].text)), None)
        made = self.instances(block) if block is not None else [("", {})]
        is_open = any(isinstance(one, Open) for _, bound in made for one in bound.values())
        if len(keys) > 1 and keys[1].kind == "splat":
            every = tuple(Reference(value.place, 1, f"{name}{at}", True) for at, _ in made)
            return Items(value.place, 1 + len(every), every)
        if block is not None and not is_open and (not made or (index and index not in {at for at, _ in made})):
            raise Wrong
        return Reference(value.place, 1, f"{name}{index}", True)

    def _index(self, keys: Sequence[Expression], names: Names) -> str:
        """Of a resource with several instances. The first of a `count` is its resource's own."""
        if not keys or keys[0].kind == "attribute" or keys[0].kind == "splat":
            return ""
        index = self.node(keys[0], names)
        if not isinstance(index, Word) or index.word == "0":
            return ""
        return f'["{index.word}"]' if index.quoted else f"[{index.word}]"

    def _once(self, name: str, find: Callable[[], Node]) -> Node:
        if name not in self._known:
            self._known[name] = Open(Place(""), 1, name, f"the value of {name}, which refers to itself")
            self._known[name] = find()
        return self._known[name]

    def _local(self, name: str) -> Node:
        for one in self.each("locals"):
            if name in one.attributes:
                return self.node(one.attributes[name], {})
        return Open(Place(""), 1, f"local.{name}", f"a value of local.{name}, which no given file has")

    def variable(self, name: str) -> Node:
        block = next((one for one in self.each("variable") if one.labels == (name,)), None)
        default = block.attributes.get("default") if block is not None else None
        found = self.given[name]() if name in self.given else None
        nullable = block.attributes.get("nullable") if block is not None else None
        if isinstance(found, Word) and found.null and nullable is not None and nullable.text == "false":
            found = None
        if found is None and default is not None:
            found = self.node(default, {})
        if found is None:
            return Open(Place(""), 1, f"var.{name}", f"a value of var.{name}, which no given file sets")
        kind = block.attributes.get("type") if block is not None else None
        return self._typed(found, kind) if kind is not None else found

    def _typed(self, found: Node, kind: Expression) -> Node:
        """As the variable's type makes it: with the defaults of `optional`, and numbers as numbers."""
        if isinstance(found, Word) and not found.null and kind.text in {"number", "bool", "string"}:
            return replace(found, quoted=kind.text == "string")
        if kind.kind != "call" or len(kind.parts) < 2:
            return found
        name, inner = kind.parts[0].text, kind.parts[1]
        if name == "optional":
            return self._typed(found, inner)
        if name in {"list", "set", "tuple"} and isinstance(found, Items) and name != "tuple":
            return replace(found, values=tuple(self._typed(one, inner) for one in found.values))
        if name == "map" and isinstance(found, Map):
            return replace(found, items={key: self._typed(one, inner) for key, one in found.items.items()})
        if name != "object" or not isinstance(found, Map):
            return found
        items, keys = dict(found.items), dict(found.keys)
        for key, type in zip(inner.parts[::2], inner.parts[1::2], strict=False):
            own = items.get(key.text)
            if own is not None and not (isinstance(own, Word) and own.null):
                items[key.text] = self._typed(own, type)
            elif type.kind == "call" and type.parts[0].text == "optional":
                given = self.node(type.parts[2], {}) if len(type.parts) > 2 else Word(found.place, 1, "null", False)
                items[key.text] = self._typed(given, type.parts[1])
                keys.setdefault(key.text, found.place)
        return Map(found.place, found.size, items, keys)

    def instances(self, block: Block) -> Instances:
        """The instances of a block, by index, with the names that stand for a value in each.

        Where `count` or `for_each` is open, one stands for all of them.
        """
        if id(block) not in self._made:
            self._made[id(block)] = self._instances(block)
        return self._made[id(block)]

    def _instances(self, block: Block) -> Instances:
        if (count := block.attributes.get("count")) is not None:
            number = self.node(count, {})
            if isinstance(number, Open):
                return [("", {"count": number})]
            many = range(int(float(number.word)) if isinstance(number, Word) and number.word.isdigit() else 1)
            if len(many) > _INSTANCES:
                return [("", {"count": Open(count.place, 1, count.text)})]
            return [(f"[{at}]" if at else "", {"count": words(count.place, index=str(at))}) for at in many]
        if (wanted := block.attributes.get("for_each")) is None:
            return [("", {})]
        among = self.node(wanted, {})
        try:
            every = pairs(among)
        except (NotKnown, Wrong):
            return [("", {"each": among if isinstance(among, Open) else Open(wanted.place, 1, wanted.text)})]
        if len(every) > _INSTANCES:
            return [("", {"each": Open(wanted.place, 1, wanted.text)})]
        return [
            (f'["{instance_name(at, one)}"]', {"each": each(at if isinstance(among, Map) else one, one)})
            for at, one in every
        ]

    def map(self, block: Block, names: Names) -> Map:
        """The attributes of a block, and the blocks in it; those that stand there once as a map."""
        items: dict[str, Node] = {name: self.node(value, names) for name, value in block.attributes.items()}
        keys = dict(block.keys)
        inner: dict[str, list[Node]] = {}
        for one in block.blocks:
            for name, real, bound, among in self._real(one, names):
                made = self.map(real, bound)
                inner.setdefault(name, []).append(made if among is None else perhaps(made, among))
                keys.setdefault(name, real.place)
        for name, nodes in inner.items():
            items[name] = nodes[0] if len(nodes) == 1 else Items(nodes[0].place, len(nodes), tuple(nodes))
        return Map(block.place, 1 + len(items), items, keys)

    def _real(self, block: Block, names: Names) -> Iterator[tuple[str, Block, Names, Open | None]]:
        """The blocks that a block stands for: itself, or those of a `dynamic`; one, where its `for_each` is open."""
        if block.type != "dynamic" or not block.labels:
            yield block.type, block, names, None
            return
        content = next((part for part in block.blocks if part.type == "content"), None)
        among = block.attributes.get("for_each")
        if content is None or among is None:
            return
        iterator = block.attributes.get("iterator")
        name = iterator.text if iterator is not None else block.labels[0]
        found = self.node(among, names)
        try:
            every = pairs(found)[:_INSTANCES]
        except (NotKnown, Wrong):
            open_ = found if isinstance(found, Open) else Open(among.place, 1, among.text)
            yield block.labels[0], content, {**names, name: found}, open_
            return
        of_a_set = among.kind == "call" and among.parts[0].text == "toset"
        for at, one in every:
            yield block.labels[0], content, {**names, name: each(one if of_a_set else at, one)}, None

    def called(self, block: Block) -> list[tuple[str, Module]] | Open:
        """The instances of a module that a block calls; Open where its files are not among the given ones."""
        name = block.labels[0] if block.labels else ""
        if name not in self._called:
            missing = f"the files of module.{name}"
            self._called[name] = Open(block.place, 1, f"module.{name}", missing)
            folder = source(self.folder, block)
            if folder in self.folders and folder is not None and self.level < _MODULES:
                self._called[name] = [
                    (index, self._inner(folder, block, f"{self.address}module.{name}{index}.", bound))
                    for index, bound in self.instances(block)
                ]
        return self._called[name]

    def _inner(self, folder: str, block: Block, address: str, names: Names) -> Module:
        self.budget.left -= _MODULE_COST
        level = self.level + 1 if self.budget.left > 0 else _MODULES
        given = {name: partial(self.node, value, names) for name, value in block.attributes.items()}
        return Module(folder, self.folders, given, self.budget, level, address)

    def _output(self, value: Expression, keys: Sequence[Expression], names: Names) -> Node:
        name = keys[0].text
        block = next((one for one in self.each("module") if one.labels == (name,)), None)
        found = self.called(block) if block is not None else Open(value.place, 1, "", f"the files of module.{name}")
        if isinstance(found, Open):
            raise NotKnown(found)
        index = self._index(keys[1:], names) if keys[1].kind != "attribute" else ""
        inner = next((one for at, one in found if at == index), None)
        rest = keys[2:] if keys[1].kind != "attribute" else keys[1:]
        if inner is None or not rest:
            raise Wrong if inner is None else NotKnown(Open(value.place, 1, value.text))
        result = inner._once(f"output.{rest[0].text}", partial(inner._returned, rest[0].text))  # noqa: SLF001
        return self._stepped(value, result, rest[1:], names)

    def _returned(self, name: str) -> Node:
        for one in self.each("output"):
            if one.labels == (name,) and "value" in one.attributes:
                return self.node(one.attributes["value"], {})
        return Open(Place(""), 1, f"output {name}", f"output {name} of the module, which no given file has", True)
