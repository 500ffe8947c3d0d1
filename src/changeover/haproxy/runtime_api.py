"""HAProxy's runtime API: its commands, and what it says of the servers of a backend.

A command that works has no answer, or one known text; an error is text like any other answer. So every answer is
compared with the expected one. Refuses to decide what is done with a server.
"""

from __future__ import annotations

import asyncio
import csv
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from changeover.model.instance import Address
from changeover.ports import Broken, Membership, Unknown

TIMEOUT = 2.0
"""Seconds until the runtime API counts as silent."""

_OUT = 0x01 | 0x02 | 0x08 | 0x10 | 0x20
"""Maintenance or drain, by an operator, by a server that it tracks, or by a failed resolution. Without 0x04, which only
remembers that the configuration has `disabled`."""
_CONFIGURED = 0x02
_CHECKED = ("L4OK", "L6OK", "L7OK")


_SESSION = re.compile(r" be=(?P<backend>\S+) srv=(?P<server>\S+) .*? age=(?P<age>\w+) ")
_AGE = re.compile(r"(\d+)([dhms])")
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True)
class Server:
    """A server of a backend in `show servers state` (its state) and `show stat` (its checks and its counts)."""

    address: str
    administrative: int
    """Bits set by an operator: maintenance (0x01) or drain (0x08) among them; 0: none."""
    running: bool
    check: str
    """Result of the last check, such as L7OK; empty before the first one."""
    sessions: int
    weight: int
    bytes_in: int = 0
    is_checked: bool = True
    """Whether it has health checks at all."""
    has_agent: bool = False

    def membership(self, node: str) -> Membership:
        """What `node` does with it."""
        if self.administrative:
            return Membership(False, True, sessions=self.sessions)
        # Up by assumption is not up: the first check must have passed.
        if self.running and self.check.removeprefix("* ").startswith(_CHECKED):  # `* `: the next check is under way
            return Membership(True, False, sessions=self.sessions, weight=self.weight)
        return Membership(False, False, pending=f"{node} (check {self.check or 'pending'})", sessions=self.sessions)


@dataclass(frozen=True)
class Backend:
    """What a backend is, in its own row of `show stat`."""

    mode: str
    balance: str
    cookie: str


