"""The one place where a name in a chain file becomes an object.

A new hop is one line in HOPS; everything else asks its port what it can do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
from pydantic import BaseModel

from changeover.engine.journal.journal import Journal
from changeover.engine.metrics.ledger import LedgerReader
from changeover.engine.metrics.probe import ProbeSource
from changeover.engine.metrics.prometheus import PrometheusSource
from changeover.engine.metrics.router import RouterSource
from changeover.engine.metrics.source import MetricSource, Sources
from changeover.engine.runtime import ChainRuntime, Guarding
from changeover.hops.app.hop import App
from changeover.hops.envoy.hop import Envoy
from changeover.hops.envoy.stats import request_counts
from changeover.hops.kong import binary as kong_binary
from changeover.hops.kong.document import document
from changeover.hops.kong.hop import Kong
from changeover.hops.kong.outside import router_of
from changeover.hops.kong.settings import KongRoute, KongSettings
from changeover.hops.nginx.hop import NginxHttp, NginxStream
from changeover.hops.nginx.settings import HttpSettings
from changeover.hops.relay.hop import Relay
from changeover.kit import http
from changeover.kit.files import write_whole
from changeover.model import chainfile
from changeover.model.chain import Chain, Tier, content_hash
from changeover.model.errors import fail
from changeover.model.guard import resolve
from changeover.model.instance import Instance, LaunchSpec
from changeover.platforms.local.platform import HopFunctions, LocalPlatform
from changeover.ports import Hop, LaunchContext, Router, RoutesInward

HOPS: Mapping[str, type[NginxHttp | NginxStream | Envoy | Kong | Relay | App]] = MappingProxyType(
    {hop.kind: hop for hop in (NginxHttp, NginxStream, Envoy, Kong, Relay, App)}
)
"""Every kind of tier there is."""

STATE = Path(".changeover")
"""Where a chain keeps its state unless told otherwise."""


@dataclass(frozen=True)
class Wired:
    """A chain joined to everything that acts on it."""

    chain: Chain
    world: ChainRuntime
    platform: LocalPlatform
    state: Path
    disk: Mapping[str, Mapping[str, int]]
    """Bytes that bodies may take on the disk of an instance: tier -> template -> bytes, for tiers that buffer any."""
    text: str = field(repr=False)

    def journal(self) -> Journal:
        return open_journal(self.state)

    def keep_copy(self) -> None:
        """Keep the chain file as it is now beside the state: what runs must be known whatever happens to the file."""
        write_whole(self.state / "chain.yaml", self.text)


def open_journal(state: Path) -> Journal:
    return Journal(state / "journal.db")


def read_chain(file: Path) -> tuple[chainfile.Read, str]:
    """A chain file, checked, and its text. Raises ChangeoverError."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(f"the chain file cannot be read: {reason}", where=str(file), next="Name one with -f.") from error
    read = chainfile.read(text, str(file), {kind: hop.Settings for kind, hop in HOPS.items()})
    _check_order(read.chain, str(file))
    _check_affinity(read.chain, str(file))
    _check_routers(read.chain, str(file))
    return read, text


def _check_order(chain: Chain, file: str) -> None:
    """Every tier but the last passes requests on; the last one answers them."""
    for tier in chain.tiers:
        last = chain.inner(tier.name) is None
        if last != (HOPS[tier.kind] is App):
            problem = "is the last tier and has nothing to pass requests to" if last else "answers requests by itself"
            raise fail(
                f"tier {tier.name} ({tier.kind}) {problem}",
                where=file,
                next="The last tier of a chain, and only that one, is of kind app.",
            )


def _check_affinity(chain: Chain, file: str) -> None:
    """A balancer can only go by what it sees."""
    first = HOPS[chain.tiers[0].kind]
    for tier, outer in zip(chain.tiers, (None, *chain.tiers), strict=False):
        by, takes = tier.affinity.by, HOPS[tier.kind].takes
        where = f"{file}: tier {tier.name} ({tier.kind}): affinity {tier.affinity}"
        if by in ("cookie", "header") and (takes == "bytes" or (takes == "tls" and outer is None)):
            sees = "bytes" if takes == "bytes" else "TLS"
            raise fail(
                f"its balancer sees {sees}, and no {by}",
                where=where,
                next=f"Give the {by} to a tier further in that answers HTTP"
                + (", or say `affinity: client-ip` here." if outer is None else "."),
            )
        if by == "client-ip" and outer is not None and takes == "bytes":
            raise fail(
                f"its connections come from tier {outer.name}, whose addresses are not those of clients",
                where=where,
                next=f"Say it at tier {chain.tiers[0].name}, or at a tier further in that answers HTTP.",
            )
        if by == "client-ip" and outer is not None and not first.names_clients:
            raise fail(
                f"nobody tells it who the client is: {chain.tiers[0].name} ({chain.tiers[0].kind}) does not pass it on",
                where=where,
                next=f"Say it at tier {chain.tiers[0].name}, or begin the chain with a tier of kind "
                + " or ".join(kind for kind, hop in sorted(HOPS.items()) if hop.names_clients)
                + ".",
            )


def _check_routers(chain: Chain, file: str) -> None:
    """A tier has one router: a hop in front that balances by itself, or one outside of the chain."""
    for outer in chain.tiers:
        inner = chain.inner(outer.name)
        if inner is not None and inner.router is not None and issubclass(HOPS[outer.kind], RoutesInward):
            raise fail(
                f"tier {inner.name} has a router of its own, and {outer.name} ({outer.kind}) in front of it is one too",
                where=file,
                next=f"Take out `router` of {inner.name}, or the tier {outer.name}.",
            )


def check_software(chain: Chain) -> None:
    """That what its tiers run is installed, where this program does not bring it. Raises ChangeoverError."""
    if any(HOPS[tier.kind] is Kong for tier in chain.tiers):
        kong_binary.find()


