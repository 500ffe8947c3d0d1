"""What a bootstrap of the user's own must not do: each rule is one sentence on what it would break. Pure.

A rule is about draining and about several instances on one machine. Refuses to judge anything else: `envoy --mode
validate` checks the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from changeover.hops.envoy.own_document import MANAGER, OwnDocument, filters, texts
from changeover.hops.envoy.questions import CONTROL
from changeover.hops.own_file import FOLDER, LISTEN, OwnFile, unknown_placeholders
from changeover.model.chain import Chain, Tier
from changeover.model.errors import Problem
from changeover.model.units import human_seconds

CERTIFICATE, KEY = "CHANGEOVER_CERTIFICATE", "CHANGEOVER_KEY"
INSTANCE, TEMPLATE = "CHANGEOVER_INSTANCE", "CHANGEOVER_TEMPLATE"
PLACEHOLDERS = {
    LISTEN: "the address of the instance: `address: CHANGEOVER_LISTEN` of one listener",
    FOLDER: "the folder of the chain file",
    CERTIFICATE: "the certificate for tests that changeover makes",
    KEY: "its key",
    INSTANCE: "the name of the instance",
    TEMPLATE: "the name of its template",
}
"""Words that a configuration can contain, and what each stands for."""
GIVEN = frozenset({"type", "eds_cluster_config", "load_assignment"})
"""Keys by which the cluster of a tier behind gets its members."""
_CAMEL = re.compile(r"[a-z]+(?:[A-Z][a-z]+)+")

Refused = Iterator[tuple[str, str, str]]
"""Where it stands, what is wrong with it, and what to do."""


def problems(own: OwnFile, tier: Tier, chain: Chain, given: frozenset[str]) -> Iterator[Problem]:
    """Everything that is refused. `given`: the keys of the template. Raises ChangeoverError for what is no YAML."""
    document, behind = OwnDocument(own), chain.behind(tier.name)
    first = tier is chain.tiers[0]
    for rule in (
        _camel(document),
        _listens(document),
        _drains(document, tier, first=first),
        _names_clients(document, asks=chain.asks_for_clients and first),
        _members(document, behind),
        _affinity(document, behind),
        _settled(document, behind, given),
    ):
        for at, what, next in rule:
            yield Problem(what, f"{own.path}: {at}" if at else own.path, next=next)
    for text in texts(document.root):
        yield from unknown_placeholders(text, PLACEHOLDERS, own.path)


def _camel(document: OwnDocument) -> Refused:
    """The rules below would not see such a key."""
    seen = [("", document.root), *((one.at, one.value) for one in (*document.listeners, *document.clusters))]
    seen += [(one.at, one.value) for listener in document.listeners for one in filters(listener, MANAGER)]
    for at, mapping in seen:
        for key in filter(_CAMEL.fullmatch, map(str, mapping)):
            snake = re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key)
            yield (
                at,
                f"`{key}`: changeover reads the names of fields as Envoy's documentation has them",
                f"Write {snake}.",
            )


def _listens(document: OwnDocument) -> Refused:
    """Two instances of a tier run at the same time, so no address can stand in the file."""
    there = document.listening
    if not there:
        next = f"Write `address: {LISTEN}` in the listener for clients."
        yield "static_resources.listeners", "nothing in it listens at the address of the instance", next
    for one in there[1:]:
        yield one.at, f"{LISTEN} is taken by {there[0].at} already", "Remove one of the two."
    for one in document.listeners:
        address = one.value.get("address")
        path = (address.get("pipe") or {}).get("path", "/") if isinstance(address, dict) else ""
        is_own = isinstance(address, dict) and ("pipe" in address) and not str(path).startswith(("/", "@"))
        if address != LISTEN and not is_own and "internal_listener" not in one.value:
            what = "old and new instances run side by side, and only one of them could have this address"
            next = (
                f"Write `address: {LISTEN}`, or a socket with a relative path, `address: {{pipe: {{path: own.sock}}}}`."
            )
            yield f"{one.at}.address", what, next
    others = [value for value in texts(document.root) if LISTEN in value]
    if len(others) > len(there):
        yield "", f"{LISTEN} stands for a whole address", f"Write it as `address: {LISTEN}` of a listener alone."
    if "lds_config" in (document.root.get("dynamic_resources") or {}):
        what = "two instances would get the same listeners, at the same addresses"
        yield "dynamic_resources.lds_config", what, "Write the listeners in static_resources."


def _drains(document: OwnDocument, tier: Tier, *, first: bool) -> Refused:
    """Settings that keep connections while an instance drains."""
    shown = human_seconds(tier.drain.deadline)
    for listener in document.listening:
        if listener.value.get("drain_type") == "MODIFY_ONLY":
            what = "connections would not end with their next response while the instance drains"
            yield f"{listener.at}.drain_type", what, "Remove it."
        for manager in filters(listener, MANAGER):
            if manager.value.get("stat_prefix") in (CONTROL, "admin"):
                prefix = manager.value["stat_prefix"]
                yield f"{manager.at}.stat_prefix", f"requests of {prefix} are not counted", "Write another one."
            for key in sorted({"rds", "scoped_routes"} & manager.value.keys()):
                what = "changeover could not see where these routes lead, nor hide the control paths of an application"
                yield f"{manager.at}.{key}", what, "Write the routes in `route_config`."
            idle = idle_timeout(manager.value)
            if first and idle is not None and idle >= tier.drain.deadline:
                what = f"an idle connection of a client may stay as long as drain.deadline, {shown}"
                next = "Lower it, or raise drain.deadline."
                yield f"{manager.at}.common_http_protocol_options.idle_timeout", what, next


def idle_timeout(manager: dict[str, object]) -> float | None:
    """Seconds; 0, which is none, is endless. None: not set, and Envoy's default of an hour holds."""
    options = manager.get("common_http_protocol_options")
    text = options.get("idle_timeout") if isinstance(options, dict) else None
    found = re.fullmatch(r"([0-9.]+)s", str(text))
    return None if found is None else float(found[1]) or float("inf")


