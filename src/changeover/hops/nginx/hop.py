"""The two nginx hops. They differ in their configuration; launch, readiness, counts and stop are the same."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from signal import SIGQUIT
from typing import TYPE_CHECKING, Any, ClassVar

from changeover.hops.nginx import binary
from changeover.hops.nginx.config import http_conf, stream_conf
from changeover.hops.nginx.settings import HttpSettings, StreamSettings
from changeover.kit.http import TIMEOUT, NoResponse, ask, is_ok
from changeover.kit.sockets import open_connections
from changeover.model.hop_traits import HopTraits
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.model.software import Missing
from changeover.ports import LaunchContext, Unknown

if TYPE_CHECKING:
    import httpx

_COUNTS = re.compile(r"Reading: (\d+) Writing: (\d+)")


READY_PATH = "/readyz"
# QUIT finishes what is in flight; TERM, which most init scripts send, cuts it.
STOP_SIGNAL = SIGQUIT


class _Nginx:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ready(self, instance: Instance, timeout: float = TIMEOUT) -> bool:
        return await is_ok(self._client, f"http://{instance.control}{READY_PATH}", timeout)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The file is all it needs: connections leave by keepalive_time."""

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return binary.missing(stream=False)

    def _launch(self, text: str) -> LaunchSpec:
        nginx = binary.find().path
        argv = (nginx, "-p", ".", "-c", "nginx.conf", "-e", "stderr")
        return LaunchSpec(argv, {"nginx.conf": text}, check=(*argv, "-t", "-q"))


class NginxHttp(_Nginx):
    """nginx as L7 proxy."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="nginx",
        settings=HttpSettings,
        takes="tls",
        ready_path=READY_PATH,
        stop_signal=STOP_SIGNAL,
        branches=True,
        names_clients=True,
        trusts_peers=True,
        # `underscores_in_headers` is off, its default: many servers take X_User and X-User for the same header.
        passes_headers=r"[A-Za-z0-9-]+",
    )

    def launch(self, settings: HttpSettings, context: LaunchContext) -> LaunchSpec:
        return self._launch(http_conf(settings, context, binary.find(), as_root=os.geteuid() == 0))

    def connection_life(self, settings: HttpSettings) -> float:
        return settings.upstream_keepalive_time if settings.upstream_keepalive else 0.0

    async def in_flight(self, instance: Instance) -> InFlight:
        """Requests from stub_status, less the one that asks; connections from the kernel."""
        try:
            answer = await ask(self._client, "GET", f"http://{instance.control}/status")
        except NoResponse as error:
            raise Unknown(str(error)) from error
        counts = _COUNTS.search(answer.text)
        if counts is None:
            raise Unknown(f"{instance.name}: /status is not stub_status: {answer.text[:80]!r}")
        requests = max(0, int(counts[1]) + int(counts[2]) - 1)
        connections = open_connections(instance.address.port)
        # Without a connection there is no request: the rest are health checks on the control port.
        return InFlight(requests if connections else 0, connections)

    def disk_bytes(self, settings: HttpSettings) -> int:
        return settings.disk


class NginxStream(_Nginx):
    """nginx as L4 proxy. It sees no requests: what is in flight is its connections."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="nginx-stream",
        settings=StreamSettings,
        takes="bytes",
        ready_path=READY_PATH,
        stop_signal=STOP_SIGNAL,
    )

    def missing_software(self, templates: Collection[Any]) -> Iterator[Missing]:
        return binary.missing(stream=True)

    def launch(self, settings: StreamSettings, context: LaunchContext) -> LaunchSpec:
        return self._launch(stream_conf(settings, context, binary.find(), as_root=os.geteuid() == 0))

    async def in_flight(self, instance: Instance) -> InFlight:
        """Connections from the kernel: stream has no status page that is free."""
        return InFlight(None, open_connections(instance.address.port))
