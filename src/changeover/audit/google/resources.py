"""Resources of Google Cloud in one shape, with their joins: which group a service has, which manager makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from posixpath import dirname
from typing import TypeVar

from changeover.audit.google.shape import UNMOVED, kind_of, shaped
from changeover.audit.setting import Setting, unknown
from changeover.conf.document import Document
from changeover.conf.google import GoogleFile, GoogleNode
from changeover.conf.place import Place
from changeover.conf.terraform.resources import resources as terraform_resources
from changeover.conf.terraform.syntax import HclFile
from changeover.conf.tree import Items, Map, Node, Open, Word

Value = TypeVar("Value")
_SIGNS = {
    "httpHealthCheck": "HTTP",
    "httpsHealthCheck": "HTTPS",
    "http2HealthCheck": "HTTP2",
    "grpcHealthCheck": "GRPC",
    "tcpHealthCheck": "TCP",
    "sslHealthCheck": "SSL",
}
_GOOGLE = re.compile(r"google|gcp|fabric", re.IGNORECASE)
_BALANCER = re.compile(r"(?<![a-z])(?:net-)?i?lb(?![a-z])|load-?balanc", re.IGNORECASE)
_GROUP = re.compile(r"(?<![a-z])mig(?![a-z])|instance-?group", re.IGNORECASE)
"""Of the source of a module: it has resources of Google Cloud, a backend service, a group."""
_INDEX = re.compile(r"\[[^\[\]]*\]$")
"""At the end of an address."""
_FLAGS = {
    ("connectionDraining", "drainingTimeoutSec"): "--connection-draining-timeout",
    ("timeoutSec",): "--timeout",
}
"""Of `gcloud compute backend-services update`."""


@dataclass(frozen=True)
class Resource:
    """`origin`: `api`, `terraform`, `plan`, `connector` or `gke`; defaults depend on it. `address` is Terraform's.

    Of `gke`, `address` is the manifest, as `BackendConfig shop`.
    """

    kind: str
    name: str
    regional: bool
    origin: str
    address: str
    body: Map
    majors: tuple[int | None, int | None] = (None, None)

    @property
    def place(self) -> Place:
        return self.body.place

    @property
    def object(self) -> str:
        return self.address if self.origin == "gke" else f"{self.kind} {self.address or self.name}"

    def at(self, *path: str) -> Place:
        """The line of the key at a path, or of the nearest thing around it."""
        place = self.place
        node: Node | None = self.body
        for key in path:
            if not isinstance(node, Map) or key not in node.keys:
                return place
            place, node = node.keys[key], node.items[key]
        return place

    def is_open(self, *path: str) -> Open | None:
        """The expression on the way to a path that cannot be resolved."""
        node: Node | None = self.body
        for key in (*path, ""):
            if isinstance(node, Open):
                return node
            if isinstance(node, Items) and key and len(node.values) > 1:
                return Open(node.place, 1, key, f"which of {len(node.values)} holds")
            node = node.items.get(key) if isinstance(node, Map) else None
        return None

    def number(self, path: tuple[str, ...], default: float | None, shown: str) -> Setting[float]:
        """A number. `shown` is its default in words."""
        found, value = self._found(path, default, shown), self.body.number(*path)
        return found if value is None else Setting(value, self.at(*path), f"{self.key(path)} {value:g}")

    def word(self, path: tuple[str, ...], default: str | None, shown: str) -> Setting[str]:
        """A word such as a mode or a protocol."""
        found, value = self._found(path, default, shown), self.body.text(*path)
        return found if value is None else Setting(value, self.at(*path), f"{self.key(path)} {value}")

    def flag(self, path: tuple[str, ...], default: bool | None, shown: str) -> Setting[bool]:
        found, value = self._found(path, default, shown), self.body.flag(*path)
        return found if value is None else Setting(value, self.at(*path), f"{self.key(path)} {str(value).lower()}")

    def _found(self, path: tuple[str, ...], default: Value | None, shown: str) -> Setting[Value]:
        """What holds where no such value can be read: unknown, or the default."""
        place = self.at(*path)
        if (expression := self.is_open(*path)) is not None:
            text = f"{self.key(path)} = {expression.expression[:60]}"
            missing = expression.missing or "the value of this expression"
            return unknown(expression.place, text, f"{missing}: `terraform show -json` of a plan has it")
        if self.body.get(*path) is not None and not _empty(self.body.get(*path)):
            return unknown(place, f"{self.key(path)} cannot be read", f"a plain value of {self.key(path)}")
        if default is None:
            return unknown(place, f"{self.key(path)} is not set, so it is {shown}", shown)
        return Setting(default, place, f"{self.key(path)} is not set, so it is {shown}")

    def key(self, path: tuple[str, ...]) -> str:
        """The name of a key as its file writes it."""
        names = path[-2:] if path[-1] in {"fixed", "percent"} else path[-1:]
        if self.origin in {"api", "gke"}:
            return ".".join(names)
        name = UNMOVED.get(path[-2:])
        if self.origin == "connector":
            return name or ".".join(names)
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name or "_".join(names)).lower()

    def with_value(self, path: tuple[str, ...], value: str) -> str:
        """How its operator gives a key another value: in Terraform, in Config Connector's spec, or by gcloud."""
        if self.origin in {"terraform", "plan"}:
            quoted = value if re.fullmatch(r"\d+|true|false", value) else f'"{value}"'
            return f"{self.key(path)} = {quoted}"
        if self.origin == "connector":
            around = path[:-2] if path[-2:] in UNMOVED else path[: -len(self.key(path).split("."))]
            return f"{'.'.join(('spec', *around, self.key(path)))}: {value}"
        if self.origin == "gke":
            around = ("spec", "default") if self.address.startswith("GCPBackendPolicy") else ("spec",)
            return f"{'.'.join((*around, *path))}: {value}"
        if self.kind != "backendService" or path not in _FLAGS:
            return f"{'.'.join(path)}: {value}"
        region = (self.body.text("region") or "").rsplit("/", 1)[-1]
        where = f"--region={region}" if region else "--global"
        return f"gcloud compute backend-services update {self.name} {where} {_FLAGS[path]}={value}"


