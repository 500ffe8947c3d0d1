"""The one place where a name in a chain file becomes an object. Joins, and decides nothing.

A new hop is one line in `hops/registry.py`; here its port is asked what it can do, and never its name.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from changeover.chain_files import COPY, hashes_in_use, hashes_of, read_chain, with_kept
from changeover.engine.journal.journal import Journal
from changeover.engine.release import kept_templates
from changeover.engine.release.pooled import ShortStep, short_steps
from changeover.engine.runtime import ChainRuntime, Guarding
from changeover.hops import registry
from changeover.joining import local
from changeover.kit.direct_http import DirectClient
from changeover.kit.files import write_whole
from changeover.model.chain import Chain, Tier
from changeover.model.errors import fail
from changeover.model.extras import missing_package
from changeover.model.guard import resolve
from changeover.model.instance import Instance, LaunchSpec
from changeover.model.revision import template_of
from changeover.model.software import Missing, refused
from changeover.platforms.local import haproxy
from changeover.platforms.local.platform import LocalPlatform
from changeover.ports import (
    BuffersToDisk,
    CannotStart,
    CanWeigh,
    CountsRequests,
    CountsTraffic,
    NeedsSoftware,
    Platform,
    PoolsInward,
    RendersConfiguration,
    Router,
    RoutesFromOutside,
    RoutesInward,
    TakesConfiguration,
)

if TYPE_CHECKING:
    from changeover.engine.metrics.ledger import Versions
    from changeover.engine.metrics.router import ReadCounts
    from changeover.engine.metrics.source import MetricSource, Sources
    from changeover.engine.metrics.traffic import ReadTotals, TrafficWitness
    from changeover.platforms.gcp.checkup import Checkup


@dataclass(frozen=True)
class Wired:
    """A chain joined to everything that acts on it."""

    chain: Chain
    runtime: ChainRuntime
    platform: Platform
    local: LocalPlatform | None = field(repr=False)
    """The same platform where it is this machine: what it launches can be checked, rendered and given variables."""
    checkup: Checkup | None = field(repr=False)
    """What reads the preconditions of a rollout, on Google Cloud."""
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

    def this_machine(self) -> LocalPlatform:
        """The local platform, for what only processes of this machine have. Raises ChangeoverError for other chains."""
        if self.local is None:
            raise fail(
                "the instances of this chain are not processes of this machine: they have no configuration here",
                state="Nothing was done.",
            )
        return self.local

    @property
    def ca_file(self) -> Path | None:
        """The certificate authority that clients of the edge are to trust, where the platform made one."""
        return None if self.local is None else self.local.ca_file

    def check_software(self) -> None:
        """Raises ChangeoverError where the chain needs software or Python packages that are not installed."""
        if missing := tuple(self.missing_software()):
            raise refused(missing)

    def missing_software(self) -> Iterator[Missing]:
        """What is not installed, and a tier, its load balancer, a guard or a notification needs."""
        for tier, hop in self.runtime.hops.items():
            if isinstance(hop, NeedsSoftware):
                yield from hop.missing_software(self.settings[tier].values())
        if self.local is not None:
            yield from haproxy.missing()
        else:
            yield from missing_package("google.cloud.compute_v1", "a chain on Google Cloud")
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
        for name in self.changes(targets) if self.local is not None else ():
            assert self.local is not None
            tier = next(tier for tier in self.chain.tiers if tier.name == name)
            template = template_of(targets[name])
            try:
                self.local.check(tier, template)
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
            if template and self.local is not None and isinstance(hop, TakesConfiguration):
                nowhere = self.state / "instances"
                context = self.local.stand_in(tier, template, nowhere, nowhere)
                changes = hop.changes(self.settings[tier.name][template], context)
                if changes is not None:
                    found[tier.name] = changes
        return found

    def rendered(self, tier: Tier, template: str, folder: Path, certificates: Path) -> LaunchSpec:
        """What an instance of that template would be launched with in `folder`, also while the chain is down."""
        machine = self.this_machine()
        return machine.launch(machine.stand_in(tier, template, folder, certificates))

    def keep_environment(self, journal: Journal, targets: Mapping[str, str], *, fresh: bool = False) -> list[str]:
        """Keep the variables that templates are about to run with; returns what differs. Raises ChangeoverError."""
        if self.local is None:
            return []
        targets = {tier: template_of(revision) for tier, revision in targets.items()}
        fleets = {tier.name: journal.fleet(tier.name) for tier in self.chain.tiers}
        running = {tier: {template_of(member.template) for member in fleet} for tier, fleet in fleets.items()}
        folder = self.runtime.folder
        return self.local.environments.keep(targets, self.settings, {} if fresh else running, folder, fresh=fresh)

    def keep_copy(self, journal: Journal, targets: Mapping[str, str], *, fresh: bool = False) -> None:
        """Keep the chain file as it is now beside the state: what runs must be known whatever happens to the file.

        `targets`: tier -> the template that it is about to run. `fresh`: the chain starts from nothing.
        """
        kept_templates.write(self.state, self.chain, journal, targets, fresh=fresh)
        write_whole(self.state / COPY, self.text, mode=0o600)


def open_journal(state: Path) -> Journal:
    return Journal(state / "journal.db")


def renderers() -> Mapping[str, type[RendersConfiguration]]:
    """The hops whose configuration can be printed, by kind."""
    return {kind: hop for kind, hop in registry.HOPS.items() if issubclass(hop, RendersConfiguration)}


def configurable() -> frozenset[str]:
    """The kinds of tiers whose files can be printed: their templates can hold a configuration of the user's own."""
    return frozenset(kind for kind, hop in registry.HOPS.items() if issubclass(hop, TakesConfiguration))


