"""The two HAProxy hops. They differ in what they read of a connection; launch, readiness, counts and stop are the same.

Both ask the stats socket of the instance. A lame duck answers that it is not ready and, where it reads HTTP, ends each
connection with its next response. The stop signal, a soft stop, then finds none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from signal import SIGUSR1
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from changeover.hops.haproxy import binary, config, own_config, questions
from changeover.hops.haproxy.certificates import Certificates
from changeover.hops.haproxy.external.render import render
from changeover.hops.haproxy.external.router import ExternalHaproxyRouter
from changeover.hops.haproxy.external.settings import ExternalHaproxy
from changeover.hops.haproxy.own_rules import ends_tls, problems
from changeover.hops.haproxy.own_text import filled, named_files
from changeover.hops.haproxy.settings import HaproxyCertificate, HaproxyHttpSettings, HaproxyTcpSettings
from changeover.hops.own_file import with_text
from changeover.kit import descriptors
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, not_ok
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError, fail
from changeover.model.hop_traits import HopTraits, KnownHops
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.readiness import Readiness
from changeover.model.software import Missing
from changeover.ports import LaunchContext, Serving

if TYPE_CHECKING:
    from changeover.model.chainfile import ParsedChain

_Settings = TypeVar("_Settings", HaproxyHttpSettings, HaproxyTcpSettings)
FILE = "haproxy.cfg"
# TERM, which most init scripts send, cuts what is in flight.
STOP_SIGNAL = SIGUSR1


class _Haproxy:
    def __init__(self, client: DirectClient) -> None:
        self._client = client
        self._certificates = Certificates()

    http: ClassVar[bool]
    """Whether it reads requests."""

    @classmethod
    def with_files(cls, settings: _Settings, tier: Tier, chain: Chain, folder: Path) -> _Settings:
        if settings.config is None:
            return _with_paths(settings, folder, first=tier is chain.tiers[0])
        if settings.config.text is not None:
            return settings
        own = with_text(settings.config, folder, filled, named_files)
        if found := tuple(problems(own, tier, chain, frozenset(settings.model_fields_set), http=cls.http)):
            raise ChangeoverError(*found)
        return settings.model_copy(update={"config": own})

    @staticmethod
    def changes(settings: HaproxyHttpSettings | HaproxyTcpSettings, context: LaunchContext) -> tuple[str, ...] | None:
        if settings.config is None:
            return () if isinstance(settings, HaproxyHttpSettings) and settings.tls else None
        return tuple(map(str, own_config.render(settings, context).changes))

    def launch(self, settings: HaproxyHttpSettings | HaproxyTcpSettings, context: LaunchContext) -> LaunchSpec:
        if settings.config is None:
            files, known_as = {FILE: self._generated(settings, context)}, {}
            names = [FILE]
        else:
            own = own_config.render(settings, context)
            files, known_as = {**own.files, **settings.config.files}, own.known_as
            names = [own.main, own_config.ADDED]
        argv = (binary.find(), "-db", *(word for name in names for word in ("-f", name)))
        return LaunchSpec(argv, files, check=(*argv, "-c"), known_as=known_as)

    def _generated(self, settings: Any, context: LaunchContext) -> str:
        raise NotImplementedError

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return binary.missing()

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        return await not_ok(self._client, f"http://{instance.control}{questions.READY_PATH}", timeout)

    async def renew(self, instance: Instance, now: float) -> Sequence[str]:
        return await self._certificates.renew(instance, questions.api(instance), now)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        await questions.lame_duck(instance, on)


def _with_paths(settings: _Settings, folder: Path, *, first: bool) -> _Settings:
    """A generated template with its certificate by absolute path. Raises ChangeoverError."""
    if not isinstance(settings, HaproxyHttpSettings) or settings.tls is None:
        return settings
    if not first:
        raise fail("`tls` has an effect at the first tier alone: tiers speak plain HTTP to each other")
    if settings.tls is False:
        return settings
    certificate = HaproxyCertificate(certificate=str(folder / settings.tls.certificate))
    return settings.model_copy(update={"tls": certificate})


class HaproxyHttp(_Haproxy):
    """HAProxy as L7 proxy."""

    http = True

    traits: ClassVar[HopTraits] = HopTraits(
        kind="haproxy",
        settings=HaproxyHttpSettings,
        takes="tls",
        ready_path=questions.READY_PATH,
        stop_signal=STOP_SIGNAL,
        branches=True,
        ends_with="config",
        names_clients=True,
        trusts_peers=True,
        panics=False,  # as a router outside of the chain
        pools=True,
        external_router=ExternalHaproxy,
    )

    @staticmethod
    def takes(settings: HaproxyHttpSettings) -> Literal["tls", "http", "bytes"]:
        if settings.config is None:
            return "http" if settings.tls is False else "tls"
        return "tls" if ends_tls(settings.config) else "http"

    def external_router(
        self, tier: Tier, settings: ExternalHaproxy, readiness: Readiness | None, membership: str
    ) -> ExternalHaproxyRouter:
        return ExternalHaproxyRouter(tier, settings, Path(membership))

    @classmethod
    def render(cls, parsed: ParsedChain, hops: KnownHops, serving: Serving) -> str:
        return render(parsed, hops, serving)

    def _generated(self, settings: HaproxyHttpSettings, context: LaunchContext) -> str:
        return config.http_config(settings, context, descriptors.hard_limit())

    async def in_flight(self, instance: Instance) -> InFlight:
        return await questions.in_flight(instance)


class HaproxyTcp(_Haproxy):
    """HAProxy as L4 proxy. It sees no requests: what is in flight is its connections."""

    http = False

    traits: ClassVar[HopTraits] = HopTraits(
        kind="haproxy-tcp",
        settings=HaproxyTcpSettings,
        takes="bytes",
        ready_path=questions.READY_PATH,
        stop_signal=STOP_SIGNAL,
        ends_with="config",
    )

    @staticmethod
    def takes(settings: HaproxyTcpSettings) -> Literal["tls", "http", "bytes"]:
        return "tls" if settings.config is not None and ends_tls(settings.config) else "bytes"

    def _generated(self, settings: HaproxyTcpSettings, context: LaunchContext) -> str:
        return config.tcp_config(settings, context, descriptors.hard_limit())

    async def in_flight(self, instance: Instance) -> InFlight:
        return questions.tcp_in_flight(instance)
