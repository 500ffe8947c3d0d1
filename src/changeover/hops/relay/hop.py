"""The relay hop: this program's own relay as a process, asked at its admin address."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from signal import SIGTERM
from typing import ClassVar

from changeover.hops.in_flight_endpoint import in_flight
from changeover.hops.relay.settings import MIB, RelaySettings
from changeover.kit.direct_http import DirectClient
from changeover.kit.http import TIMEOUT, not_ok
from changeover.model.hop_traits import BodyBuffer, HopTraits
from changeover.model.instance import InFlight, Instance, LaunchSpec
from changeover.ports import LaunchContext


class Relay:
    """Takes plain uploads, and hands them inward in segments."""

    traits: ClassVar[HopTraits] = HopTraits(
        kind="relay",
        settings=RelaySettings,
        takes="http",
        ready_path="/readyz",
        stop_signal=SIGTERM,
        sees_uploads=True,
        names_clients=True,
        trusts_peers=True,
        # A file without a name in the folder of Python's `tempfile`, which TMPDIR moves: no instance inherits that.
        body_buffer=lambda settings, _: BodyBuffer(Path("/tmp")) if settings.replay else None,  # noqa: S108
    )

    def __init__(self, client: DirectClient) -> None:
        self._client = client

    def connection_life(self, settings: RelaySettings) -> float:
        return settings.keepalive_time

    def launch(self, settings: RelaySettings, context: LaunchContext) -> LaunchSpec:
        if not context.behind or (upstream := context.behind[0].address) is None:
            raise ValueError(f"{context.tier.name}: a relay tier needs a tier behind it")
        options = {
            "upstream": str(upstream),
            "listen": [str(context.instance.address)],
            "segment": settings.segment,
            "replay": settings.replay,
            "admin": str(context.instance.control),
            "control": "",
            "take_over": False,
            "reuse_port": False,
            "proxy_protocol": context.instance.proxied,
            "proxies": ["127.0.0.0/8"],  # HAProxy, on this machine
            "trusted_peers": context.trusted_peers,
            "hidden_path": context.hidden_paths,
            "lame_duck_file": context.lame_duck,
            "budget": settings.budget // MIB,
            "patience": settings.patience,
            "keepalive_time": settings.keepalive_time,
            "keepalive_timeout": settings.keepalive_timeout,
        }
        return LaunchSpec((sys.executable, "-m", "changeover.relay", json.dumps(options)))

    async def not_ready(self, instance: Instance, timeout: float = TIMEOUT) -> str:
        return await not_ok(self._client, f"http://{instance.control}{self.traits.ready_path}", timeout)

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        """The file is all it needs: it closes each connection with its next answer while the file is there."""

    async def in_flight(self, instance: Instance) -> InFlight:
        return await in_flight(self._client, instance)