def wire(file: Path, state: Path) -> Wired:
    """Join a chain file with its hops, its platform and its routers. Starts nothing. Raises ChangeoverError."""
    given, text = read_chain(file, stored=file == state / COPY)
    state = state.resolve()
    parsed = with_kept(given, kept_templates.read(state))
    settings, client = parsed.settings, DirectClient()
    if parsed.chain.platform.kind == "gcp":
        from changeover.joining import gcp  # commands of a chain on this machine start without it

        joined = gcp.join(parsed, state, client)
    else:
        joined = local.join(parsed, state, client)
    chain, platform, hops, routing = joined.chain, joined.platform, joined.hops, joined.routing
    instances: dict[str, Instance] = {}
    carrying: dict[str, set[str]] = {}

    def nodes_of(outer: str) -> tuple[Instance, ...]:
        return tuple(instances[name] for name in sorted(carrying.get(outer, ())) if name in instances)

    def router(tier: Tier) -> Router:
        membership = joined.membership_file(tier.name)
        if (described := parsed.routers.get(tier.name)) is not None:
            outside = registry.HOPS[described.kind](client)
            assert isinstance(outside, RoutesFromOutside)
            return outside.external_router(
                tier, described, hops[tier.name].traits.shared_readiness_of(tier), membership
            )
        if (outer := routing.get(tier.name)) is not None:
            inward = hops[outer.name]
            assert isinstance(inward, RoutesInward)
            return inward.router(tier, membership, partial(nodes_of, outer.name))
        return platform.router(tier)

    def sources(tier: str) -> Sources:
        """What a tier's guards can ask: the newest ledger of a probe, Prometheus, and a hop in front that counts."""
        from changeover.engine.metrics.ledger import LedgerReader
        from changeover.engine.metrics.probe import ProbeSource
        from changeover.engine.metrics.prometheus import PrometheusSource
        from changeover.engine.metrics.router import RouterSource

        found: dict[str, MetricSource] = {}
        if ledgers := sorted((state / "ledgers").glob("*.jsonl")):
            found["probe"] = ProbeSource(LedgerReader(ledgers[-1]), versions=_versions(settings[tier]))
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
        return TrafficWitness(totals, LedgerReader(ledgers[-1]) if ledgers else None, _versions(settings[tier]))

    runtime = ChainRuntime(
        chain=chain,
        platform=platform,
        hops=hops,
        routers={tier.name: router(tier) for tier in chain.tiers},
        hashes=hashes_of(parsed),
        hashes_in_use=lambda: hashes_in_use(state),
        instances=instances,
        carrying=carrying,
        guarding={
            tier.name: Guarding(
                resolve(tier.update.guard, chain.guards), partial(sources, tier.name), partial(witness, tier.name)
            )
            for tier in chain.tiers
            if tier.update.guard
        },
        stops=joined.stops,
        previews={tier.name: shown for tier in chain.tiers if (shown := platform.preview(tier)) is not None},
        folder=_folder(file.resolve(), state),
        verdict=partial(_verdict, state),
        timing=joined.timing,
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
    return Wired(chain, runtime, platform, joined.local, joined.checkup, state, buffering, short, settings, text)


def _folder(file: Path, state: Path) -> Path:
    """The folder of the chain file, also where `file` is the copy of it in the state folder."""
    if file != state / COPY:
        return file.parent
    with contextlib.closing(open_journal(state)) as journal:
        original = journal.chain_file()
    return file.parent if original is None else original.parent


def _verdict(state: Path, numbers: Collection[int]) -> str:
    """The verdict of the probes over these rollouts."""
    from changeover.report.in_short import verdict_of

    return verdict_of(state / "journal.db", state / "ledgers", numbers)


def _versions(templates: Mapping[str, Any]) -> Versions:
    """The versions that responses of these templates name: `version` of an application, else the template."""
    from changeover.engine.metrics.ledger import Versions

    named = {name: str(getattr(template, "version", "")) for name, template in templates.items()}
    return Versions({name: version for name, version in named.items() if version})


async def _requests(counts: ReadCounts) -> Mapping[str, int]:
    """Instance -> finished requests, over all nodes."""
    found: Counter[str] = Counter()
    for instances in (await counts()).values():
        found.update({name: count.ended for name, count in instances.items()})
    return found