def _names_clients(document: OwnDocument, *, asks: bool) -> Refused:
    for manager in (one for listener in document.listening if asks for one in filters(listener, MANAGER)):
        if manager.value.get("use_remote_address") is not True:
            what = (
                "the chain asks its first tier for the address of the client, which this configuration does not pass on"
            )
            yield manager.at, what, "Write `use_remote_address: true`."


def _members(document: OwnDocument, behind: Sequence[Tier]) -> Refused:
    """A tier behind that gets no request would be rolled without a proof."""
    names, tiers = document.names(), {one.name for one in behind}
    for inner in sorted(tiers - names):
        what = f"nothing in it sends requests to tier {inner}"
        yield "", what, f"Write `cluster: {inner}` in a route: changeover adds the cluster."
    for one in document.clusters:
        if (name := one.value.get("name")) in tiers:
            for key in sorted(GIVEN & one.value.keys()):
                what = f"changeover sets the members of tier {name}: each instance of it comes and goes"
                yield f"{one.at}.{key}", what, "Remove it."


def _affinity(document: OwnDocument, behind: Sequence[Tier]) -> Refused:
    for inner in behind:
        if inner.affinity.by != "none":
            what = f"affinity {inner.affinity} of tier {inner.name} would have no effect: these routes are your own"
            yield "", what, "Remove it, and write a `hash_policy` or a filter for stateful sessions here."


def _settled(document: OwnDocument, behind: Sequence[Tier], given: frozenset[str]) -> Refused:
    """Keys of the template that the configuration overrides."""
    own = {"connect_timeout": "connect_timeout", "upstream_idle_timeout": "typed_extension_protocol_options"}
    tiers = {one.name for one in behind}
    for cluster in document.clusters:
        for key in sorted(given & own.keys()):
            if cluster.value.get("name") in tiers and own[key] in cluster.value:
                yield (
                    f"{cluster.at}.{own[key]}",
                    f"`{key}` of the template has no effect here",
                    "Remove one of the two.",
                )
