"""A bootstrap of the user's own, made ready for one instance. Pure.

Each edit is a `Change` with its reason: `up`, `plan` and `render` print them. Refuses to add anything that no drain, no
member of a tier behind and no second instance needs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from changeover.hops.envoy import bootstrap
from changeover.hops.envoy.member_list import endpoints, socket_address
from changeover.hops.envoy.own_document import MANAGER, OwnDocument, Part, filters, hosts, replaced
from changeover.hops.envoy.own_rules import CERTIFICATE, INSTANCE, KEY, TEMPLATE, idle_timeout
from changeover.hops.envoy.settings import EnvoySettings
from changeover.hops.own_file import LISTEN, Change
from changeover.model.units import human_seconds
from changeover.ports import LaunchContext

CHECKED = "checked.json"
"""In the folder of an instance: it runs a bootstrap of the user's own."""


@dataclass(frozen=True)
class Rendered:
    """`text`: the whole bootstrap, as JSON. `checked`: files in which it can be checked before the chain is up."""

    text: str
    checked: dict[str, str]
    changes: tuple[Change, ...]


def render(settings: EnvoySettings, context: LaunchContext) -> Rendered:
    """The bootstrap of one instance. `settings.config` must hold its text."""
    # Envoy refuses a list of members that does not exist, and there is none before the chain is up.
    lists = {one.tier.name: f"no-members/{one.tier.name}/endpoints.json" for one in context.behind}
    without = tuple(replace(one, membership=lists[one.tier.name]) for one in context.behind)
    checked, _ = _rendered(settings, replace(context, behind=without))
    empty = {path: endpoints(name, {}) for name, path in lists.items()}
    text, changes = _rendered(settings, context)
    return Rendered(text, {CHECKED: checked, **empty}, changes)


def _rendered(settings: EnvoySettings, context: LaunchContext) -> tuple[str, tuple[Change, ...]]:
    assert settings.config is not None
    work = _Work(OwnDocument(settings.config), settings.config.path, context)
    (listener,) = work.document.listening
    work.process()
    for manager in filters(listener, MANAGER):
        work.idle(manager)
        work.hide(manager)
    work.listen(listener)
    work.members(settings)
    return work.text(), tuple(work.changes)


class _Work:
    def __init__(self, document: OwnDocument, path: str, context: LaunchContext) -> None:
        self.document = document
        self._path, self._context = path, context
        self.changes: list[Change] = []

    def _note(self, at: str, what: str, why: str) -> None:
        self.changes.append(Change(f"{self._path}: {at}" if at else self._path, what, why))

    def text(self) -> str:
        """The whole, with the value of each placeholder."""
        context = self._context
        known = {
            LISTEN: socket_address(context.instance.address),
            CERTIFICATE: f"{context.tls}/edge.pem",
            KEY: f"{context.tls}/edge.key",
            INSTANCE: context.instance.name,
            TEMPLATE: context.instance.template,
        }
        return json.dumps(replaced(self.document.root, known), indent=1)

    # -- parts -----------------------------------------------------------------------------------------------------

    def process(self) -> None:
        """What the process itself needs."""
        root, context = self.document.root, self._context
        why = "changeover asks there, and has the instance drain; a port could be asked by any local user"
        self._note("admin", "replaced" if "admin" in root else "added, a socket in the folder of the instance", why)
        root["admin"] = bootstrap.ADMIN
        root["node"] = {"id": context.instance.name, "cluster": context.tier.name, **(root.get("node") or {})}
        root["static_resources"]["listeners"].append(bootstrap.control(context.instance.control))
        why = "the tier in front and changeover ask there whether the instance is ready"
        self._note("static_resources.listeners", "a listener on a port of its own", why)

    def idle(self, manager: Part) -> None:
        """At the first tier that reads HTTP, clients may keep connections idle for as long as Envoy lets them."""
        if self._context.trusted_peers is None or idle_timeout(manager.value) is not None:
            return
        seconds = min(bootstrap.CLIENTS_IDLE, self._context.tier.drain.deadline / 2)
        options = manager.value.get("common_http_protocol_options") or {}
        manager.value["common_http_protocol_options"] = {**options, "idle_timeout": bootstrap.seconds(seconds)}
        at = f"{manager.at}.common_http_protocol_options"
        self._note(at, f"`idle_timeout: {human_seconds(seconds)}`", "a drain waits for idle connections of clients")

    def hide(self, manager: Part) -> None:
        """The control paths of the tiers behind, at every virtual host that clients reach."""
        hidden = bootstrap.hidden(self._context)
        for host in hosts(manager) if hidden else ():
            host.value["routes"] = [*hidden, *(host.value.get("routes") or [])]
            paths = ", ".join(self._context.hidden_paths)
            self._note(f"{host.at}.routes", f"404 at {paths}", "control paths of the tiers behind")
        if hidden:
            runtime = self.document.root.setdefault("layered_runtime", {})
            layers = runtime.setdefault("layers", [])
            if bootstrap.PATTERNS not in layers:
                layers.append(bootstrap.PATTERNS)
                self._note("layered_runtime", "a layer for the size of patterns", "the pattern of these paths needs it")

    def listen(self, listener: Part) -> None:
        if self._context.instance.proxied:
            given = listener.value.get("listener_filters") or []
            listener.value["listener_filters"] = [bootstrap.PROXY_HEADER, *given]
            why = "the load balancer in front names the client in a PROXY header"
            self._note(f"{listener.at}.listener_filters", "a filter for PROXY headers", why)

    def members(self, settings: EnvoySettings) -> None:
        """The clusters of the tiers behind. Keys of the user's hold beside those that give a cluster its members."""
        own = {one.value.get("name"): one for one in self.document.clusters}
        clusters = self.document.root["static_resources"].setdefault("clusters", [])
        for inner in self._context.behind:
            added = bootstrap.cluster(settings, inner, self._context.tier.size)
            why = f"the instances of tier {inner.tier.name} come and go without a reload"
            if (given := own.get(inner.tier.name)) is None:
                clusters.append(added)
                self._note("static_resources.clusters", f"cluster {inner.tier.name}, with its members from a file", why)
            else:
                missing = {key: value for key, value in added.items() if key not in given.value}
                given.value.update(missing)
                self._note(given.at, ", ".join(f"`{key}`" for key in missing), why)
