"""The one place where a name in a chain file becomes an object. Joins, and decides nothing.

A new hop is one line in `hops/registry.py`; here its port is asked what it can do, and never its name.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ValidationError

from changeover.engine.journal.journal import Journal
from changeover.engine.release import kept_templates
from changeover.engine.release.kept_templates import KeptTier
from changeover.engine.release.pooled import ShortStep, short_steps
from changeover.engine.runtime import ChainRuntime, Guarding
from changeover.hops import registry
from changeover.kit import http
from changeover.kit.files import write_whole
from changeover.model import chainfile
from changeover.model.chain import Chain, Tier, content_hash
from changeover.model.chainfile import ParsedChain
from changeover.model.config_model import STORED
from changeover.model.errors import ChangeoverError, fail
from changeover.model.extras import missing_package
from changeover.model.guard import resolve
from changeover.model.hop_traits import routing_tiers
from changeover.model.instance import Address, Instance, LaunchSpec
from changeover.model.revision import template_of
from changeover.model.software import Missing, refused
from changeover.model.stop import Stop, TemplateSettings
from changeover.platforms.local import haproxy
from changeover.platforms.local.platform import LocalPlatform
from changeover.ports import (
    BuffersToDisk,
    CannotStart,
    CanWeigh,
    CountsRequests,
    CountsTraffic,
    LaunchContext,
    LearnsTemplates,
    NeedsSoftware,
    PoolsInward,
    RendersConfiguration,
    Router,
    RoutesFromOutside,
    RoutesInward,
    TakesConfiguration,
)

if TYPE_CHECKING:
    import httpx

    from changeover.engine.metrics.router import ReadCounts
    from changeover.engine.metrics.source import MetricSource, Sources
    from changeover.engine.metrics.traffic import ReadTotals, TrafficWitness

COPY = "chain.yaml"
"""The copy, in the state folder, of the chain file that the running instances were made from."""


@dataclass(frozen=True)
class Wired:
    """A chain joined to everything that acts on it."""

    chain: Chain
    runtime: ChainRuntime
    platform: LocalPlatform
    state: Path
    disk: Mapping[str, Mapping[str, int]]
    """Bytes that bodies may take on the disk of an instance: tier -> template -> bytes, for tiers that buffer any."""
    short_steps: tuple[ShortStep, ...]
    """Canary steps that end before the pools in front have seen their weights."""
    settings: Mapping[str, Mapping[str, Any]] = field(repr=False)
    """Tier -> template -> its settings, as `traits.settings` of the hop parsed them."""
    text: str = field(repr=False)

    def journal(self) -> Journal:
        return open_journal(self.state)

    def check_software(self) -> None:
        """Raises ChangeoverError where the chain needs software or Python packages that are not installed."""
        if missing := tuple(self.missing_software()):
            raise refused(missing)

    def missing_software(self) -> Iterator[Missing]:
        """What is not installed, and a tier, its load balancer, a guard or a notification needs."""
        for tier, hop in self.runtime.hops.items():
            if isinstance(hop, NeedsSoftware):
                yield from hop.missing_software(self.settings[tier].values())
        yield from haproxy.missing()
        for each in self.chain.tiers:
            for guard in resolve(each.update.guard, self.chain.guards):
                if any(condition.against_baseline for condition in guard.conditions):
                    yield from missing_package("scipy", f"guard {guard.name} of tier {each.name}")
        if self.chain.notify:
            yield from missing_package("apprise", "`notify`")

    def takes_tls(self) -> bool:
        """Whether clients send TLS to the chain."""
        first = self.chain.tiers[0]
        hop = self.runtime.hops[first.name]
        if isinstance(hop, TakesConfiguration):
            return hop.takes(self.settings[first.name][first.first]) == "tls"
        return hop.traits.takes == "tls"

    def check_configurations(self, targets: Mapping[str, str]) -> None:
        """Raises ChangeoverError where software refuses a configuration of the user's. `targets`: tier -> template."""
        for name in self.changes(targets):
            tier = next(tier for tier in self.chain.tiers if tier.name == name)
            template = template_of(targets[name])
            try:
                self.platform.check(tier, template)
            except CannotStart as error:
                raise fail(
                    f"the configuration of template {template} of tier {name} is refused: {error}",
                    state="Nothing was started or changed.",
                ) from error

    def changes(self, targets: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
        """Tiers with a configuration of the user's own -> what the hop adds to it. `targets`: tier -> template."""
        found = {}
        for tier in self.chain.tiers:
            hop, template = self.runtime.hops[tier.name], template_of(targets.get(tier.name, ""))
            if template and isinstance(hop, TakesConfiguration):
                nowhere = self.state / "instances"
                context = self.platform.stand_in(tier, template, nowhere, nowhere)
                changes = hop.changes(self.settings[tier.name][template], context)
                if changes is not None:
                    found[tier.name] = changes
        return found

    def rendered(self, tier: Tier, template: str, folder: Path, certificates: Path) -> LaunchSpec:
        """What an instance of that template would be launched with in `folder`, also while the chain is down."""
        context = self.platform.stand_in(tier, template, folder, certificates)
        return self.runtime.hops[tier.name].launch(self.settings[tier.name][template], context)

    def keep_environment(self, journal: Journal, targets: Mapping[str, str], *, fresh: bool = False) -> list[str]:
        """Keep the variables that templates are about to run with; returns what differs. Raises ChangeoverError."""
        targets = {tier: template_of(revision) for tier, revision in targets.items()}
        fleets = {tier.name: journal.fleet(tier.name) for tier in self.chain.tiers}
        running = {tier: {template_of(member.template) for member in fleet} for tier, fleet in fleets.items()}
        folder = self.runtime.folder
        return self.platform.environments.keep(targets, self.settings, {} if fresh else running, folder, fresh=fresh)

    def keep_copy(self, journal: Journal, targets: Mapping[str, str], *, fresh: bool = False) -> None:
        """Keep the chain file as it is now beside the state: what runs must be known whatever happens to the file.

        `targets`: tier -> the template that it is about to run. `fresh`: the chain starts from nothing.
        """
        kept_templates.write(self.state, self.chain, journal, targets, fresh=fresh)
        write_whole(self.state / COPY, self.text, mode=0o600)


def open_journal(state: Path) -> Journal:
    return Journal(state / "journal.db")


def read_chain(file: Path, *, stored: bool = False) -> tuple[ParsedChain, str]:
    """A chain file, checked, and its text, both with the files that its templates name. Raises ChangeoverError.

    The copy in a state folder may be of an earlier version: rules that came later do not hold for it.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise fail(f"the chain file cannot be read: {reason}", where=str(file), next="Name one with -f.") from error
    return _with_files(chainfile.read(text, str(file), registry.known_hops(), stored=stored), text, file)


def _with_files(parsed: ParsedChain, text: str, file: Path) -> tuple[ParsedChain, str]:
    """Templates are immutable, so a copy of the chain file must not depend on other files that change."""
    chain, document = parsed.chain, None
    tiers, settings = list(chain.tiers), {name: dict(templates) for name, templates in parsed.settings.items()}
    for position, tier in enumerate(chain.tiers):
        if not issubclass(hop := registry.HOPS[tier.kind], TakesConfiguration):
            continue
        for name, template in parsed.settings[tier.name].items():
            try:
                whole = hop.with_files(template, tier, chain, file.resolve().parent)
            except ChangeoverError as error:
                where = f"{file}: template {name} of tier {tier.name}"
                raise ChangeoverError(*(replace(one, where=one.where or where) for one in error.problems)) from error
            if whole is not template:
                document = document or yaml.safe_load(text)
                stored = whole.model_dump(mode="json", exclude_unset=True)
                document["tiers"][position]["templates"][name] = stored
                templates = {**tiers[position].templates, name: stored}
                tiers[position] = tiers[position].model_copy(update={"templates": templates})
                settings[tier.name][name] = whole
    first = chain.tiers[0]
    if issubclass(hop := registry.HOPS[first.kind], TakesConfiguration):
        taken = {name: hop.takes(template) for name, template in settings[first.name].items()}
        if len(set(taken.values())) > 1:
            raise fail(
                f"clients send the templates of tier {first.name} different things: "
                + ", ".join(f"{name} takes {what}" for name, what in taken.items()),
                where=str(file),
                next="A chain has one URL: let all take TLS, or none.",
            )
    if document is None:
        return parsed, text
    whole_chain = chain.model_copy(update={"tiers": tuple(tiers)})
    return replace(parsed, chain=whole_chain, settings=settings), yaml.safe_dump(document, sort_keys=False)


def renderers() -> Mapping[str, type[RendersConfiguration]]:
    """The hops whose configuration can be printed, by kind."""
    return {kind: hop for kind, hop in registry.HOPS.items() if issubclass(hop, RendersConfiguration)}


def configurable() -> frozenset[str]:
    """The kinds of tiers whose files can be printed: their templates can hold a configuration of the user's own."""
    return frozenset(kind for kind, hop in registry.HOPS.items() if issubclass(hop, TakesConfiguration))


def wire(file: Path, state: Path, client: httpx.AsyncClient) -> Wired:
    """Join a chain file with its hops, its platform and its routers. Starts nothing. Raises ChangeoverError."""
    given, text = read_chain(file, stored=file == state / COPY)
    state = state.resolve()
    parsed = _with_kept(given, kept_templates.read(state))
    chain, settings = parsed.chain, parsed.settings
    hops = {tier.name: registry.HOPS[tier.kind](client) for tier in chain.tiers}
    for tier, hop in hops.items():
        if isinstance(hop, LearnsTemplates):
            hop.learn(settings[tier])
    routing = routing_tiers(chain, registry.known_hops())

    def launch(context: LaunchContext) -> LaunchSpec:
        instance = context.instance
        return hops[instance.tier].launch(settings[instance.tier][instance.template], context)

    external = {tier: Address.parse(router.proxy) for tier, router in parsed.routers.items()}
    platform = LocalPlatform(chain, state, registry.known_hops(), launch, external)
    platform.environments.know(template for templates in settings.values() for template in templates.values())
    instances: dict[str, Instance] = {}
    carrying: dict[str, frozenset[str]] = {}

    def nodes_of(outer: str) -> tuple[Instance, ...]:
        return tuple(instances[name] for name in sorted(carrying.get(outer, ())) if name in instances)

    def router(tier: Tier) -> Router:
        membership = str(platform.membership_file(tier.name))
        if (described := parsed.routers.get(tier.name)) is not None:
            outside = registry.HOPS[described.kind](client)
            assert isinstance(outside, RoutesFromOutside)
            return outside.external_router(
                tier, described, hops[tier.name].traits.shared_ready_path_of(tier), membership
            )
        if (outer := routing.get(tier.name)) is not None:
            hop = hops[outer.name]
            assert isinstance(hop, RoutesInward)
            return hop.router(tier, membership, partial(nodes_of, outer.name))
        return platform.router(tier)

    def sources(tier: str) -> Sources:
        """What a tier's guards can ask: the newest ledger of a probe, Prometheus, and a hop in front that counts."""
        from changeover.engine.metrics.ledger import LedgerReader
        from changeover.engine.metrics.probe import ProbeSource
        from changeover.engine.metrics.prometheus import PrometheusSource
        from changeover.engine.metrics.router import RouterSource

        found: dict[str, MetricSource] = {}
        if ledgers := sorted((state / "ledgers").glob("*.jsonl")):
            found["probe"] = ProbeSource(LedgerReader(ledgers[-1]))
        if chain.prometheus is not None:
            found["prometheus"] = PrometheusSource(chain.prometheus, instances)
        if (outer := chain.in_front(tier)) is not None and isinstance(hop := hops[outer.name], CountsRequests):
            found["router"] = RouterSource(partial(hop.request_counts, tier, partial(nodes_of, outer.name)))
        return found

    def witness(tier: str) -> TrafficWitness:
        """What shows whether the new instances of a tier get requests: its routers, else the newest ledger."""
        from changeover.engine.metrics.ledger import LedgerReader
        from changeover.engine.metrics.traffic import TrafficWitness

        counting, outer = runtime.routers[tier], routing.get(tier)
        totals: ReadTotals | None = counting.traffic if isinstance(counting, CountsTraffic) else None
        if outer is not None and isinstance(hop := hops[outer.name], CountsRequests):
            totals = partial(_requests, partial(hop.request_counts, tier, partial(nodes_of, outer.name)))
        ledgers = sorted((state / "ledgers").glob("*.jsonl"))
        return TrafficWitness(totals, LedgerReader(ledgers[-1]) if ledgers else None)

    runtime = ChainRuntime(
        chain=chain,
        platform=platform,
        hops=hops,
        routers={tier.name: router(tier) for tier in chain.tiers},
        hashes=_hashes(parsed),
        hashes_in_use=lambda: _hashes_in_use(state),
        instances=instances,
        carrying=carrying,
        guarding={
            tier.name: Guarding(
                resolve(tier.update.guard, chain.guards), partial(sources, tier.name), partial(witness, tier.name)
            )
            for tier in chain.tiers
            if tier.update.guard
        },
        stops={tier: _stops(templates) for tier, templates in settings.items()},
        previews={tier.name: shown for tier in chain.tiers if (shown := platform.preview(tier)) is not None},
        folder=_folder(file.resolve(), state),
    )
    disk = {
        tier: {name: hop.disk_bytes(template) for name, template in settings[tier].items()}
        for tier, hop in hops.items()
        if isinstance(hop, BuffersToDisk)
    }
    buffering = {name: of for name, of in disk.items() if any(of.values())}
    lives = {
        tier: max(hop.connection_life(template) for template in settings[tier].values())
        for tier, hop in hops.items()
        if isinstance(hop, PoolsInward)
    }
    weighing = [
        tier for tier, one in runtime.routers.items() if isinstance(one, CanWeigh) and one.weighs == "connections"
    ]
    short = tuple(short_steps(chain, registry.known_hops(), lives, weighing))
    return Wired(chain, runtime, platform, state, buffering, short, settings, text)


def _folder(file: Path, state: Path) -> Path:
    """The folder of the chain file, also where `file` is the copy of it in the state folder."""
    if file != state / COPY:
        return file.parent
    with contextlib.closing(open_journal(state)) as journal:
        original = journal.chain_file()
    return file.parent if original is None else original.parent


def _stops(templates: Mapping[str, Any]) -> dict[str, Stop]:
    return {
        name: template.stop
        for name, template in templates.items()
        if isinstance(template, TemplateSettings) and template.stop is not None
    }


def _hashes(parsed: ParsedChain) -> dict[str, dict[str, str]]:
    """Tier -> template -> content hash."""
    return {
        tier.name: {name: content_hash(tier.kind, template) for name, template in parsed.settings[tier.name].items()}
        for tier in parsed.chain.tiers
    }


def _hashes_in_use(state: Path) -> dict[str, dict[str, str]]:
    """The same of the templates that the instances were made from, and of those that a rollout can return to."""
    copy, kept = read_chain(state / COPY, stored=True)[0], kept_templates.read(state)
    found = _hashes(copy)
    for tier in copy.chain.tiers:
        found[tier.name] |= {
            name: content_hash(tier.kind, template) for name, template in _kept_settings(tier, kept).items()
        }
    return found


def _with_kept(parsed: ParsedChain, kept: Mapping[str, KeptTier]) -> ParsedChain:
    """The chain with the kept templates that its file no longer has, behind its own."""
    tiers, settings = [], {}
    for tier in parsed.chain.tiers:
        lost = {k: v for k, v in _kept_settings(tier, kept).items() if k not in tier.templates}
        templates = {**tier.templates, **{name: kept[tier.name].templates[name] for name in lost}}
        tiers.append(tier.model_copy(update={"templates": templates}))
        settings[tier.name] = {**parsed.settings[tier.name], **lost}
    return replace(parsed, chain=parsed.chain.model_copy(update={"tiers": tuple(tiers)}), settings=settings)


def _kept_settings(tier: Tier, kept: Mapping[str, KeptTier]) -> dict[str, BaseModel]:
    """The kept templates of a tier, as its hop understands them. Raises ChangeoverError."""
    found = kept.get(tier.name)
    if found is None or found.kind != tier.kind:
        return {}
    schema = registry.known_hops()[tier.kind].settings
    try:
        return {name: schema.model_validate(template, context=STORED) for name, template in found.templates.items()}
    except ValidationError as error:
        raise fail(
            f"a kept template of tier {tier.name} is not one that this version of changeover accepts",
            state="Nothing was changed; the chain goes on serving.",
            next="Use the version of changeover that started the chain.",
        ) from error


async def _requests(counts: ReadCounts) -> Mapping[str, int]:
    """Instance -> finished requests, over all nodes."""
    found: Counter[str] = Counter()
    for instances in (await counts()).values():
        found.update({name: count.ended for name, count in instances.items()})
    return found


def client() -> httpx.AsyncClient:
    """The HTTP client that asks control ports."""
    return http.client()
