"""A chain file's text -> a Chain, or every mistake in it with file, line, key and what would be right.

YAML is parsed into nodes first, so that each value keeps its line; pydantic then checks the values. The traits of the
hops hold the schema of each kind's templates, and what `chain_rules` checks between tiers: all in one pass and with the
same kind of message. Refuses to read files: text in, chain out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from changeover.model.chain import Chain, Tier
from changeover.model.chain_rules import RuleViolation, violations
from changeover.model.config_model import Branch
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.hop_traits import KnownHops
from changeover.model.router import RouterSettings

Path = tuple[str | int, ...]
_MAY_HOLD_TOKENS: tuple[Path, ...] = (("hooks",), ("notify",))
"""Parts of a chain file of which no message repeats what stands there."""
Checked = TypeVar("Checked", bound=BaseModel)


@dataclass(frozen=True)
class ParsedChain:
    """A chain and, for each tier and template, its settings as the schema of its hop holds them."""

    chain: Chain
    settings: Mapping[str, Mapping[str, BaseModel]]
    routers: Mapping[str, RouterSettings]
    """Tiers that a router outside of the chain balances over."""


def read(text: str, file: str, hops: KnownHops) -> ParsedChain:
    """Parse and check a whole chain file. Raises ChangeoverError with every problem found."""
    document = _Document(text, file)
    chain = document.check(Chain, document.data, ())
    problems = [
        document.problem(
            ("tiers", position, "kind"), f"no kind of tier is named {tier.kind}", _nearest(tier.kind, sorted(hops))
        )
        for position, tier in enumerate(chain.tiers)
        if tier.kind not in hops
    ]
    if not problems:
        problems += [document.problem(found.path, found.what, found.next) for found in violations(chain, hops)]
    settings: dict[str, dict[str, BaseModel]] = {}
    for position, tier in enumerate(chain.tiers):
        if (traits := hops.get(tier.kind)) is None:
            continue
        for name, template in tier.templates.items():
            try:
                checked = document.check(traits.settings, template, ("tiers", position, "templates", name))
                settings.setdefault(tier.name, {})[name] = checked
            except ChangeoverError as error:
                problems += error.problems
    problems += [
        document.problem(found.path, found.what, found.next)
        for position, tier in enumerate(chain.tiers)
        for found in _branches(chain, tier, settings.get(tier.name, {}), ("tiers", position))
    ]
    routers: dict[str, RouterSettings] = {}
    for position, tier in enumerate(chain.tiers):
        if tier.router is not None:
            try:
                routers[tier.name] = _router(document, tier.router, ("tiers", position, "router"), hops)
            except ChangeoverError as error:
                problems += error.problems
    if problems:
        raise ChangeoverError(*problems)
    return ParsedChain(chain, settings, routers)


def read_as(text: str, file: str, schema: type[Checked]) -> Checked:
    """Another file than a chain file, checked as a whole. Raises ChangeoverError with every problem found."""
    document = _Document(text, file)
    return document.check(schema, document.data, ())


def _branches(chain: Chain, tier: Tier, templates: Mapping[str, BaseModel], at: Path) -> Iterator[RuleViolation]:
    """Routes that lead to no tier behind theirs, and tiers that no route of any template leads to."""
    behind = [inner.name for inner in chain.behind(tier.name)]
    reached = set(behind[:1])
    for name, settings in templates.items():
        for number, route in enumerate(getattr(settings, "routes", ())):
            if not isinstance(route, Branch) or route.to is None:
                continue
            reached.add(route.to)
            if route.to not in behind:
                yield RuleViolation(
                    (*at, "templates", name, "routes", number, "to"),
                    f"tier {route.to} is not behind tier {tier.name}",
                    f"Behind it: {', '.join(behind) or 'none'}. `to` of the tier sets this.",
                )
    for inner in behind:
        if inner not in reached and templates:
            yield RuleViolation(
                (*at, "to"),
                f"no route of any template of {tier.name} leads to tier {inner}",
                f"Give a route `to: {inner}`, or remove the tier.",
            )


def _router(document: _Document, given: Mapping[str, Any], at: Path, hops: KnownHops) -> RouterSettings:
    """`router` of one tier, by the schema of its kind. Raises ChangeoverError."""
    kinds = {kind: traits.external_router for kind, traits in hops.items() if traits.external_router is not None}
    if "kind" not in given:
        raise ChangeoverError(document.problem((*at, "kind"), "this key is missing"))
    if (schema := kinds.get(str(given["kind"]))) is None:
        what = "no router of this kind can stand outside of a chain"
        raise ChangeoverError(document.problem((*at, "kind"), what, _nearest(str(given["kind"]), sorted(kinds))))
    return document.check(schema, given, at)


class _Document:
    """The data of a YAML text, and where each part of it stands."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._lines: dict[Path, int] = {}
        self._looked_at: set[int] = set()
        try:
            self._loader = yaml.SafeLoader(text)
            node = self._loader.get_single_node()
            if node is None:
                raise ChangeoverError(
                    Problem("the file is empty", file, next="`changeover schema` shows what belongs in it.")
                )
            self.data = self._plain(node, ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{file}:{mark.line + 1}" if mark else file
            raise ChangeoverError(Problem(f"this is not YAML: {error.problem}", where)) from error
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise ChangeoverError(Problem(f"this is not YAML: {error}", file)) from error
        except RecursionError as error:
            raise ChangeoverError(Problem("this is nested too deeply, or in itself", file)) from error

    def _plain(self, node: yaml.Node, path: Path) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            self._refuse_twice(node)
            self._loader.flatten_mapping(node)  # `<<: *other`: what is merged comes first, so that own keys win
            found: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                if not isinstance(key_node, yaml.ScalarNode):
                    raise self._wrong(key_node, "a list or a mapping cannot be a key")
                key = self._scalar(key_node)
                self._lines[*path, key] = key_node.start_mark.line + 1
                found[key] = self._plain(value_node, (*path, key))
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(item, (*path, position)) for position, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        try:
            return self._loader.construct_object(node)
        except ValueError as error:  # it looks like a date, or says that it is a number, and is none
            raise self._wrong(node, f"{node.value} cannot be read: {error}") from error

    def _wrong(self, node: yaml.Node, what: str, next: str = "") -> ChangeoverError:
        return ChangeoverError(Problem(what, f"{self._file}:{node.start_mark.line + 1}", next=next))

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        if id(node) in self._looked_at:
            return  # met before, by an alias: what it merges stands in it by now, beside keys of its own
        self._looked_at.add(id(node))
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in first:
                    what = f"{key_node.value} is given twice, first on line {first[key_node.value]}"
                    raise self._wrong(key_node, what, "Take one of them out.")
                first[key_node.value] = key_node.start_mark.line + 1

    def check(self, schema: type[Checked], data: Any, path: Path) -> Checked:
        """`data`, which stands at `path`, as `schema` understands it. Raises ChangeoverError."""
        try:
            return schema.model_validate(data)
        except ValidationError as error:
            found = error.errors(include_url=False)
            # An item that is wrong does not count as one, so that a list of nothing else is called too short besides.
            inner = {at[:length] for at in (one["loc"] for one in found) for length in range(len(at))}
            found = [one for one in found if one["type"] != "too_short" or one["loc"] not in inner]
            problems = [self._explain(schema, path, one["loc"], one["type"], one["msg"], one["input"]) for one in found]
            raise ChangeoverError(*problems) from error

    def problem(self, path: Path, what: str, next: str = "") -> Problem:
        """A problem with the value at `path`, or with the nearest thing around it that stands in the file."""
        key = ".".join(map(str, path))
        known = path
        while known not in self._lines:
            known = known[:-1]
        return Problem(f"{key}: {what}" if key else what, f"{self._file}:{self._lines[known]}", next=next)

    def _explain(
        self, schema: type[BaseModel], path: Path, location: Path, kind: str, message: str, given: object
    ) -> Problem:
        here = (*path, *location)
        secret = here[:1] in _MAY_HOLD_TOKENS or "router" in here or ("headers" in here and here[0] != "tiers")
        match kind:
            case "extra_forbidden":
                known = _keys(schema, location[:-1])
                return self.problem(here, "no such key", _nearest(str(location[-1]), known))
            case "missing":
                return self.problem(here, "this key is missing")
            case "model_type" | "dict_type" | "mapping_type":
                return self.problem(here, "a mapping of keys is needed" + ("" if secret else f", not {given!r}"))
            case "tuple_type" | "list_type":
                return self.problem(here, "a list is needed" + ("" if secret else f", not {given!r}"))
            case _:
                message = message.removeprefix("Value error, ")
                shown = f" (not {given!r})" if isinstance(given, str | int | float) and not secret else ""
                return self.problem(here, message + shown)


def _keys(schema: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that are allowed at a place of a schema."""
    at: Any = schema.model_json_schema()
    definitions = at.get("$defs", {})
    for step in location:
        at = _resolve(at, definitions)
        at = at.get("items", {}) if isinstance(step, int) else at.get("properties", {}).get(step, {})
    return sorted(_resolve(at, definitions).get("properties", {}))


def _resolve(at: Any, definitions: Mapping[str, Any]) -> Any:
    """The part itself, where there is a reference to it, or a choice between it and nothing."""
    while (found := next((one for one in (at, *at.get("anyOf", ())) if "$ref" in one), None)) is not None:
        at = definitions[found["$ref"].rsplit("/", 1)[-1]]
    return at


def _nearest(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return (f"Did you mean {close[0]}? " if close else "") + f"There are: {', '.join(known)}."
