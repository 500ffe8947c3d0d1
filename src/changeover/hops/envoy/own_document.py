"""The parts of a bootstrap of the user's own that a drain depends on. Pure.

Refuses to know what the rest means: `envoy --mode validate` checks it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import yaml

from changeover.hops.own_file import LISTEN, PLACEHOLDER, OwnFile
from changeover.model.errors import fail

MANAGER = "HttpConnectionManager"


@dataclass(frozen=True)
class Part:
    """One mapping of the document, and where it stands: `static_resources.listeners[0]`."""

    at: str
    value: dict[str, Any]


class OwnDocument:
    """A bootstrap as data. Envoy takes `camelCase` for `snake_case`; `rules` refuses that."""

    def __init__(self, own: OwnFile) -> None:
        """Raises ChangeoverError where the text is no mapping of YAML."""
        try:
            found = yaml.safe_load(own.text or "")
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = own.path if mark is None else f"{own.path}:{mark.line + 1}"
            raise fail(f"the file is not YAML: {getattr(error, 'problem', None) or error}", where=where) from error
        if not isinstance(found, dict):
            raise fail("the file is not a bootstrap of Envoy, a mapping with `static_resources`", where=own.path)
        self.root: dict[str, Any] = found

    @property
    def listeners(self) -> list[Part]:
        return _parts("static_resources.listeners", _list(self._static().get("listeners")))

    @property
    def clusters(self) -> list[Part]:
        return _parts("static_resources.clusters", _list(self._static().get("clusters")))

    @property
    def listening(self) -> list[Part]:
        """The listeners at the address of the instance."""
        return [one for one in self.listeners if one.value.get("address") == LISTEN]

    def _static(self) -> Mapping[str, Any]:
        found = self.root.get("static_resources")
        return found if isinstance(found, dict) else {}

    def names(self) -> set[str]:
        """The clusters to which something in it leads."""
        found = {value for key, value in _everything(self._static().get("listeners")) if key == "cluster"}
        weighted = [value for key, value in _everything(self._static().get("listeners")) if key == "weighted_clusters"]
        for one in weighted:
            found |= {value for key, value in _everything(one) if key == "name"}
        return {name for name in found if isinstance(name, str)}


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with these placeholders filled in. A text without one, or without YAML, stays as it is."""
    if not any(name in text for name in values):
        return text
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    return yaml.safe_dump(replaced(found, values), sort_keys=False)


def named_files(text: str) -> Iterator[str]:
    """The files that stand for a value (`filename`). Certificates are left out: they are renewed where they are."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return  # reported where the document is read
    yield from _filenames(found)


def _filenames(value: Any) -> Iterator[str]:
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if key == "filename" and isinstance(one, str):
            yield one
        elif key not in ("certificate_chain", "private_key"):
            yield from _filenames(one)


def replaced(value: Any, values: Mapping[str, Any]) -> Any:
    """The same with the value of each placeholder. One that is a whole text may stand for more than a text."""
    match value:
        case dict():
            return {key: replaced(one, values) for key, one in value.items()}
        case list():
            return [replaced(one, values) for one in value]
        case str() if value in values:
            return values[value]
        case str():
            return PLACEHOLDER.sub(lambda found: str(values.get(found[0], found[0])), value)
    return value


def chains(listener: Part) -> list[Part]:
    """The filter chains of a listener."""
    found = _parts(f"{listener.at}.filter_chains", _list(listener.value.get("filter_chains")))
    default = listener.value.get("default_filter_chain")
    return [*found, *([Part(f"{listener.at}.default_filter_chain", default)] if isinstance(default, dict) else [])]


def filters(listener: Part, kind: str) -> list[Part]:
    """The configurations of that kind of network filter in a listener."""
    found = []
    for chain in chains(listener):
        for one in _parts(f"{chain.at}.filters", _list(chain.value.get("filters"))):
            config = one.value.get("typed_config")
            if isinstance(config, dict) and str(config.get("@type")).endswith(f".{kind}"):
                found.append(Part(f"{one.at}.typed_config", config))
    return found


def taken(own: OwnFile) -> Literal["tls", "http", "bytes"]:
    """What clients send to the address of the instance."""
    listening = OwnDocument(own).listening
    if any(
        "DownstreamTlsContext" in str(one.value.get("transport_socket")) for part in listening for one in chains(part)
    ):
        return "tls"
    return "http" if any(filters(one, MANAGER) for one in listening) else "bytes"


def hosts(manager: Part) -> list[Part]:
    """The virtual hosts of the routes that stand in the document."""
    routes = manager.value.get("route_config")
    given = routes.get("virtual_hosts") if isinstance(routes, dict) else None
    return _parts(f"{manager.at}.route_config.virtual_hosts", _list(given))


def texts(value: Any) -> Iterator[str]:
    """Every text in it, keys left out."""
    match value:
        case dict():
            for one in value.values():
                yield from texts(one)
        case list():
            for one in value:
                yield from texts(one)
        case str():
            yield value


def _everything(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _everything(one)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _parts(at: str, values: list[Any]) -> list[Part]:
    return [Part(f"{at}[{number}]", one) for number, one in enumerate(values) if isinstance(one, dict)]
