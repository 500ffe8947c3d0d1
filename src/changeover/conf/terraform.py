"""Terraform modules -> resources with values: literals, locals, variables, and arguments of local modules.

A variable has the value that Terraform loads by itself: of terraform.tfvars and *.auto.tfvars of a root module, else
its default. Whatever is not literal is Open: a function, a data source, a variable without a value, and one that
another .tfvars sets, which an option of the command may name. Refuses to guess a workspace or a provider's answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import normpath

from changeover.conf.hcl import VARIABLES, Block, Expression, HclFile
from changeover.conf.place import Place
from changeover.conf.tree import Items, Map, Node, Open, Word

_DEEPEST = 12
"""References through references, and modules within modules."""
_BOUND = re.compile(r"(~>|>=|<=|>|<|=|!=)?\s*(\d+)(?:\.(\d+))?(?:\.\d+)?")


@dataclass(frozen=True)
class TerraformResource:
    """`majors`: the lowest and highest major version of the Google provider that is allowed; None is open."""

    type: str
    name: str
    place: Place
    body: Map
    majors: tuple[int | None, int | None]


@dataclass
class _Module:
    blocks: list[Block]
    arguments: Mapping[str, Node] = field(default_factory=dict)

    def each(self, type: str) -> list[Block]:
        return [one for one in self.blocks if one.type == type]


def resources(files: Sequence[HclFile]) -> list[TerraformResource]:
    """Every resource of every module. A folder that a module call of another names is evaluated with its arguments."""
    folders: dict[str, list[Block]] = {}
    variables = [one for one in files if one.file.endswith(VARIABLES)]
    for file in files:
        if file not in variables:
            folders.setdefault(_folder(file), []).extend(file.blocks)
    majors = _majors([block for blocks in folders.values() for block in blocks])
    called = {_source(folder, one) for folder, blocks in folders.items() for one in blocks}
    found: list[TerraformResource] = []
    for folder, blocks in folders.items():
        if folder not in called:
            arguments = _arguments(folder, variables, set(folders))
            found += _evaluated(folder, _Module(blocks, arguments), folders, majors, 0)
    return found


def _folder(file: HclFile) -> str:
    return normpath(str(PurePosixPath(file.file).parent))


def _arguments(folder: str, variables: Sequence[HclFile], modules: set[str]) -> dict[str, Node]:
    """The variables of a root module. A file of variables in a folder without a module may be for any."""
    loaded = [one for one in variables if _folder(one) == folder and _order(one) is not None]
    found: dict[str, Node] = {}
    for file in sorted(loaded, key=lambda one: _order(one) or (0, "")):
        found |= {name: _node(value, _Module([]), 0) for name, value in file.variables.items()}
    for file in variables:
        if file not in loaded and _folder(file) in {folder} | ({_folder(file)} - modules):
            named = f", if -var-file names {PurePosixPath(file.file).name}"
            found |= {name: Open(one.place, 1, f"var.{name}{named}") for name, one in file.variables.items()}
    return found


def _order(file: HclFile) -> tuple[int, str] | None:
    """The order in which Terraform loads files of variables, the last one decides; None: not by itself."""
    name = PurePosixPath(file.file).name
    if name in {"terraform.tfvars", "terraform.tfvars.json"}:
        return 0, name
    return (1, name) if name.endswith((".auto.tfvars", ".auto.tfvars.json")) else None


def _source(folder: str, block: Block) -> str | None:
    source = block.attributes.get("source")
    if block.type != "module" or source is None or not source.text.startswith("."):
        return None
    return normpath(f"{folder}/{source.text}")


def _evaluated(
    folder: str, module: _Module, folders: Mapping[str, list[Block]], majors: tuple[int | None, int | None], depth: int
) -> Iterator[TerraformResource]:
    for block in module.each("resource"):
        if len(block.labels) == 2:
            yield TerraformResource(*block.labels, block.place, _map(block, module), majors)
    for block in module.each("module"):
        source = _source(folder, block)
        if source is not None and source in folders and depth < _DEEPEST:
            arguments = {name: _node(value, module, 0) for name, value in block.attributes.items()}
            yield from _evaluated(source, _Module(folders[source], arguments), folders, majors, depth + 1)


def _map(block: Block, module: _Module) -> Map:
    items: dict[str, Node] = {name: _node(value, module, 0) for name, value in block.attributes.items()}
    keys = dict(block.keys)
    inner: dict[str, list[Node]] = {}
    for one in block.blocks:
        name = one.type
        if name == "dynamic" and one.labels:
            name = one.labels[0]
            content = next((part for part in one.blocks if part.type == "content"), None)
            if content is None:
                continue
            one = content
        inner.setdefault(name, []).append(_map(one, module))
        keys.setdefault(name, one.place)
    for name, nodes in inner.items():
        items[name] = nodes[0] if len(nodes) == 1 else Items(nodes[0].place, len(nodes), tuple(nodes))
    return Map(block.place, 1 + len(items), items, keys)


def _node(value: Expression, module: _Module, depth: int) -> Node:
    if depth > _DEEPEST:
        return Open(value.place, 1, value.text)
    match value.kind:
        case "word" | "text":
            return Word(value.place, 1, value.text, value.kind == "text")
        case "list":
            return Items(value.place, len(value.parts), tuple(_node(one, module, depth + 1) for one in value.parts))
        case "object":
            return _object(value, module, depth)
        case "conditional" if len(value.parts) == 3:
            test = _node(value.parts[0], module, depth + 1)
            if isinstance(test, Word) and test.word in {"true", "false"}:
                return _node(value.parts[1 if test.word == "true" else 2], module, depth + 1)
        case "template":
            parts = [_node(one, module, depth + 1) for one in value.parts]
            if all(isinstance(one, Word) for one in parts):
                return Word(value.place, 1, "".join(one.word for one in parts if isinstance(one, Word)), True)
        case "reference":
            return _referred(value, module, depth)
    return Open(value.place, 1, value.text)


def _object(value: Expression, module: _Module, depth: int) -> Map:
    items: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    for key, inner in zip(value.parts[::2], value.parts[1::2], strict=False):
        items[key.text] = _node(inner, module, depth + 1)
        keys[key.text] = key.place
    return Map(value.place, 1 + len(items), items, keys)


def _referred(value: Expression, module: _Module, depth: int) -> Node:
    names = re.sub(r"\[[^\]]*\]", "", value.text).split(".")
    found: Node | None = None
    if names[0] == "local" and len(names) > 1:
        given = next((one.attributes[names[1]] for one in module.each("locals") if names[1] in one.attributes), None)
        found = _node(given, module, depth + 1) if given is not None else None
    elif names[0] == "var" and len(names) > 1:
        found = module.arguments.get(names[1]) or _default(names[1], module, depth)
    elif names[0].startswith("google_") and len(names) > 1:
        return Word(value.place, 1, ".".join(names[:2]), True)
    elif names[0] == "data" and len(names) > 2:
        return Word(value.place, 1, ".".join(names[:3]), True)
    found = found.get(*names[2:]) if found is not None else None
    if isinstance(found, Word):
        return Word(value.place, 1, found.word, found.quoted)  # where it takes effect, not where it was defined
    return found if found is not None else Open(value.place, 1, value.text)


def _default(name: str, module: _Module, depth: int) -> Node | None:
    for block in module.each("variable"):
        if block.labels == (name,) and (value := block.attributes.get("default")) is not None:
            return _node(value, module, depth + 1)
    return None


def _majors(blocks: Sequence[Block]) -> tuple[int | None, int | None]:
    """From `required_providers`, and from a `provider` block of old."""
    texts = [
        value.text
        for block in blocks
        if block.type == "terraform"
        for inner in block.blocks
        if inner.type == "required_providers"
        for name, expression in inner.attributes.items()
        if name in {"google", "google-beta"}
        for key, value in [*zip(expression.parts[::2], expression.parts[1::2], strict=False), (None, expression)]
        if (key is not None and key.text.strip('"') == "version") or (key is None and expression.kind == "text")
    ]
    low: int | None = None
    high: int | None = None
    for operator, major, minor in (found for text in texts for found in _BOUND.findall(text)):
        number = int(major)
        if operator in {"", "=", "~>", ">=", ">"}:
            low = max(low or 0, number)
        if operator in {"", "=", "~>", "<="}:
            high = min(high or number, number)
        if operator == "<":
            below = number if minor and int(minor) else number - 1
            high = below if high is None else min(high, below)
    return low, high
