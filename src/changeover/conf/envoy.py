"""Reads Envoy's bootstraps and the files that its discovery reads (xDS), as YAML or JSON: listeners, routes, clusters.

Envoy takes a key as protobuf writes it (`idle_timeout`) and as JSON does (`idleTimeout`); the tree has the first.
Refuses to ask a discovery server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, Word, parse

_BOOTSTRAP = re.compile(
    r"^(?:static_resources|staticResources|dynamic_resources|dynamicResources):"
    r"|\"(?:static_resources|staticResources|dynamic_resources|dynamicResources)\"[ \t]*:",
    re.MULTILINE,
)
_DISCOVERED = re.compile(r"^resources:|^[ \t{]*\"resources\"[ \t]*:", re.MULTILINE)
_CONFIG = "type.googleapis.com/envoy.config."
_CAMEL = re.compile(r"[a-z]+(?:[A-Z][a-z0-9]*)+")
_KINDS = {
    "listener.v3.Listener": "listeners",
    "route.v3.RouteConfiguration": "routes",
    "cluster.v3.Cluster": "clusters",
    "endpoint.v3.ClusterLoadAssignment": "endpoints",
}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)s")


@dataclass(frozen=True)
class EnvoyFile(Document):
    """`resources`: the maps of each kind, `listeners`, `routes`, `clusters` and `endpoints`.

    `asks`: where a bootstrap names the source of its listeners, a discovery server or, `from_file`, a file.
    """

    resources: Mapping[str, tuple[Map, ...]]
    asks: Place | None
    from_file: bool = False


def recognises(text: str, file: str) -> bool:
    if "esources" not in text:
        return False  # a plain word costs a tenth of the patterns
    return _BOOTSTRAP.search(text) is not None or (_CONFIG in text and _DISCOVERED.search(text) is not None)


def read(text: str, file: str) -> tuple[EnvoyFile, ...]:
    """Raises Unreadable."""
    known: dict[int, Node] = {}
    roots = [_as_protobuf(root, known) for root in parse(text, file)]
    if len(roots) != 1 or not isinstance(roots[0], Map):
        raise Unreadable("a configuration of Envoy is one map", Place(file))
    root = roots[0]
    if (listed := root.get("resources")) is not None:
        found: dict[str, list[Map]] = {}
        for one in listed.maps():
            kind = _KINDS.get((one.text("@type") or "").partition(_CONFIG)[2])
            if kind is not None:
                found.setdefault(kind, []).append(one)
        return (EnvoyFile(file, {kind: tuple(maps) for kind, maps in found.items()}, None),)
    static = {kind: root.maps("static_resources", kind) for kind in ("listeners", "clusters")}
    source = root.get("dynamic_resources", "lds_config")
    if not isinstance(source, Map):
        return (EnvoyFile(file, static, None),)
    return (EnvoyFile(file, static, source.place, bool({"path", "path_config_source"} & source.items.keys())),)


def _as_protobuf(node: Node, known: dict[int, Node]) -> Node:
    """The same tree with keys in snake case. `known`: what aliases share is done once."""
    if isinstance(node, Word):
        return node
    if (done := known.get(id(node))) is not None:
        return done
    new = node
    if isinstance(node, Items):
        values = tuple(_as_protobuf(one, known) for one in node.values)
        if any(one is not old for one, old in zip(values, node.values, strict=True)):
            new = Items(node.place, node.size, values)
    elif isinstance(node, Map):
        new = _of_map(node, known)
    known[id(node)] = new
    return new


def _of_map(node: Map, known: dict[int, Node]) -> Map:
    items: dict[str, Node] = {}
    keys: dict[str, Place] = {}
    same = True
    for key, value in node.items.items():
        name, inner = _snake(key), _as_protobuf(value, known)
        if name in items:
            raise Unreadable(f"{name} is given twice, first on line {keys[name].line}", node.keys[key])
        items[name], keys[name] = inner, node.keys[key]
        same = same and name == key and inner is value
    return node if same else Map(node.place, node.size, items, keys)


@lru_cache(maxsize=1000)
def _snake(key: str) -> str:
    return re.sub("[A-Z]", lambda sign: f"_{sign[0].lower()}", key) if _CAMEL.fullmatch(key) else key


def seconds(text: str) -> float | None:
    """A duration as protobuf writes it: `15s`, `0.25s`; None for a text that is none."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) if found else None
