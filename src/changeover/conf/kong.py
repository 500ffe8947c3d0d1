"""Reads Kong's configuration: kong.conf, files of `KONG_*` variables, and declarative files, which decK writes too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Map, Node, parse

_DECLARATIVE = re.compile(r"""^[ \t{]*["']?_format_version["']?\s*:""", re.MULTILINE)
_KEYS = re.compile(
    r"^[ \t]*(?:proxy_listen|admin_listen|status_listen|declarative_config|upstream_keepalive_\w+|pg_host"
    r"|nginx_(?:main|http|proxy|admin|status|upstream|events)_\w+|dns_\w+|worker_state_update_frequency)\s*=",
    re.MULTILINE,
)
_VARIABLE = re.compile(r"^\s*(?:export\s+)?KONG_([A-Z0-9_]+)=(.*)$")
_TEMPLATE = re.compile(r"\{\{|\{%|<%")


@dataclass(frozen=True)
class KongValue:
    value: str
    place: Place
    text: str


@dataclass(frozen=True)
class KongSettings(Document):
    """`variables`: they come from the environment, which overrides kong.conf."""

    values: tuple[tuple[str, KongValue], ...]
    variables: bool


@dataclass(frozen=True)
class KongEntities(Document):
    """A declarative file. `root` holds services, routes, upstreams and plugins."""

    root: Map


def recognises(text: str, file: str) -> bool:
    return (
        _DECLARATIVE.search(text) is not None
        or _KEYS.search(text) is not None
        or any(_VARIABLE.match(line) for line in text.splitlines() if "KONG_" in line)
    )


def read(text: str, file: str) -> tuple[Document, ...]:
    """Raises Unreadable."""
    if _DECLARATIVE.search(text):
        roots = [one for one in parse(text, file) if isinstance(one, Map)]
        if not roots:
            raise Unreadable("a declarative file of Kong is a map", Place(file))
        return tuple(KongEntities(file, root) for root in roots)
    found = [*_variables(text, file)]
    return (KongSettings(file, tuple(found or _settings(text, file)), bool(found)),)


def _variables(text: str, file: str) -> Iterator[tuple[str, KongValue]]:
    for number, line in enumerate(text.split("\n"), 1):
        if found := _VARIABLE.match(line):
            value = found[2].strip().strip("\"'")
            yield found[1].lower(), _value(value, Place(file, number), f"KONG_{found[1]}={value}")


def _settings(text: str, file: str) -> Iterator[tuple[str, KongValue]]:
    for number, line in enumerate(text.split("\n"), 1):
        bare = re.split(r"(?<!\\)#", line, maxsplit=1)[0].strip()
        if not bare:
            continue
        key, equals, value = (part.strip() for part in bare.partition("="))
        if not equals:
            raise Unreadable("this is no `key = value`", Place(file, number))
        yield key.lower(), _value(value.strip("\"'"), Place(file, number), f"{key} = {value}")


def _value(value: str, place: Place, text: str) -> KongValue:
    if _TEMPLATE.search(value):
        raise Unreadable("the file is a template: render it first", place)
    return KongValue(value, place, text)


def nested(root: Map, *kinds: str) -> Iterator[Node]:
    """Every entity of a kind: decK nests routes in services and plugins in both."""
    stack: list[Node] = [root]
    while stack:
        at = stack.pop()
        if isinstance(at, Map):
            for key, value in at.items.items():
                if key in kinds:
                    yield from value.each()
                if key in {"services", "routes", "upstreams", "consumers", "consumer_groups"}:
                    stack += value.each()