def _empty(node: Node | None) -> bool:
    return isinstance(node, Word) and node.null


@dataclass(frozen=True)
class Google:
    """Every resource that the files describe."""

    resources: tuple[Resource, ...]

    def of(self, kind: str) -> list[Resource]:
        return self._by_kind.get(kind, [])

    @cached_property
    def _by_kind(self) -> dict[str, list[Resource]]:
        found: dict[str, list[Resource]] = {}
        for one in self.resources:
            found.setdefault(one.kind, []).append(one)
        return found

    @cached_property
    def _named(self) -> dict[tuple[str | None, str, str], tuple[int, Resource]]:
        """The first resource of a folder, or of all (None), of a kind, by its address and by `/` and its name."""
        found: dict[tuple[str | None, str, str], tuple[int, Resource]] = {}
        for order, one in enumerate(self.resources):
            for name in (one.address, f"/{one.name}" if one.name else ""):
                for folder in (dirname(one.place.file), None) if name else ():
                    found.setdefault((folder, one.kind, name), (order, one))
        return found

    def referred(self, node: Node | None, *kinds: str) -> Resource | None:
        """The resource that a link, a name or a reference of Terraform names.

        Those of the same folder come first: each root of Terraform has addresses of its own.
        """
        text = _named(node)
        last = text.rsplit("/", 1)[-1]
        if node is None or not last:
            return None
        for folder in (dirname(node.place.file), None):
            keys = [(folder, kind, name) for kind in kinds for name in (text, f"/{last}")]
            if not any(key in self._named for key in keys):
                keys = [(folder, kind, _INDEX.sub("", text)) for kind in kinds]  # one stands for all that are alike
            if found := [self._named[key] for key in keys if key in self._named]:
                return min(found, key=lambda one: one[0])[1]
        return None

    def lost_balancers(self) -> list[Resource]:
        """Calls of modules that have a backend service, by their source, and whose files are not given."""
        return self._lost(_BALANCER)

    def lost_groups(self) -> list[Resource]:
        """Calls of modules that have a managed instance group."""
        return self._lost(_GROUP)

    def _lost(self, sign: re.Pattern[str]) -> list[Resource]:
        sources = [(one, (one.body.text("source") or "").replace("_", "-")) for one in self.of("module")]
        return [one for one, source in sources if _GOOGLE.search(source) and sign.search(source)]

    def managers(self, service: Resource) -> list[Resource]:
        """The managers whose groups stand behind a backend service."""
        found = [
            self.referred(backend.get("group"), "instanceGroupManager") for backend in service.body.maps("backends")
        ]
        return [one for one in found if one is not None]

    def services(self, manager: Resource) -> list[Resource]:
        """The backend services that a manager's group stands behind."""
        return list(self._services.get(id(manager), {}).values())

    @cached_property
    def _services(self) -> dict[int, dict[int, Resource]]:
        found: dict[int, dict[int, Resource]] = {}
        for service in self.of("backendService"):
            for manager in self.managers(service):
                found.setdefault(id(manager), {})[id(service)] = service
        return found

    def checks(self, holder: Resource, *path: str) -> list[Resource]:
        """The health checks that a key names: one, or a list."""
        found = holder.body.get(*path)
        nodes = found.values if isinstance(found, Items) else (found,)
        return [check for node in nodes if (check := self.referred(node, "healthCheck")) is not None]

    def lost_checks(self, holder: Resource, *path: str) -> str:
        """What is missing where a key names health checks that no given file describes; empty where it names none."""
        found = holder.body.get(*path)
        if found is None:
            return ""
        if isinstance(found, Open):
            return found.missing or f"the value of {holder.key(path)}"
        nodes = found.values if isinstance(found, Items) else (found,)
        lost = [one for one in nodes if self.referred(one, "healthCheck") is None]
        if not lost:
            return ""
        if isinstance(first := lost[0], Open):
            return first.missing or f"the value of {holder.key(path)}"
        return f"the health check {_named(first)} of {holder.key(path)}"