class RuntimeApi:
    """The runtime API at `address`: the path of a Unix socket, or `host:port`."""

    def __init__(self, address: str, timeout: float = TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout

    async def ask(self, command: str) -> str:
        """Raises Unknown when there is no answer."""
        try:
            async with asyncio.timeout(self._timeout):
                reader, writer = await self._connect()
                try:
                    writer.write(f"{command}\n".encode())
                    await writer.drain()
                    return (await reader.read(-1)).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError, UnicodeDecodeError) as error:
            late = isinstance(error, TimeoutError)
            why = "no response in time" if late else str(error) or type(error).__name__
            raise Unknown(f"HAProxy did not answer `{command}`: {why}") from error

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if not self.address.startswith("/"):
            at = Address.parse(self.address)
            return await asyncio.open_connection(at.host, at.port)
        # A socket's path may have 107 characters, a folder's may have more: go through an open descriptor.
        path = Path(self.address)
        folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)

    async def do(self, command: str, expect: str = "") -> None:
        """Raises Unknown, with its answer, when that differs from the expected one."""
        answer = (await self.ask(command)).strip()
        if answer != expect:
            raise Unknown(f"HAProxy answered `{command}` with {answer!r}")

    async def table(self, command: str, separator: str, *, skip: int, key: str) -> dict[str, dict[str, str]]:
        """The rows of an answer, after `skip` lines, by the column `key`. Raises Unknown."""
        answer = await self.ask(command)
        lines = answer.strip().splitlines()
        table = lines[skip:]
        if not table or not table[0].startswith("# "):
            raise Unknown(f"HAProxy answered `{command}` with {' '.join(lines)[:80]!r}")
        if not answer.endswith("\n\n"):  # a server in the missing part would look as if it were gone
            raise Unknown(f"HAProxy's answer to `{command}` was cut short")
        return {row[key]: row for row in csv.DictReader([table[0][2:], *table[1:]], delimiter=separator)}

    async def servers(self, backend: str) -> dict[str, Server]:
        """The servers of a backend, by name. Raises Unknown."""
        states = await self.table(f"show servers state {backend}", " ", skip=1, key="srv_name")
        counts = await self.table(f"show stat {backend} 4 -1", ",", skip=0, key="svname")
        try:
            return {name: _server(row, counts[name]) for name, row in states.items()}
        except (KeyError, ValueError) as error:
            raise Unknown(f"HAProxy's answer about {backend} cannot be read: {error!r}") from error

    async def broken(self, backend: str) -> dict[str, Broken]:
        """Server -> what broke on it. Raises Unknown."""
        rows = await self.table(f"show stat {backend} 4 -1", ",", skip=0, key="svname")
        try:
            return {name: _broken(row) for name, row in rows.items()}
        except (KeyError, ValueError) as error:
            raise Unknown(f"HAProxy's counters of {backend} cannot be read: {error!r}") from error

    async def ages(self) -> dict[tuple[str, str], list[float]]:
        """Backend and server -> seconds for which each of its sessions has been open. Raises Unknown."""
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for line in (await self.ask("show sess")).splitlines():
            if (seen := _SESSION.search(line)) is not None:
                parts = _AGE.findall(seen["age"])
                found[seen["backend"], seen["server"]].append(sum(float(n) * _SECONDS[unit] for n, unit in parts))
        return found

    async def backend(self, name: str) -> Backend:
        """Raises Unknown, also where there is none of that name."""
        rows = await self.table(f"show stat {name} 2 -1", ",", skip=0, key="svname")
        try:
            row = rows["BACKEND"]
            return Backend(row["mode"], row["algo"], row["cookie"])
        except KeyError as error:
            raise Unknown(f"HAProxy has no backend {name}") from error

    async def info(self) -> Mapping[str, str]:
        """`show info`, by key. Raises Unknown."""
        answer = await self.ask("show info")
        return dict(line.split(": ", 1) for line in answer.splitlines() if ": " in line)

    async def process(self) -> str:
        """Another one after each restart and reload, also with the process id of the last. Raises Unknown."""
        info = await self.info()
        keys = ("node", "Pid", "Start_time_sec")
        if missing := [key for key in keys if key not in info]:
            raise Unknown(f"HAProxy's `show info` has no {missing[0]}")
        return " ".join(info[key] for key in keys)


def _server(state: Mapping[str, str], counts: Mapping[str, str]) -> Server:
    return Server(
        address=f"{state['srv_addr']}:{state['srv_port']}",
        administrative=int(state["srv_admin_state"]) & _OUT,
        running=state["srv_op_state"] == "2",
        check=counts["check_status"],
        sessions=int(counts["scur"]) + int(counts["qcur"] or 0),
        weight=int(state["srv_uweight"]),
        bytes_in=int(counts["bin"]),
        is_checked=bool(int(state["srv_check_state"]) & _CONFIGURED),
        has_agent=bool(int(state["srv_agent_state"]) & _CONFIGURED),
    )


def _broken(row: Mapping[str, str]) -> Broken:
    """In HTTP mode `eresp` counts each request whose answer the server did not complete. In TCP mode it counts resets.

    Measured with HAProxy 2.6: a killed server that had read everything closes its connections as one that is done does,
    and TCP mode counts nothing. Connections that were refused and went to another server are in `stot`, too.
    """
    passes_bytes = row["mode"] == "tcp"
    connections = int(row["stot"]) - int(row["wredis"])
    return Broken(int(row["econ"]) + int(row["eresp"]), int(row["scur"]), connections if passes_bytes else None)
