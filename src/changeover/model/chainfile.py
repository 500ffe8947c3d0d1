"""A chain file's text -> a Chain, or every mistake in it with file, line, key and what would be right.

YAML is parsed into nodes first, so that each value keeps its line; pydantic then checks the values. The traits of the
hops hold the schema of each kind's templates, and what `chain_rules` checks between tiers: all in one pass and with the
same kind of message. Refuses to read files: text in, chain out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from changeover.kit.redact import SHOWN
from changeover.model.chain import Chain, Tier
from changeover.model.chain_rules import RuleViolation, violations
from changeover.model.config_model import STORED, Branch
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.gcp_rules import gcp_violations, on_platform, with_defaults
from changeover.model.hop_traits import KnownHops
from changeover.model.router import RouterSettings
from changeover.model.without_effect import ignored

Path = tuple[str | int, ...]
_QUOTED = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")
"""What a message of the YAML reader repeats of the file; a single character is no secret."""
_KINDS = ((bool, "true or false"), (int | float, "a number"), (str, "text"), (dict, "a mapping"), (list, "a list"))
Checked = TypeVar("Checked", bound=BaseModel)


@dataclass(frozen=True)
class ParsedChain:
    """A chain and, for each tier and template, its settings as the schema of its hop holds them."""

    chain: Chain
    settings: Mapping[str, Mapping[str, BaseModel]]
    routers: Mapping[str, RouterSettings]
    """Tiers that a router outside of the chain balances over."""


def read(text: str, file: str, hops: KnownHops, *, stored: bool = False) -> ParsedChain:
    """Parse and check a whole chain file. Raises ChangeoverError with every problem found.

    `stored`: an earlier version has accepted it.
    """
    document = _Document(text, file, STORED if stored else None)
    chain = with_defaults(document.check(Chain, document.data, ()))
    hops = on_platform(chain, hops)
    problems = [
        document.problem(
            ("tiers", position, "kind"), f"no kind of tier is named {tier.kind}", _nearest(tier.kind, sorted(hops))
        )
        for position, tier in enumerate(chain.tiers)
        if tier.kind not in hops
    ]
    if not problems:
        found_all = (*violations(chain, hops), *gcp_violations(chain, hops))
        problems += [document.problem(found.path, found.what, found.next) for found in found_all]
        if not stored:  # an earlier version accepted and ignored these keys; its chain must still be taken down
            problems += [document.problem(found.path, found.what, found.next) for found in ignored(chain, hops)]
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
        if chain.platform.kind == "local"  # the routes of others are in their images
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
    document = _Document(text, file, None)
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
    # A configuration of the user's own has no `routes`; its hop checks that it leads to every tier behind.
    if any(getattr(settings, "config", None) is not None for settings in templates.values()):
        return
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

    def __init__(self, text: str, file: str, context: str | None) -> None:
        self._file = file
        self._context = context
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
            raise ChangeoverError(
                Problem(f"this is not YAML: {_QUOTED.sub(SHOWN, str(error.problem))}", where)
            ) from error
        except (yaml.YAMLError, ValueError, TypeError) as error:
            raise ChangeoverError(Problem(f"this is not YAML: {type(error).__name__}", file)) from error
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
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            # It looks like a date, or says that it is a number, and is none: PyYAML raises whatever comes of it.
            what = "a value that looks like a number or a date cannot be read"
            raise self._wrong(node, what, "Write it in quotes if it is text.") from error

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
            return schema.model_validate(data, context=self._context)
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
        match kind:
            case "extra_forbidden":
                known = _keys(schema, location[:-1])
                return self.problem(here, "no such key", _nearest(str(location[-1]), known))
            case "missing":
                return self.problem(here, "this key is missing")
            case "model_type" | "dict_type" | "mapping_type":
                return self.problem(here, f"a mapping of keys is needed, not {_kind(given)}")
            case "tuple_type" | "list_type":
                return self.problem(here, f"a list is needed, not {_kind(given)}")
            case _:
                message = message.removeprefix("Value error, ")
                shown = isinstance(given, str | int | float) and not _is_secret(schema, location)
                return self.problem(here, message + (f" (not {given!r})" if shown else ""))


def _kind(given: object) -> str:
    """What a value is. The value itself may hold a secret, because it stands in the wrong place."""
    return next((name for types, name in _KINDS if isinstance(given, types)), "nothing" if given is None else "this")


def _is_secret(schema: type[BaseModel], location: Sequence[str | int]) -> bool:
    """Whether a place of a schema, or anything around it, is marked as secret: `writeOnly`, as JSON schema calls it."""
    root = schema.model_json_schema()
    definitions = root.get("$defs", {})
    places: list[Any] = [root]
    for step in location:
        if any(place.get("writeOnly") for place in places):
            return True
        places = [inner for place in places for inner in _inner(place, step)]
        places = [found for place in places for found in _choices(place, definitions)]
    return any(place.get("writeOnly") for place in places)


def _inner(place: Mapping[str, Any], step: str | int) -> list[Any]:
    if isinstance(step, int):
        return [found] if isinstance(found := place.get("items"), dict) else list(place.get("prefixItems", ()))
    if (found := place.get("properties", {}).get(step)) is not None:
        return [found]
    values = [place.get("additionalProperties"), *place.get("patternProperties", {}).values()]
    return [value for value in values if isinstance(value, dict)]


def _choices(place: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[Any]:
    """The place itself and, where it refers to others or is a choice between several, those."""
    found = [place]
    for one in (place, *place.get("anyOf", ()), *place.get("oneOf", ())):
        found.append(definitions[one["$ref"].rsplit("/", 1)[-1]] if "$ref" in one else one)
    return found


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
