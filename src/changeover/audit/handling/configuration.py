"""`.changeover-audit.yaml`: which rules count where, what is assumed, and the order of a chain.

Pure: text in. Refuses unknown keys and unknown rules: a misspelt one would silently change what an audit finds.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePath

from changeover.audit.audit import Judged
from changeover.audit.rule import Rule
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, Word, parse
from changeover.model.errors import ChangeoverError, fail

NAMES = (".changeover-audit.yaml", ".changeover-audit.yml")
"""Looked for in the working directory, in this order."""
KEYS: Mapping[str, str] = {
    "select": "rules that are checked, by id (`NGX03`) or family (`NGX`); every rule unless given",
    "ignore": "rules whose findings are accepted everywhere",
    "per-path-ignores": "a pattern of paths -> rules whose findings are accepted there; `*` also matches `/`",
    "assume": "assumptions, as `--assume`; an option of the command line overrides them",
    "chain": "the files of the chain, edge first, as `--chain`",
}


@dataclass(frozen=True)
class Ignore:
    """`pattern` is of paths below the folder of the configuration; None matches every file."""

    pattern: str | None
    rules: frozenset[str]
    place: Place

    def matches(self, path: str) -> bool:
        if self.pattern is None:
            return True
        return fnmatchcase(path, self.pattern) or path.startswith(f"{self.pattern.rstrip('/')}/")


@dataclass(frozen=True)
class Configuration:
    """`selected` is None where every rule is checked. Files of `chain` are paths as they are written."""

    file: str
    selected: frozenset[str] | None = None
    ignores: tuple[Ignore, ...] = ()
    assume: Mapping[str, str] = field(default_factory=dict)
    chain: tuple[str, ...] = ()

    def accepts(self, one: Judged) -> str | None:
        """Why a finding is accepted; None if it is not."""
        if not self.ignores:
            return None
        path = self.relative(one.finding.place.file)
        found = next((each for each in self.ignores if one.rule.id in each.rules and each.matches(path)), None)
        return f"ignored in {found.place}" if found is not None else None

    def unmatched(self, files: Iterable[str]) -> list[Ignore]:
        """Patterns of paths that match none of the files."""
        paths = [self.relative(file) for file in files]
        return [one for one in self.ignores if not any(map(one.matches, paths))]

    def relative(self, file: str) -> str:
        """The path of a file as patterns see it."""
        return os.path.relpath(file, PurePath(self.file).parent).replace(os.sep, "/")


def configuration(text: str, file: str, rules: Iterable[Rule]) -> Configuration:
    """Raises ChangeoverError for anything that the file may not hold."""
    try:
        roots = parse(text, file)
    except Unreadable as error:
        raise fail(error.what, where=str(error.place)) from error
    if not roots or (isinstance(roots[0], Word) and roots[0].null):
        return Configuration(file)
    root = roots[0]
    if len(roots) != 1 or not isinstance(root, Map):
        raise fail("it is one map of keys", where=file, next=f"There are: {', '.join(KEYS)}.")
    if unknown := [key for key in root.items if key not in KEYS]:
        where = str(root.keys[unknown[0]])
        raise fail(f"no key is named {unknown[0]}", where=where, next=f"There are: {', '.join(KEYS)}.")
    ids = [rule.id for rule in rules]
    ignored = root.get("ignore")
    return Configuration(
        file,
        _rules(selected, ids) if (selected := root.get("select")) is not None else None,
        (
            *((Ignore(None, _rules(ignored, ids), root.keys["ignore"]),) if ignored is not None else ()),
            *_by_path(root.get("per-path-ignores"), ids),
        ),
        dict(_texts(root.get("assume"))),
        _words(root.get("chain")),
    )


def _by_path(node: Node | None, ids: list[str]) -> Iterator[Ignore]:
    for pattern, value in _map(node).items.items():
        yield Ignore(pattern, _rules(value, ids), _map(node).keys[pattern])


def _texts(node: Node | None) -> Iterator[tuple[str, str]]:
    for key, value in _map(node).items.items():
        if not isinstance(value, Word):
            raise _wrong(value, "a word or a number")
        yield key, value.word


def _map(node: Node | None) -> Map:
    if node is None:
        return Map(Place(""), 0, {}, {})
    if not isinstance(node, Map):
        raise _wrong(node, "a map")
    return node


def _words(node: Node | None) -> tuple[str, ...]:
    if node is None:
        return ()
    if not isinstance(node, Items) or not all(isinstance(one, Word) for one in node.values):
        raise _wrong(node, "a list of words")
    return tuple(one.word for one in node.values if isinstance(one, Word))


def _rules(node: Node, ids: list[str]) -> frozenset[str]:
    """Ids of rules, and those of families."""
    found: set[str] = set()
    for word in _words(node):
        matching = {one for one in ids if word in {one, re.sub(r"\d+$", "", one)}}
        if not matching:
            raise fail(f"no rule and no family is named {word}", where=str(node.place), next="docs/rules.md has them.")
        found |= matching
    return frozenset(found)


def _wrong(node: Node, wanted: str) -> ChangeoverError:
    return fail(f"this is no {wanted.removeprefix('a ')}", where=str(node.place), next=f"Write {wanted}.")
