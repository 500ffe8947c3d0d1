"""Terraform modules -> resources with values.

A variable has the value that Terraform loads by itself: of terraform.tfvars and *.auto.tfvars of a root module, else
its default. One that another .tfvars sets, which an option of the command may name, is Open. Files that override
others are merged into them. Refuses to guess a workspace, and to read TF_VAR_* of its own environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import PurePosixPath
from posixpath import normpath

from changeover.conf.place import Place
from changeover.conf.terraform.syntax import VARIABLES, Block, Expression, HclFile, source
from changeover.conf.terraform.values import Budget, Module
from changeover.conf.terraform.versions import majors
from changeover.conf.tree import Items, Map, Node, Open, Word

_NAMES = {"name", "name_prefix", "description", "labels"}
"""Attributes in which instances differ that are alike."""


@dataclass(frozen=True)
class TerraformResource:
    """`type` is `module` for a call of a module whose files are not among the given ones.

    `majors`: the lowest and highest major version of the Google provider that is allowed; None is open.

    `index`: of one of several instances that differ, as its address has it: `["blue"]`, `[1]`. `module`: what its
    address begins with, in a module that another calls.
    """

    type: str
    name: str
    place: Place
    body: Map
    majors: tuple[int | None, int | None]
    index: str = ""
    module: str = ""


def resources(files: Sequence[HclFile]) -> list[TerraformResource]:
    """Every resource of every module. A folder that a module call of another names is evaluated with its arguments."""
    parts: dict[str, list[HclFile]] = {}
    variables = [one for one in files if one.file.endswith(VARIABLES)]
    for file in files:
        if not file.file.endswith(VARIABLES):
            parts.setdefault(_folder(file), []).append(file)
    folders = {folder: _merged(inner) for folder, inner in parts.items()}
    allowed = majors(block for blocks in folders.values() for block in blocks)
    called = {source(folder, one) for folder, blocks in folders.items() for one in blocks if one.type == "module"}
    found: list[TerraformResource] = []
    for folder in folders:
        if folder not in called:
            module = Module(folder, folders, {}, Budget())
            module.given = _arguments(folder, variables, set(folders), module)
            found += _evaluated(module, allowed)
    return found


def _folder(file: HclFile) -> str:
    return normpath(str(PurePosixPath(file.file).parent))


def _overrides(file: HclFile) -> bool:
    name = PurePosixPath(file.file).name.removesuffix(".json")
    return name == "override.tf" or name.endswith("_override.tf")


def _merged(files: Sequence[HclFile]) -> list[Block]:
    """The blocks of a module, with those of its override files merged into them, in the order of the files' names."""
    blocks = [one for file in files if not _overrides(file) for one in file.blocks]
    for file in sorted(filter(_overrides, files), key=lambda one: one.file):
        for one in file.blocks:
            at = next((at for at, base in enumerate(blocks) if _is_same(base, one)), None)
            if at is None:
                blocks.append(one)
            else:
                blocks[at] = _overridden(blocks[at], one)
    return blocks


def _is_same(base: Block, one: Block) -> bool:
    if base.type != one.type or base.labels != one.labels:
        return False
    return base.type != "locals" or bool(set(base.attributes) & set(one.attributes))


def _overridden(base: Block, one: Block) -> Block:
    """An attribute takes the place of the base's, and blocks that of all blocks of their type."""
    types = {_block_type(inner) for inner in one.blocks}
    kept = tuple(inner for inner in base.blocks if _block_type(inner) not in types)
    return replace(
        base,
        attributes={**base.attributes, **one.attributes},
        keys={**base.keys, **one.keys},
        blocks=(*kept, *one.blocks),
    )


def _block_type(block: Block) -> str:
    return block.labels[0] if block.type == "dynamic" and block.labels else block.type


def _arguments(
    folder: str, variables: Sequence[HclFile], modules: set[str], module: Module
) -> dict[str, Callable[[], Node]]:
    """The variables of a root module. A file of variables in a folder without a module may be for any."""
    loaded = [one for one in variables if _folder(one) == folder and _order(one) is not None]
    found: dict[str, Callable[[], Node]] = {}
    for file in sorted(loaded, key=lambda one: _order(one) or (0, "")):
        found |= {name: partial(_literal, value, module) for name, value in file.variables.items()}
    for file in variables:
        if file not in loaded and _folder(file) in {folder} | ({_folder(file)} - modules):
            given = PurePosixPath(file.file).name
            for name, one in file.variables.items():
                missing = f"whether -var-file names {given}, which sets var.{name}"
                found[name] = partial(Open, one.place, 1, f"var.{name}", missing)
    return found


def _literal(value: Expression, module: Module) -> Node:
    """A value of a file of variables, which Terraform does not evaluate."""
    if _computes(value):
        return Open(value.place, 1, value.text, f"a plain value instead of {value.text[:60]}")
    return module.node(value, {})


def _computes(value: Expression) -> bool:
    return value.kind in {"call", "get", "name", "for", "other"} or any(map(_computes, value.parts))


def _order(file: HclFile) -> tuple[int, str] | None:
    """The order in which Terraform loads files of variables, the last one decides; None: not by itself."""
    name = PurePosixPath(file.file).name
    if name in {"terraform.tfvars", "terraform.tfvars.json"}:
        return 0, name
    return (1, name) if name.endswith((".auto.tfvars", ".auto.tfvars.json")) else None


def _evaluated(module: Module, allowed: tuple[int | None, int | None]) -> Iterator[TerraformResource]:
    for block in module.each("resource"):
        if len(block.labels) == 2:
            type, name = block.labels
            for index, body in _distinct([(at, module.map(block, names)) for at, names in module.instances(block)]):
                yield TerraformResource(type, name, block.place, body, allowed, index, module.address)
    for block in module.each("module"):
        called = module.called(block)
        if isinstance(called, Open):
            name = block.labels[0] if block.labels else ""
            yield TerraformResource("module", name, block.place, module.map(block, {}), allowed, "", module.address)
        for _, inner in called if not isinstance(called, Open) else ():
            yield from _evaluated(inner, allowed)


def _distinct(instances: Sequence[tuple[str, Map]]) -> list[tuple[str, Map]]:
    """One for all that differ in their names alone, without an index where all are alike."""
    found: dict[object, tuple[str, Map]] = {}
    for index, body in instances:
        key = tuple((name, _plainly(node)) for name, node in sorted(body.items.items()) if name not in _NAMES)
        found.setdefault(key, (index, body))
    return [("", body) for _, body in found.values()] if len(found) == 1 else list(found.values())


def _plainly(node: Node) -> object:
    """A value without its places."""
    match node:
        case Word(word=word, quoted=quoted):
            return word, quoted
        case Items(values=values):
            return tuple(map(_plainly, values))
        case Map(items=items):
            return tuple((name, _plainly(one)) for name, one in sorted(items.items()))
        case Open(expression=expression):
            return None, expression
    return None