def _named(node: Node | None) -> str:
    """A link, a name or an address; of a reference of Config Connector, such as `healthCheckRef`, what it names."""
    while isinstance(node, Map) and len(node.items) == 1 and next(iter(node.items)).endswith("Ref"):
        node = next(iter(node.items.values()))
    if isinstance(node, Map):
        return node.text("external") or node.text("name") or ""
    return node.word if isinstance(node, Word) else ""


def google(documents: Sequence[Document]) -> Google:
    """The resources of all documents."""
    return Google(tuple(_resources(documents)))


def _resources(documents: Sequence[Document]) -> Iterator[Resource]:
    for one in terraform_resources([document for document in documents if isinstance(document, HclFile)]):
        if one.type == "module":
            yield Resource("module", f"{one.module}{one.name}", False, "terraform", "", one.body)
        elif (kind := kind_of(one.type)) is not None:
            body = shaped(one.body)
            address = f"{one.module}{one.type}.{one.name}{one.index}"
            yield Resource(kind[0], body.text("name") or "", kind[1], "terraform", address, body, one.majors)
    for file in documents:
        for node in file.resources if isinstance(file, GoogleFile) else ():
            if node.origin == "api":
                regional = node.body.text("region") is not None
                yield Resource(node.type, node.name, regional, "api", "", shaped(node.body))
            elif node.origin == "gke":
                yield from _of_gke(node)
            elif (kind := kind_of(node.type)) is not None:
                body = shaped(node.body)
                name = body.text("name") or node.name
                yield Resource(kind[0], name, kind[1], node.origin, node.name if node.origin == "plan" else "", body)


def _of_gke(node: GoogleNode) -> Iterator[Resource]:
    """The backend service that a manifest sets up, and its health check, whose keys the API has one level deeper."""
    address, body = f"{node.type} {node.name}", node.body
    items = dict(body.items)
    affinity = items.get("sessionAffinity")
    kind = affinity.get("affinityType") or affinity.get("type") if affinity is not None else None
    if kind is not None:
        items["sessionAffinity"] = kind  # the API has its type alone
    if isinstance(check := body.get("healthCheck"), Map):
        items["healthChecks"] = Word(check.place, 1, address, quoted=True)
        inner = {"type": Word(check.place, 1, "HTTP", quoted=True), **check.items, "httpHealthCheck": check}
        place = body.keys["healthCheck"]
        yield Resource("healthCheck", "", False, "gke", address, Map(place, check.size, inner, check.keys))
    yield Resource("backendService", node.name, False, "gke", address, Map(body.place, body.size, items, body.keys))


def check_type(check: Resource) -> str | None:
    """HTTP, TCP, …; None if it cannot be read."""
    if (found := check.body.text("type")) is not None:
        return found.upper()
    if legacy := re.search(r"\bgoogle_compute_(https?)_health_check\b", check.address):
        return legacy[1].upper()
    return next((type for key, type in _SIGNS.items() if key in check.body.items), None)
