"""Reads Envoy's bootstraps and the files that its discovery reads (xDS), as YAML or JSON: listeners, routes, clusters.

Envoy takes a key as protobuf writes it (`idle_timeout`) and as JSON does (`idleTimeout`); the tree has the first.
Refuses to ask a discovery server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from changeover.conf.document import Document
from changeover.conf.place import Place, Unreadable
from changeover.conf.tree import Items, Map, Node, parse

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

    `servers` are the sources of a bootstrap that no file holds: `lds_config`, `cds_config`, `ads_config`.
    """

    resources: Mapping[str, tuple[Map, ...]]
    bootstrap: bool
    servers: tuple[Place, ...]


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
        return (EnvoyFile(file, {kind: tuple(maps) for kind, maps in found.items()}, False, ()),)
    static = {kind: root.maps("static_resources", kind) for kind in ("listeners", "clusters")}
    return (EnvoyFile(file, static, True, tuple(_servers(root))),)


def _servers(root: Map) -> Iterator[Place]:
    for key in ("lds_config", "cds_config"):
        source = root.get("dynamic_resources", key)
        if isinstance(source, Map) and not {"path", "path_config_source"} & source.items.keys():
            yield source.place


def _as_protobuf(node: Node, known: dict[int, Node]) -> Node:
    """The same tree with keys in snake case. `known`: what aliases share is done once."""
    if (done := known.get(id(node))) is not None:
        return done
    new = node
    if isinstance(node, Items):
        new = Items(node.place, node.size, tuple(_as_protobuf(one, known) for one in node.values))
    elif isinstance(node, Map):
        items: dict[str, Node] = {}
        keys: dict[str, Place] = {}
        for key, value in node.items.items():
            name = re.sub("[A-Z]", lambda sign: f"_{sign[0].lower()}", key) if _CAMEL.fullmatch(key) else key
            if name in items:
                raise Unreadable(f"{name} is given twice, first on line {keys[name].line}", node.keys[key])
            items[name], keys[name] = _as_protobuf(value, known), node.keys[key]
        new = Map(node.place, node.size, items, keys)
    known[id(node)] = new
    return new


def seconds(text: str) -> float | None:
    """A duration as protobuf writes it: `15s`, `0.25s`; None for a text that is none."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) if found else None