def wire(file: Path, state: Path, client: httpx.AsyncClient) -> Wired:
    """Join a chain file with its hops, its platform and its routers. Starts nothing. Raises ChangeoverError."""
    read, text = read_chain(file)
    chain, settings = read.chain, read.settings
    state = state.resolve()
    hops: dict[str, Hop] = {tier.name: HOPS[tier.kind](client) for tier in chain.tiers}
    inward: dict[str, RoutesInward] = {}
    for tier in chain.tiers:
        hop: object = hops[tier.name]
        inner = chain.inner(tier.name)
        if inner is not None and isinstance(hop, RoutesInward):
            inward[inner.name] = hop
    wires = HopFunctions(
        launch=lambda place: _launch(hops, settings, place),
        ready_path=lambda tier: hops[tier.name].ready_path,
        inward=frozenset(inward),
        controlled=frozenset(name for name, hop in hops.items() if hop.own_control),
    )
    platform = LocalPlatform(chain, state, wires)
    instances: dict[str, Instance] = {}
    carrying: dict[str, frozenset[str]] = {}

    def nodes_of(outer: str) -> tuple[Instance, ...]:
        return tuple(instances[name] for name in sorted(carrying.get(outer, ())) if name in instances)

    def router(position: int, tier: Tier) -> Router:
        if tier.router is not None:
            ready_path = _ready_path(HOPS[tier.kind])
            return router_of(tier, tier.router, ready_path, platform.membership_file(tier.name), time.monotonic)
        if tier.name in inward:
            outer = chain.tiers[position - 1].name
            return inward[tier.name].router(tier, str(platform.membership_file(tier.name)), lambda: nodes_of(outer))
        return platform.router(tier)

    def sources(position: int) -> Sources:
        """Whom a tier's guards can ask: the newest ledger of a probe, Prometheus, and an Envoy in front."""
        found: dict[str, MetricSource] = {}
        if ledgers := sorted((state / "ledgers").glob("*.jsonl")):
            found["probe"] = ProbeSource(LedgerReader(ledgers[-1]))
        if chain.prometheus is not None:
            found["prometheus"] = PrometheusSource(client, chain.prometheus, instances)
        if position and HOPS[chain.tiers[position - 1].kind] is Envoy:
            tier, outer = chain.tiers[position].name, chain.tiers[position - 1].name
            found["router"] = RouterSource(lambda: request_counts(client, tier, lambda: nodes_of(outer)))
        return found

    world = ChainRuntime(
        chain=chain,
        platform=platform,
        hops=hops,
        routers={tier.name: router(position, tier) for position, tier in enumerate(chain.tiers)},
        hashes={
            tier.name: {name: content_hash(tier.kind, said) for name, said in settings[tier.name].items()}
            for tier in chain.tiers
        },
        instances=instances,
        carrying=carrying,
        guarding={
            tier.name: Guarding(resolve(tier.update.guard, chain.guards), partial(sources, position))
            for position, tier in enumerate(chain.tiers)
            if tier.update.guard
        },
        previews={tier.name: shown for tier in chain.tiers if (shown := platform.preview(tier)) is not None},
        folder=file.resolve().parent,
    )
    disk = {
        name: {template: said.disk for template, said in templates.items() if isinstance(said, HttpSettings)}
        for name, templates in settings.items()
    }
    return Wired(chain, world, platform, state, {name: of for name, of in disk.items() if any(of.values())}, text)


def client() -> httpx.AsyncClient:
    """The HTTP client that asks control ports."""
    return http.client()


def _launch(
    hops: Mapping[str, Hop], settings: Mapping[str, Mapping[str, BaseModel]], place: LaunchContext
) -> LaunchSpec:
    instance = place.instance
    return hops[instance.tier].launch(settings[instance.tier][instance.template], place)


def kong_documents(read: chainfile.Read) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Tier, what Kong calls it, and what a Kong in front of it is configured with, without members.

    Of every tier that a Kong routes to; of the last one if there is no Kong. A Kong that is a tier is configured as its
    first template says.
    """
    chain = read.chain
    within: dict[str, KongSettings] = {}
    for outer in chain.tiers:
        inner, first = chain.inner(outer.name), read.settings[outer.name][outer.first]
        if inner is not None and isinstance(first, KongSettings):
            within[inner.name] = first
    routed = [tier for tier in chain.tiers if tier.router is not None or tier.name in within]
    for tier in routed or chain.tiers[-1:]:
        settings, name = within.get(tier.name, KongSettings()), tier.name
        if tier.router is not None:
            route = KongRoute(buffering="buffer" if tier.router.request_buffering else "stream")
            settings, name = KongSettings(routes=(route,)), tier.router.upstream or name
        yield tier.name, name, document(name, tier, settings, _ready_path(HOPS[tier.kind]))


def _ready_path(hop: type[Hop]) -> str | None:
    """Where the instances of a tier say at their own address whether they are ready, if they do."""
    return None if hop.own_control else hop.ready_path


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a chain file, with what a template of each kind may say."""
    whole = Chain.model_json_schema(mode="validation")
    definitions = whole["$defs"]
    cases = []
    for kind, hop in sorted(HOPS.items()):
        own = hop.Settings.model_json_schema(mode="validation")
        definitions.update(own.pop("$defs", {}))
        name = hop.Settings.__name__
        definitions[name] = own
        says = {"properties": {"templates": {"additionalProperties": {"$ref": f"#/$defs/{name}"}}}}
        cases.append({"if": {"properties": {"kind": {"const": kind}}}, "then": says})
    definitions["Tier"]["properties"]["kind"]["enum"] = sorted(HOPS)
    definitions["Tier"]["allOf"] = cases
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
