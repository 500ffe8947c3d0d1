"""The two nginx hops. They differ in their configuration; launch, readiness, counts and stop are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from signal import SIGQUIT
from typing import Any, ClassVar, Literal, TypeVar

from changeover.hops.certificate_files import CertificateFiles
from changeover.hops.nginx import binary, certificate, own_config, questions
from changeover.hops.nginx.binary import NginxBinary
from changeover.hops.nginx.config import SNIPPETS, http_conf, stream_conf
from changeover.hops.nginx.own_files import with_paths, with_texts
from changeover.hops.nginx.own_rules import ends_tls, problems
from changeover.hops.nginx.own_tree import OwnTree, everything
from changeover.hops.nginx.questions import READY_PATH
from changeover.hops.nginx.settings import HttpSettings, StreamSettings
from changeover.kit import descriptors
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, not_ok
from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError
from changeover.model.hop_traits import BodyBuffer, HopTraits
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.software import Missing
from changeover.ports import CannotStart, LaunchContext

_Settings = TypeVar("_Settings", HttpSettings, StreamSettings)
# QUIT finishes what is in flight; TERM, which most init scripts send, cuts it.
STOP_SIGNAL = SIGQUIT
BODY_FOLDER = "client_body_temp_path"
BODIES = "tmp-client_body"
"""Where an instance buffers bodies, unless its configuration names another folder: `config` and `own_config` say so."""


class _Nginx:
    block: ClassVar[str]
    """The block that a configuration of this kind must have."""

    def __init__(self, client: DirectClient) -> None:
        self._client = client
        self._templates: Mapping[str, Any] = {}
        self._renewed = CertificateFiles()
        self._named: dict[str, tuple[Path, ...]] = {}
        """Template -> certificates of a configuration of the user's own."""
        self._reported: set[tuple[str, Path]] = set()

    def learn(self, templates: Mapping[str, Any]) -> None:
        self._templates = templates

    async def renew(self, instance: Instance, now: float) -> Sequence[str]:
        settings = self._templates.get(instance.template)
        if settings is None:
            return ()
        if settings.config is None:
            return self._renewed_here(settings, instance, now)
        if instance.template not in self._named:
            self._named[instance.template] = certificate.named(settings.config)
        late = certificate.renewed_since_start(self._named[instance.template], Path(instance.directory))
        new = [file for file in late if (instance.name, file) not in self._reported]
        self._reported |= {(instance.name, file) for file in new}
        return [
            f"the certificate {file} was renewed, and this instance serves the earlier one: nginx reads it when it "
            f"starts. `changeover roll {instance.tier} --restart` replaces the instances"
            for file in new
        ]

    def _renewed_here(self, settings: Any, instance: Instance, now: float) -> Sequence[str]:
        """Of a generated configuration."""
        return ()

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        return await not_ok(self._client, f"http://{instance.control}{READY_PATH}", timeout)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The file is all it needs: connections leave by keepalive_time."""

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return binary.missing(stream=False)

    @classmethod
    def with_files(cls, settings: _Settings, tier: Tier, chain: Chain, folder: Path) -> _Settings:
        if settings.config is None:
            return with_paths(settings, folder, first=tier is chain.tiers[0])
        if settings.config.files:
            return settings
        tree, given = OwnTree(with_texts(settings.config, folder)), frozenset(settings.model_fields_set)
        if found := tuple(problems(tree, cls.block, tier, chain, given)):
            raise ChangeoverError(*found)
        return settings.model_copy(update={"config": tree.config})

    @staticmethod
    def changes(settings: HttpSettings | StreamSettings, context: LaunchContext) -> tuple[str, ...] | None:
        if settings.config is None:
            given = settings.snippets or settings.user or (isinstance(settings, HttpSettings) and settings.tls)
            return () if given else None
        return tuple(map(str, own_config.render(settings, context, binary.find()).changes))

    def launch(self, settings: HttpSettings | StreamSettings, context: LaunchContext) -> LaunchSpec:
        nginx = binary.find()
        if settings.config is not None:
            own = own_config.render(settings, context, nginx)
            main, files, known_as = own.main, own.files, own_config.names(settings.config)
        else:
            snippets = {f"{SNIPPETS}/{key}": text for key, text in settings.snippets.items()}
            if settings.user and os.geteuid() != 0:
                raise CannotStart(
                    f"only root can start workers of {settings.user}, and changeover does not run as root"
                )
            main, files = "nginx.conf", {"nginx.conf": self._generated(settings, context, nginx), **snippets}
            known_as = {f"./{SNIPPETS}/": "the template's "}
        argv = (nginx.path, "-p", ".", "-c", main, "-e", "stderr")
        return LaunchSpec(
            argv,
            files,
            check=(*argv, "-t", "-q"),
            known_as=known_as,
            private=self._private(settings, context),
            private_to=settings.user,
        )

    @staticmethod
    def _private(
        settings: HttpSettings | StreamSettings, context: LaunchContext
    ) -> Callable[[], Mapping[str, str]] | None:
        if not (isinstance(settings, HttpSettings) and settings.tls and context.outermost):
            return None
        return partial(certificate.first, *certificate.files(settings.tls))

    def _generated(self, settings: Any, context: LaunchContext, nginx: NginxBinary) -> str:
        raise NotImplementedError


def _body_buffer(settings: HttpSettings, folder: Path) -> BodyBuffer | None:
    """Of a configuration of the user's own, the first folder that it names: only nginx knows which routes buffer."""
    if settings.config is None:
        return BodyBuffer(folder / BODIES, settings.disk) if settings.disk else None
    named = (one.values[0] for one in everything(OwnTree(settings.config).main) if one.name == BODY_FOLDER)
    return BodyBuffer(folder / next(named, BODIES))


