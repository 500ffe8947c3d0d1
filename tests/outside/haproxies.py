"""HAProxies that an operator runs, each with its own runtime API, and servers to stand behind them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from tests.chain.chains import until
from tests.outside.servers import tier

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.hops.haproxy.external.router import ExternalHaproxyRouter
from changeover.hops.haproxy.external.settings import ExternalHaproxy
from changeover.kit import process, sockets
from changeover.model.chain import Tier
from changeover.platforms.local.haproxy import binary
from changeover.ports import Membership, Unknown

Value = TypeVar("Value")
SLOTS = "server-template slot 1-4 127.0.0.1:1 check inter 50ms rise 1 fall 2 disabled"
LOADS = ("load-server-state-from-file local", "server-state-file-name web.state")
LEVEL = "admin"


@dataclass
class Haproxy:
    """One of them, in a folder of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def socket(self) -> str:
        return str(self.folder / "admin.sock")

    @property
    def state_file(self) -> str:
        return str(self.folder / "web.state")

    def write(self, *backend: str, level: str = LEVEL, mode: str = "http", more: str = "") -> None:
        checks = ["option httpchk", "http-check send meth GET uri /readyz"] if mode == "http" else []
        lines = "\n".join(f"    {line}" for line in (*checks, *backend))
        (self.folder / "haproxy.cfg").write_text(
            f"""global
    stats socket {self.socket} mode 600 level {level} expose-fd listeners
    server-state-base {self.folder}
    maxconn 200
defaults
    mode {mode}
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout check 2s
    retries 3
    option redispatch 1
frontend clients
    bind 127.0.0.1:{self.port}
    default_backend web
backend web
    balance roundrobin
{lines}
{more}
"""
        )

    def start(self) -> Self:
        command = [binary(), "-W", "-f", str(self.folder / "haproxy.cfg")]
        self.process = subprocess.Popen(command, cwd=self.folder, stderr=subprocess.DEVNULL, start_new_session=True)
        until(self._answers, "HAProxy's runtime API")
        return self

    def _answers(self) -> bool | None:
        try:
            return bool(self.ask("show info")) or None
        except Unknown:
            return None

    def ask(self, command: str) -> str:
        return asyncio.run(RuntimeApi(self.socket).ask(command))

    def pid(self) -> str:
        return next(line for line in self.ask("show info").splitlines() if line.startswith("Pid:"))

    def reload(self) -> None:
        assert self.process is not None
        before = self.pid()
        self.process.send_signal(signal.SIGUSR2)

        def is_new() -> bool | None:
            try:
                return self.pid() != before or None
            except (Unknown, StopIteration):
                return None

        until(is_new, "the new worker of HAProxy")

    def kill(self) -> None:
        if self.process is not None:
            for pid in process.session_of([self.process.pid]):  # the workers, which end later than their master
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def servers(self) -> dict[str, tuple[str, int, int]]:
        """Server -> its address, its administrative state and its weight."""
        found = asyncio.run(RuntimeApi(self.socket).servers("web"))
        return {name: (one.address, one.administrative, one.weight) for name, one in found.items()}


@contextmanager
def haproxies(folder: Path, count: int, *backend: str, **more: Any) -> Iterator[list[Haproxy]]:
    found: list[Haproxy] = []
    with ExitStack() as stack:
        for number in range(count):
            home = folder / f"node-{number}"
            home.mkdir()
            one = Haproxy(home, sockets.free_port("127.0.0.1", {other.port for other in found}))
            one.write(*backend, **more)
            stack.callback(one.kill)
            found.append(one.start())
        yield found


def router(nodes: list[Haproxy], file: Path, tier: Tier = tier(), **given: Any) -> ExternalHaproxyRouter:  # noqa: B008
    settings = {"kind": "haproxy", "proxy": "127.0.0.1:1", "nodes": [node.socket for node in nodes], **given}
    return ExternalHaproxyRouter(tier, ExternalHaproxy.model_validate(settings), file)


def run(work: Awaitable[Value]) -> Value:
    async def awaited() -> Value:
        return await work

    return asyncio.run(awaited())


def sees(of: ExternalHaproxyRouter, name: str) -> Membership:
    return run(of.membership(frozenset([name])))[name]


def until_seen(of: ExternalHaproxyRouter, name: str, holds: Callable[[Membership], bool]) -> Membership:
    return until(lambda: seen if holds(seen := sees(of, name)) else None, f"{name} at its routers")
