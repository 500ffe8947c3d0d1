"""One run of an example: its servers as processes in a folder of their own, its addresses as free ports here.

Refuses an example whose software is not installed. Leaves no process behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from changeover.audit.assumptions import Assumptions
from changeover.audit.view import StopPath, View
from changeover.kit.direct_http import DirectClient
from changeover.kit.sockets import free_port
from changeover.lab.client import Client
from changeover.lab.demonstration import Demonstration, Happening, Kind, Server, Times
from changeover.lab.line import Line
from changeover.lab.origin import Origin
from changeover.lab.software import ADMIN, Ports, app, envoy, haproxy, nginx
from changeover.model.errors import fail

_START = 30.0
"""Seconds that a server may take to answer its first request."""
_POLL = 0.02
"""Seconds between two looks whether a server answers, or has exited."""
_HOST = "127.0.0.1"
DRAIN = "DRAIN"
"""As the auditor names Envoy's POST /healthcheck/fail among the signals of a stop."""


@dataclass
class Running:
    """A process and its session. `port` is where it listens."""

    process: asyncio.subprocess.Process
    port: int
    log: Path

    @property
    def exited(self) -> bool:
        return self.process.returncode is not None

    def workers(self) -> set[int]:
        """Its child processes."""
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()))

    def send(self, name: str, *, whole: bool = False) -> None:
        """A signal to the main process, or to the whole group; SIGKILL always to the whole session."""
        with contextlib.suppress(ProcessLookupError):
            if name == "KILL":
                os.killpg(self.process.pid, signal.SIGKILL)
            elif whole:
                os.killpg(self.process.pid, signal.Signals[f"SIG{name}"])
            elif not self.exited:
                os.kill(self.process.pid, signal.Signals[f"SIG{name}"])


@dataclass
class Stage:
    """What a traffic works with. `happen` makes happen what the demonstration is about."""

    shown: Demonstration
    times: Times
    client: Client
    servers: Mapping[str, Running]
    origins: Sequence[Origin]
    stops: Sequence[StopPath]
    admin: int
    """The port of Envoy's admin interface, if there is an Envoy."""
    left: int = 0
    """What a traffic counts where the demonstration names something to be counted."""
    _happening: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def first(self) -> Running:
        return self.servers[self.shown.servers[0].file]

    def happen(self) -> None:
        """Begin it, if anything is to happen; it goes on while the traffic does."""
        if self.shown.happens is Happening.NOTHING:
            return
        work = {Happening.STOP: self._stop, Happening.RELOAD: self._reload, Happening.REPLACE: self._replace}
        self._happening.append(asyncio.ensure_future(work[self.shown.happens]()))

    async def over(self) -> None:
        """Wait until the stop or the reload has done all that it does."""
        await asyncio.gather(*self._happening)

    async def _stop(self) -> None:
        start = time.monotonic()
        for sent in self.stops[0].signals:
            until = start + sent.at / self.shown.scale
            while time.monotonic() < until and not self.first.exited:
                await asyncio.sleep(min(_POLL, max(0.0, until - time.monotonic())))
            if sent.name == DRAIN:
                await DirectClient().request("POST", f"http://{_HOST}:{self.admin}/healthcheck/fail")
            else:
                self.first.send(sent.name, whole=sent.whole)

    async def _reload(self) -> None:
        self.first.send("USR2" if self.shown.servers[0].kind is Kind.HAPROXY else "HUP")

    async def _replace(self) -> None:
        old = self.first.workers()
        await self._reload()
        await asyncio.sleep(self.times.asked.roll_window / self.shown.scale)
        for pid in old & self.first.workers():
            os.kill(pid, signal.SIGTERM)


@asynccontextmanager
async def staged(
    shown: Demonstration, files: Mapping[str, str], view: View, asked: Assumptions
) -> AsyncIterator[Stage]:
    """The example, serving. Raises ChangeoverError where its software is not installed, or does not start."""
    with tempfile.TemporaryDirectory(prefix="changeover-lab-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # a worker of another user enters it
        ports = Ports(lambda taken: free_port(_HOST, taken))
        running: dict[str, Running] = {}
        origins: list[Origin] = []
        lines: list[Line] = []
        tasks: list[asyncio.Task[None]] = []
        try:
            for server in shown.servers:  # every listener gets its port before an address is looked up
                ports.learn(files[server.file])
            if shown.line is not None:
                ports.line(shown.line)
            commands = {
                server.file: _command(server, files, view, shown, ports, Path(folder)) for server in shown.servers
            }
            for port in ports.origins:
                origins.append(Origin(port))
                await origins[-1].start()
            for port, start in ports.lines.items():
                lines.append(Line(start, ports.listeners[port], shown.latency))
                await lines[-1].start()
            for server in shown.servers:
                argv, port = commands[server.file]
                running[server.file] = await _started(argv, port, Path(folder) / f"{server.file}.log")
            stops = [one for one in view.stops if one.signals]
            port = running[shown.servers[-1].file].port
            sender = Client(_HOST, next((line.port for line in lines if line.to == port), port))
            stage = Stage(shown, Times(asked, shown.scale), sender, running, origins, stops, ports.listener(ADMIN))
            tasks = stage._happening
            await _serves(stage)
            yield stage
        finally:
            for task in tasks:
                task.cancel()
            for one in running.values():
                one.send("KILL")
                await one.process.wait()
            for line in lines:
                await line.close()
            for origin in origins:
                await origin.close()


def _command(
    server: Server, files: Mapping[str, str], view: View, shown: Demonstration, ports: Ports, folder: Path
) -> tuple[Sequence[str], int]:
    text = files[server.file]
    match server.kind:
        case Kind.NGINX:
            return nginx(server.file, _with_defaults(server.file, text, shown), shown.scale, ports, folder)
        case Kind.HAPROXY:
            return haproxy(server.file, text, shown.scale, ports, folder)
        case Kind.ENVOY:
            return envoy(server.file, text, shown.scale, ports, folder)
        case Kind.APP:
            start = next(one for one in view.commands if one.place.file == server.file)
            more = shown.defaults.get(server.file, "").split()
            arguments = start.arguments if set(more) & set(start.arguments) else (*start.arguments, *more)
            return app(start, arguments, shown.scale, ports)


def _with_defaults(file: str, text: str, shown: Demonstration) -> str:
    for key, added in shown.defaults.items():
        name, _, after = key.partition(":")
        if name == file and added.split()[0] not in text:
            text = text.replace(after, f"{after} {added}")
    return text


async def _started(argv: Sequence[str], port: int, log: Path) -> Running:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=log.parent,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Running(process, port, log)


async def _serves(stage: Stage) -> None:
    """Wait until the whole example answers, without a trace in the counts."""
    trial = Client(stage.client.host, stage.client.port)
    deadline = time.monotonic() + _START
    while (await trial.request("GET", patience=5.0)).outcome != "ok":
        for file, one in stage.servers.items():
            if one.exited or time.monotonic() > deadline:
                log = one.log.read_text(encoding="utf-8", errors="replace")[-2000:].strip()
                raise fail(f"{file} of the example does not serve here", state=log)
        await asyncio.sleep(_POLL)