class NginxHttp(_Nginx):
    """nginx as L7 proxy."""

    block = "http"

    traits: ClassVar[HopTraits] = HopTraits(
        kind="nginx",
        settings=HttpSettings,
        takes="tls",
        ready_path=READY_PATH,
        stop_signal=STOP_SIGNAL,
        branches=True,
        ends_with="config",
        names_clients=True,
        trusts_peers=True,
        # `underscores_in_headers` is off, its default: many servers take X_User and X-User for the same header.
        passes_headers=r"[A-Za-z0-9-]+",
        body_buffer=_body_buffer,
    )

    @staticmethod
    def takes(settings: HttpSettings) -> Literal["tls", "http", "bytes"]:
        if settings.config is None:
            return "http" if settings.tls is False else "tls"
        return "tls" if ends_tls(OwnTree(settings.config)) else "http"

    def _generated(self, settings: HttpSettings, context: LaunchContext, nginx: NginxBinary) -> str:
        return http_conf(settings, context, nginx, as_root=os.geteuid() == 0, descriptors=descriptors.hard_limit())

    def _renewed_here(self, settings: Any, instance: Instance, now: float) -> Sequence[str]:
        if not settings.tls:
            return ()
        pem, fault = self._renewed.usable(certificate.files(settings.tls), now)
        if pem and certificate.replace(Path(instance.directory), pem, now):
            return (f"serves the renewed certificate {settings.tls.certificate} to new connections",)
        return (fault,) if fault else ()

    def connection_life(self, settings: HttpSettings) -> float:
        return settings.upstream_keepalive_time if settings.upstream_keepalive else 0.0

    async def in_flight(self, instance: Instance) -> InFlight:
        return await questions.in_flight(self._client, instance)

    def disk_bytes(self, settings: HttpSettings) -> int:
        return settings.disk


class NginxStream(_Nginx):
    """nginx as L4 proxy. It sees no requests: what is in flight is its connections."""

    block = "stream"

    traits: ClassVar[HopTraits] = HopTraits(
        kind="nginx-stream",
        settings=StreamSettings,
        takes="bytes",
        ready_path=READY_PATH,
        stop_signal=STOP_SIGNAL,
        ends_with="config",
    )

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return binary.missing(stream=True)

    @staticmethod
    def takes(settings: StreamSettings) -> Literal["tls", "http", "bytes"]:
        return "bytes"

    def _generated(self, settings: StreamSettings, context: LaunchContext, nginx: NginxBinary) -> str:
        return stream_conf(settings, context, nginx, as_root=os.geteuid() == 0, descriptors=descriptors.hard_limit())

    async def in_flight(self, instance: Instance) -> InFlight:
        return questions.stream_in_flight(instance)
