"""Every Envoy of a gateway tier as the router of the tier behind it.

The member list is one file that all of them watch. *Confirmed* is the word of each node's own `/clusters`, so a node
that does not answer confirms nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from changeover.hops.envoy.admin import ask_admin
from changeover.hops.envoy.member_list import EnvoyEndpoint, endpoints, hosts_of, members
from changeover.hops.envoy.own_config import CHECKED
from changeover.hops.envoy.stats import broken_counts
from changeover.kit.direct_http import DirectClient
from changeover.kit.files import write_whole
from changeover.kit.http import NoResponse
from changeover.model.instance import Instance
from changeover.ports import Broken, Membership, Nodes, Unknown

_Hosts = Mapping[str, tuple[bool, int]]
"""Instance name -> whether that node sends it requests, and with which weight."""


class EnvoyRouter:
    """Membership of one cluster over all nodes of the tier in front."""

    weighs: ClassVar[Literal["requests", "connections"]] = "requests"

    def __init__(
        self,
        client: DirectClient,
        cluster: str,
        membership: str,
        nodes: Nodes,
        *,
        service: str | None = None,
        copies: Sequence[Path] = (),
    ) -> None:
        """`service`: the name of the list where it is not the cluster's. `copies`: the files that nodes watch, where
        that is not `membership`."""
        self._client = client
        self._cluster = cluster
        self._service = service or cluster
        self._file = Path(membership)
        self._copies = copies
        self._nodes = nodes

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """Envoy does not start without its member list. That of a chain on this machine begins without a file."""
        if not self._file.exists():
            self._write({})
        elif keep:
            self._write(kept(self._members(), keep))

    async def admit(self, instance: Instance, weight: int) -> None:
        # Written without a change, too: a node that missed or refused the last update gets another one.
        self._write({**self._members(), instance.name: EnvoyEndpoint.of(instance, weight)})

    async def weigh(self, instance: Instance, weight: int) -> None:
        if instance.name in self._members():
            await self.admit(instance, weight)

    async def remove(self, instance: Instance) -> None:
        await self.forget(instance.name)

    async def forget(self, name: str) -> None:
        self._write({other: member for other, member in self._members().items() if other != name})

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        nodes = self._nodes()
        answers = await asyncio.gather(*(self._ask(node) for node in nodes))
        by_node = dict(zip((node.name for node in nodes), answers, strict=True))
        listed = self._members()
        return {name: _join(name, name in listed, by_node) for name in names}

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        # A retry policy of the user's own may repeat answers, too: less those, a broken request would not be counted.
        for node in self._nodes():
            if node.directory and (Path(node.directory) / CHECKED).exists():
                raise Unknown(f"{node.name} runs a bootstrap of its own, whose retries hide how many requests broke")
        return await broken_counts(self._client, self._cluster, self._nodes, names)

    async def _ask(self, node: Instance) -> _Hosts | str:
        """The node's members, or why it could not be asked."""
        try:
            answer = await ask_admin(self._client, "GET", node, "/clusters?format=json")
        except NoResponse as error:
            return str(error)
        try:
            if answer.status_code != 200:
                raise ValueError(f"/clusters answered {answer.status_code}")
            return hosts_of(answer.json(), self._cluster)
        except ValueError as error:
            return str(error)

    def _members(self) -> dict[str, EnvoyEndpoint]:
        try:
            return members(self._file.read_bytes())
        except OSError as error:
            raise Unknown(f"{self._file} could not be read: {error}") from error
        except ValueError as error:
            raise Unknown(f"{self._file}: {error}") from error

    def _write(self, members: Mapping[str, EnvoyEndpoint]) -> None:
        text = endpoints(self._service, members)
        for file in (self._file, *self._copies):
            self._put(file, text)

    def _put(self, file: Path, text: str) -> None:
        try:
            write_whole(file, text)
        except OSError as error:
            raise Unknown(f"{file} could not be written: {error}") from error


def kept(listed: Mapping[str, EnvoyEndpoint], keep: Collection[Instance]) -> dict[str, EnvoyEndpoint]:
    """Those of the list that are among these instances, at the same address."""
    there = {instance.name: EnvoyEndpoint.of(instance, 1).endpoint(instance.name)["address"] for instance in keep}
    return {name: one for name, one in listed.items() if there.get(name) == one.endpoint(name)["address"]}


def _join(name: str, listed: bool, by_node: Mapping[str, _Hosts | str]) -> Membership:
    for node, hosts in by_node.items():
        if isinstance(hosts, str):
            return Membership(False, False, pending=f"{node} ({hosts})", silent=True)
        if (name in hosts) != listed or (listed and not hosts[name][0]):
            state = "does not send it traffic yet" if listed else "still lists it"
            return Membership(False, False, pending=f"{node} ({state})")
    seen = {hosts[name][1] for hosts in by_node.values() if not isinstance(hosts, str) and name in hosts}
    return Membership(admitted=listed, removed=not listed, weight=seen.pop() if len(seen) == 1 else None)
