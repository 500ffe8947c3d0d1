"""One HAProxy outside of the chain: what is done with the servers of one backend, and whether it can be done at all.

A member is a server that the controller added (named like its instance) or a slot of the configuration (found by the
address that it has). A server that was in maintenance starts as down with its next check: HAProxy otherwise takes it
for up until a check fails. Refuses to touch a server that is neither.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from changeover.haproxy.checks import check_words
from changeover.haproxy.runtime_api import RuntimeApi, Server
from changeover.hops.haproxy.external.member_list import Listed
from changeover.kit.files import write_whole
from changeover.model.chain import Tier
from changeover.model.instance import Address
from changeover.ports import Broken, Unknown

DYNAMIC_SINCE = (2, 6)
"""The first version in which a server that is added can be checked, and needs no `experimental-mode`."""


class HaproxyNode:
    """The backend of one node. Every method raises Unknown."""

    def __init__(
        self,
        address: str,
        backend: str,
        slots: str | None,
        options: str,
        state_file: str | None,
        timeout: float,
        *,
        nodes: int,
    ) -> None:
        """`nodes`: how many check the same members."""
        self.name = address
        self._nodes = nodes
        self.lock = asyncio.Lock()
        """Held during a change: two members must not be put into one slot."""
        self._api = RuntimeApi(address, timeout)
        self._backend = backend
        self._slot = re.compile(rf"{re.escape(slots)}\d+") if slots is not None else None
        self._options = options
        self._state_file = None if state_file is None else Path(state_file)
        self._saved: frozenset[tuple[str, Server]] = frozenset()

    async def servers(self) -> Mapping[str, Server]:
        return await self._api.servers(self._backend)

    async def broken(self) -> Mapping[str, Broken]:
        return await self._api.broken(self._backend)

    async def process(self) -> str:
        """Another one after each restart and reload."""
        return await self._api.process()

    def find(self, servers: Mapping[str, Server], name: str, address: str) -> str | None:
        """The server that is this member, if there is one."""
        if self._slot is not None:
            return next((slot for slot in self._slots(servers) if servers[slot].address == address), None)
        if name in servers and servers[name].address != address:
            raise Unknown(f"its server {name} has the address {servers[name].address}: the chain did not add it")
        return name if name in servers else None

    def strays(self, servers: Mapping[str, Server], ours: Collection[str]) -> Iterator[str]:
        """Slots in service with an address that no member has. `ours`: the addresses of the members."""
        for slot in self._slots(servers):
            if not servers[slot].administrative and servers[slot].address not in ours:
                yield slot

    def _slots(self, servers: Mapping[str, Server]) -> list[str]:
        return [name for name in servers if self._slot is not None and self._slot.fullmatch(name)]

    # -- changes ------------------------------------------------------------------------------------------------------

    async def admit(self, name: str, member: Listed, tier: Tier, taken: Collection[str]) -> None:
        """Send it requests once its check has passed. `taken`: the addresses of all members."""
        async with self.lock:
            servers = await self.servers()
            server = self.find(servers, name, member.address)
            if server is None:
                server = await (self._add(name, member, tier) if self._slot is None else self._fill(servers, taken))
            known = servers.get(server)
            at = f"{self._backend}/{server}"
            if known is None or known.administrative or known.address != member.address:
                await self._set(f"set server {at} weight 0")  # for the moment between `state ready` and `health down`
                if self._slot is not None:
                    await self._move(at, member)
                await self._set(f"set server {at} state ready", f"set server {at} health down")
            await self._set(f"set server {at} weight {member.weight}")
            await self._save()

    async def _add(self, name: str, member: Listed, tier: Tier) -> str:
        control = Address.parse(member.control)
        check = f"check addr {control.host} port {control.port} {check_words(tier.health, self._nodes)}"
        proxied = " send-proxy-v2" if member.proxied else ""
        options = f" {self._options}" if self._options else ""
        command = f"add server {self._backend}/{name} {member.address}{proxied} {check}{options}"
        await self._api.do(command, expect="New server registered.")
        if tier.affinity.by == "cookie":  # gives a cookie to each server without one
            await self._set(f"enable dynamic-cookie backend {self._backend}")
        await self._set(f"enable health {self._backend}/{name}")
        return name

    async def _fill(self, servers: Mapping[str, Server], taken: Collection[str]) -> str:
        """The free slot with the fewest sessions left from its last member."""
        slots = self._slots(servers)
        free = [slot for slot in slots if servers[slot].administrative and servers[slot].address not in taken]
        if not free:
            raise Unknown(f"none of its {len(slots)} slots is free")
        return min(free, key=lambda slot: servers[slot].sessions)

    async def _move(self, at: str, member: Listed) -> None:
        """Give a slot the address of its member. The answer is a text in any case, so the address is read back."""
        address, control = Address.parse(member.address), Address.parse(member.control)
        await self._api.ask(f"set server {at} addr {address.host} port {address.port}")
        await self._set(f"set server {at} check-addr {control.host} port {control.port}")
        server = (await self.servers())[at.rpartition("/")[2]]
        if server.address != member.address:
            raise Unknown(f"its slot {at} keeps the address {server.address}")

    async def weigh(self, name: str, member: Listed) -> None:
        async with self.lock:
            server = self.find(await self.servers(), name, member.address)
            if server is not None:
                await self._set(f"set server {self._backend}/{server} weight {member.weight}")
                await self._save()

    async def remove(self, name: str, address: str) -> None:
        """In `drain`, cookies and stick tables would still bring clients. Requests in flight go on in maintenance."""
        async with self.lock:
            servers = await self.servers()
            server = self.find(servers, name, address)
            if server is not None:
                await self.disable(server)
            await self._save()

    async def disable(self, server: str) -> None:
        await self._set(f"set server {self._backend}/{server} state maint")

    async def forget(self, name: str, address: str) -> None:
        """Raises Unknown while it has sessions: HAProxy may hold an answer that a slow client has yet to take."""
        async with self.lock:
            servers = await self.servers()
            server = self.find(servers, name, address)
            if server is None:
                return
            await self.disable(server)
            if self._slot is None:
                await self._api.do(f"del server {self._backend}/{server}", expect="Server deleted.")
            elif sessions := servers[server].sessions:
                raise Unknown(f"its slot {server} has {sessions} sessions left")
            await self._save()

    async def _set(self, *commands: str) -> None:
        for command in commands:
            await self._api.do(command)

    async def _save(self) -> None:
        await self.save(await self.servers())

    async def save(self, servers: Mapping[str, Server]) -> None:
        """Write the state file, where there is one and it would change."""
        if self._state_file is None:
            return
        seen = frozenset(servers.items())
        if seen == self._saved and self._state_file.exists():
            return
        text = await self._api.ask(f"show servers state {self._backend}")
        try:
            write_whole(self._state_file, text)
        except OSError as error:
            raise Unknown(f"{self._state_file} could not be written: {error}") from error
        self._saved = seen

    # -- whether it will do -------------------------------------------------------------------------------------------

    async def faults(self, tier: Tier, members: Mapping[str, Listed]) -> list[str]:
        """Why it cannot route this tier, each in words. Changes nothing."""
        info = await self._api.info()
        level = (await self._api.ask("show cli level")).strip()
        if level != "admin":
            return [f"its runtime API allows {level!r}: its `stats socket` needs `level admin`"]
        if self._backend not in (await self._api.ask("show backend")).split():
            return [f"it has no backend {self._backend}"]
        backend, servers = await self._api.backend(self._backend), await self.servers()
        found = []
        cookie = tier.affinity.name if tier.affinity.by == "cookie" else ""
        if cookie and backend.cookie != cookie:
            found.append(
                f"backend {self._backend} has {f'cookie {backend.cookie}' if backend.cookie else 'no `cookie`'}, and "
                f"the affinity of {tier.name} is {tier.affinity}"
            )
        if self._slot is not None:
            return [*found, *self._slot_faults(tier, servers, members)]
        version = tuple(map(int, re.findall(r"\d+", info.get("Version", ""))[:2]))
        if version < DYNAMIC_SINCE:
            found.append(f"HAProxy {info.get('Version')} cannot add checked servers (2.6 can): name `slots`")
        ours = re.compile(rf"{re.escape(tier.name)}-({'|'.join(map(re.escape, tier.templates))})-\d+")
        for name, server in servers.items():
            if ours.fullmatch(name) and (name not in members or members[name].address != server.address):
                found.append(
                    f"backend {self._backend} has a server {name} ({server.address}), and this chain did not add it: "
                    f"`set server {self._backend}/{name} state maint` and `del server {self._backend}/{name}` remove it"
                )
        return found

    def _slot_faults(self, tier: Tier, servers: Mapping[str, Server], members: Mapping[str, Listed]) -> Iterator[str]:
        slots, ours = self._slots(servers), {member.address for member in members.values()}
        if len(slots) < (needed := tier.size + tier.surge):
            yield f"backend {self._backend} has {len(slots)} slots, and {tier.name} needs {needed} (size and max_surge)"
        for slot in slots:
            if not servers[slot].is_checked:
                yield f"slot {slot} has no `check`: HAProxy would not notice an instance that died"
            if servers[slot].has_agent:
                yield f"slot {slot} has an `agent-check`, which would change the weight that the controller sets"
        for slot in self.strays(servers, ours):
            yield (
                f"slot {slot} is in service with the address {servers[slot].address}, and this chain did not put it "
                "there: give it `disabled` in the configuration, or set it to `state maint`"
            )

    async def try_out(self, tier: Tier) -> None:
        """Have it do once what a rollout needs, which no question shows. Raises Unknown in HAProxy's own words."""
        if self._slot is None:
            name = f"{self._backend}/{tier.name}.check"  # no instance can have such a name
            await self._api.do(f"add server {name} 127.0.0.1:1 check {self._options}", expect="New server registered.")
            await self._api.do(f"del server {name}", expect="Server deleted.")
        else:
            servers = await self.servers()
            free = next((slot for slot in self._slots(servers) if servers[slot].administrative), None)
            if free is not None:
                await self._set(f"set server {self._backend}/{free} weight 2")
        await self._save()
