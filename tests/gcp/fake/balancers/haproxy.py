"""One HAProxy process: its configuration, its members through the runtime API, and what its checks found.

The kernel kills it when the fake dies. Nothing is confirmed by a fixed sleep: every command waits for its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import ctypes
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
SOCKET = "haproxy.sock"
"""In its folder, where it is started: the next process gets the listeners through it."""


@dataclass(frozen=True)
class Member:
    name: str
    address: str
    port: int
    settings: str
    """What follows the address in HAProxy's `add server`: its check, above all."""


@dataclass(frozen=True)
class Seen:
    healthy: bool
    """It gets traffic."""
    failures: int
    """Checks that failed in a row while it still does."""


def binary() -> str:
    path = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin:/usr/local/sbin")
    if path is None:
        raise SystemExit("fake: HAProxy is not installed")
    return path


class HaproxyProcess:
    """`admin`: address and port of its runtime API."""

    def __init__(self, folder: Path, admin: tuple[str, int]) -> None:
        self._folder = folder
        self._admin = admin
        self._process: asyncio.subprocess.Process | None = None
        self._config = ""

    async def run(self, config: str, members: Sequence[Member] = ()) -> None:
        """Start it, or have another process take its listeners over: open connections go on, and none is refused.

        `members`: those that it has. The healthy ones are healthy from the start, the others get no traffic yet.
        """
        if config == self._config:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        before, old, more = dict[str, Seen](), self._process, list[str]()
        if old is not None:
            before = await self.seen()
            more = ["-sf", str(old.pid), "-x", SOCKET]
        kept = [member for member in members if member.name in before and before[member.name].healthy]
        servers = "".join(f"    server {m.name} {m.address}:{m.port} {m.settings}\n" for m in kept)
        (self._folder / "haproxy.cfg").write_text(f"{config}{servers}", encoding="utf-8")
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(binary(), "-db", "-f", "haproxy.cfg", *more),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                preexec_fn=_die_with_parent,
            )
        self._config = config
        await self._started(self._process)
        for member in members:
            if member not in kept:
                await self.admit(member)

    async def _started(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(OSError):
                    if f"Pid: {process.pid}\n" in await self.ask("show info"):
                        return
                if process.returncode is not None:
                    text = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"HAProxy did not start: {text[-500:]}")
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def ask(self, command: str) -> str:
        reader, writer = await asyncio.open_connection(*self._admin)
        try:
            writer.write(f"{command}\n".encode())
            await writer.drain()
            return (await reader.read(-1)).decode()
        finally:
            writer.close()

    async def admit(self, member: Member) -> None:
        """Give it traffic as soon as its check passes, and not before."""
        server = f"members/{member.name}"
        added = f"add server {server} {member.address}:{member.port} {member.settings}"
        if "registered" not in (answer := await self.ask(added)):
            raise RuntimeError(f"HAProxy answered {added!r} with {answer!r}")
        await self.ask(f"set server {server} state ready")
        if member.settings:
            await self.ask(f"set server {server} health down")
            await self.ask(f"enable health {server}")

    async def remove(self, name: str) -> None:
        """No new connection or request; what is open goes on."""
        await self.ask(f"set server members/{name} state drain")

    async def forget(self, name: str, *, ended: bool) -> None:
        """Drop it with its connections. `ended`: its machine is off, and a client still gets what had come from it."""
        await self.ask(f"set server members/{name} state maint")
        if ended:
            await self.ask(f"del server members/{name}")  # with such clients, HAProxy refuses: it stays in maintenance
            return
        await self.ask(f"shutdown sessions server members/{name}")
        for _ in range(100):  # a session takes a moment to end, and HAProxy refuses until then
            answer = await self.ask(f"del server members/{name}")
            if "deleted" in answer or "No such" in answer or "runtime" in answer:  # of a file: it stays in maintenance
                return
            await asyncio.sleep(0.02)

    async def seen(self) -> dict[str, Seen]:
        text = await self.ask("show stat members 4 -1")
        rows = csv.DictReader(text.lstrip("# ").splitlines())
        return {
            row["svname"]: Seen(
                healthy=row["status"].startswith(("UP", "no check")),
                failures=_failures(row["status"]),
            )
            for row in rows
        }


def _failures(status: str) -> int:
    """`UP 3/4`: one of the four failures that it takes."""
    found = re.fullmatch(r"UP (\d+)/(\d+)", status)
    return int(found[2]) - int(found[1]) if found else 0


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
