"""An HAProxy that stands outside of the chain, as the router of a tier: `router:` in a chain file.

*Confirmed* is what each node itself shows of the server, so a node that does not answer confirms nothing. HAProxy
forgets its servers when it restarts, so the members are in a file, and `restore` gives them back.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from changeover.haproxy.runtime_api import TIMEOUT, Server
from changeover.hops.haproxy.external.member_list import Listed, MemberFile
from changeover.hops.haproxy.external.node import HaproxyNode
from changeover.hops.haproxy.external.settings import ExternalHaproxy
from changeover.model.chain import Tier
from changeover.model.instance import Instance
from changeover.ports import Broken, Membership, Restored, Unknown

Value = TypeVar("Value")

_DOWN = 2
"""Looks in a row without an answer after which a node with another process was restarted, and not just reloaded: the
process that a reload replaces may close one question unanswered."""


class ExternalHaproxyRouter:
    """The members of one backend, over all nodes."""

    weighs: ClassVar[Literal["requests", "connections"]] = "connections"

    def __init__(self, tier: Tier, settings: ExternalHaproxy, file: Path, timeout: float = TIMEOUT) -> None:
        self._tier = tier
        self._file = MemberFile(file)
        backend = settings.backend or tier.name
        state_files = settings.state_files or (None,) * len(settings.nodes)
        self._nodes = tuple(
            HaproxyNode(node, backend, settings.slots, settings.server, state_file, timeout, nodes=len(settings.nodes))
            for node, state_file in zip(settings.nodes, state_files, strict=True)
        )
        self._reported: set[tuple[str, str]] = set()
        """Node and member that was reported, because it is in maintenance."""
        self._silent = Counter[str]()
        """Node -> looks in a row that it did not answer."""
        self._begun = self._ended = 0
        """Changes of this controller: what was asked before or during one shows nothing that was lost."""

    async def open(self, keep: Collection[Instance] = ()) -> None:
        """Delete what an earlier run left. Raises Unknown, with every reason why a node cannot route the tier."""
        if found := await self.faults():
            raise Unknown("; ".join(found))
        at, members = {instance.name: str(instance.address) for instance in keep}, self._file.read().members
        kept = {name: one for name, one in members.items() if at.get(name) == one.address and not one.gone}
        for name, member in members.items():
            if name not in kept:
                await self._each(lambda node, name=name, member=member: node.forget(name, member.address))  # type: ignore[misc]
        processes = self._file.read().processes if kept else {}
        self._file.write(replace(self._file.read(), members=kept, processes=processes))
        await self._each(lambda node: node.try_out(self._tier))

    async def faults(self) -> Sequence[str]:
        """Why a node cannot route the tier, each in words. Changes nothing."""
        members = self._file.read().members
        answers = await asyncio.gather(*(_attempt(node.faults(self._tier, members)) for node in self._nodes))
        found = []
        for node, answer in zip(self._nodes, answers, strict=True):
            found += [f"{node.name}: {one}" for one in ([str(answer)] if isinstance(answer, Unknown) else answer)]
        if not found:
            processes = await asyncio.gather(*(_attempt(node.process()) for node in self._nodes))
            for number, process in enumerate(processes):
                if process in processes[:number]:
                    first = self._nodes[processes.index(process)].name
                    found.append(f"{self._nodes[number].name}: it is the same HAProxy as {first}, and confirms nothing")
        return found

    async def admit(self, instance: Instance, weight: int) -> None:
        await self._forget_former(instance)
        member = self._listed(instance, weight)
        with self._changing(instance.name, member):
            taken = self._addresses()
            await self._each(lambda node: node.admit(instance.name, member, self._tier, taken))
            first = {node.name: await node.process() for node in self._nodes if node.name not in member.processes}
            if first:
                member = replace(member, processes={**member.processes, **first})
                self._file.write(self._file.read().having(instance.name, member))

    async def weigh(self, instance: Instance, weight: int) -> None:
        known = self._file.read().members.get(instance.name)
        if known is not None and known.weight:
            member = replace(known, weight=weight)
            with self._changing(instance.name, member):
                await self._each(lambda node: node.weigh(instance.name, member))

    async def remove(self, instance: Instance) -> None:
        await self._forget_former(instance)
        with self._changing(instance.name, self._listed(instance, 0)):
            await self._each(lambda node: node.remove(instance.name, str(instance.address)))

    async def forget(self, name: str) -> None:
        """One that a node cannot delete yet is left to `restore`, also of a later controller."""
        if (member := self._file.read().members.get(name)) is None:
            return
        with self._changing(name, replace(member, weight=0, gone=True)):
            await self._each(lambda node: node.forget(name, member.address))
            self._file.write(self._file.read().having(name, None))

    def _listed(self, instance: Instance, weight: int) -> Listed:
        known = self._file.read().members.get(instance.name)
        return replace(Listed.of(instance, weight), processes=known.processes if known is not None else {})

    async def _forget_former(self, instance: Instance) -> None:
        """Delete the server of an instance whose platform created it anew under its name, at another address."""
        known = self._file.read().members.get(instance.name)
        if known is not None and known.address != str(instance.address):
            await self.forget(instance.name)

    @contextmanager
    def _changing(self, name: str, member: Listed) -> Iterator[None]:
        """Write down what it is to be, before the nodes are changed."""
        self._begun += 1
        try:
            self._file.write(self._file.read().having(name, member))
            yield
        finally:
            self._ended += 1

    async def membership(self, names: frozenset[str]) -> Mapping[str, Membership]:
        answers = await asyncio.gather(*(_attempt(node.servers()) for node in self._nodes))
        by_node = dict(zip(self._nodes, answers, strict=True))
        members = self._file.read().members
        return {name: self._join(name, members.get(name), by_node) for name in names}

    def _join(
        self, name: str, member: Listed | None, answers: Mapping[HaproxyNode, Mapping[str, Server] | Unknown]
    ) -> Membership:
        if member is None:
            return Membership(False, True, sessions=0)
        wanted, sessions, weights = member.weight > 0, 0, set()
        difference: Membership | None = None
        for node, servers in answers.items():
            if isinstance(servers, Unknown):
                return Membership(False, False, pending=f"{node.name} ({servers})", silent=True)
            try:
                found = node.find(servers, name, member.address)
            except Unknown as error:
                return Membership(False, False, pending=f"{node.name} ({error})")
            seen = Membership(False, True, sessions=0) if found is None else servers[found].membership(node.name)
            sessions += seen.sessions or 0
            weights.add(seen.weight)
            if not (seen.admitted if wanted else seen.removed) and difference is None:
                why = seen.pending or f"{node.name} ({_state(found, servers)})"
                difference = Membership(False, False, pending=why)
        if difference is not None:
            return replace(difference, sessions=sessions)
        weight = weights.pop() if wanted and len(weights) == 1 else None
        return Membership(admitted=wanted, removed=not wanted, sessions=sessions, weight=weight)

    async def traffic(self) -> Mapping[str, int]:
        """Bytes from clients. A node that restarts counts from 0 again, and a slot those of all its members."""
        members, total = self._file.read().members, Counter[str]()
        for node in self._nodes:
            servers = await node.servers()
            for name, member in members.items():
                if (found := node.find(servers, name, member.address)) is not None:
                    total[name] += servers[found].bytes_in
        return total

    async def broken(self, names: frozenset[str]) -> Mapping[str, Mapping[str, Broken]]:
        found: dict[str, dict[str, Broken]] = {name: {} for name in names}
        members = self._file.read().members
        for node in self._nodes:
            # A process that began to count anew is another source: without losses, its numbers could be the same.
            process, servers, counts = await node.process(), await node.servers(), await node.broken()
            for name in names & members.keys():
                server = node.find(servers, name, members[name].address)
                first = members[name].processes.get(node.name, process)
                before = "" if first == process else "was reloaded or restarted: its process before may have held more"
                if server is not None and server in counts:
                    found[name][f"{node.name} ({server}, process {process})"] = replace(
                        counts[server], incomplete=before
                    )
                elif before:
                    found[name][f"{node.name} (process {process})"] = Broken(0, 0, incomplete=before)
        return found

    async def pool_idle(self) -> float:
        """HAProxy closes idle connections to a server in maintenance at once.

        Still the kernel's connections count, as behind other pools: the sessions of a process that a reload left are
        not among those of the node.
        """
        return 0.0

    async def lost(self) -> bool:
        members = self._file.read().members
        if any(member.gone for member in members.values()):
            return True
        for node in self._nodes:
            try:
                process, servers = await node.process(), await node.servers()
                if any(self._differences(node, process, servers)):
                    return True
            except Unknown:
                continue
        return False

    async def restore(self) -> Sequence[Restored]:
        """Give each node back the members that it lost, and delete what could not be deleted when its instance ended.

        A member in maintenance is another operator's doing, unless the node was restarted; that is reported once.
        """
        done: list[Restored] = []
        for node in self._nodes:
            before = self._begun
            try:
                process, servers = await node.process(), await node.servers()
                if self._ended == self._begun == before:
                    # Compared at once: a change that begins during an await is no loss, and the next look is for it.
                    for found, change in list(self._differences(node, process, servers)):
                        if self._begun != before:
                            break
                        await change()
                        done += [found] if found.text else []
                    await node.save(servers)
                    self._silent.pop(node.name, None)
            except Unknown as error:
                self._silent[node.name] += 1
                if self._silent[node.name] == _DOWN:
                    done.append(Restored(f"{node.name} does not answer: {error}"))
        for name, member in self._file.read().members.items():
            if member.gone:
                await _attempt(self.forget(name))
        return done

    @property
    def silent(self) -> Sequence[str]:
        return sorted(name for name, looks in self._silent.items() if looks)

    def _differences(
        self, node: HaproxyNode, process: str, servers: Mapping[str, Server]
    ) -> Iterator[tuple[Restored, Callable[[], Awaitable[None]]]]:
        """What the node has otherwise than the list, and what corrects it."""
        known = self._file.read()
        before = known.processes.get(node.name)
        restarted = before is not None and before != process
        if restarted and self._silent[node.name] >= _DOWN:
            text = f"{node.name} was restarted: every connection through it ended"
            yield Restored(text, broke=True), partial(self._know, node, process)
        elif before != process:
            text = f"{node.name} was restarted or reloaded" if restarted else ""
            yield Restored(text), partial(self._know, node, process)
        for name, member in known.members.items():
            found = node.find(servers, name, member.address)
            out = found is None or bool(servers[found].administrative)
            if member.weight and out and (found is None or restarted):
                admit = partial(node.admit, name, member, self._tier, self._addresses())
                yield Restored(f"{node.name} had lost {name}; it has it again", broke=True), admit
            elif member.weight and out and (node.name, name) not in self._reported:
                text = f"{node.name} has {name} in maintenance, by another hand: it gets no requests there"
                yield Restored(text), partial(self._report, node, name)
            elif not member.weight and not out:
                remove = partial(node.remove, name, member.address)
                yield Restored(f"{node.name} had {name} in service again; it was removed again", broke=True), remove
            if not out:
                self._reported.discard((node.name, name))
        for slot in node.strays(servers, self._addresses()):
            text = f"{node.name} had slot {slot} in service for no instance; it is in maintenance"
            yield Restored(text, broke=True), partial(node.disable, slot)

    async def _know(self, node: HaproxyNode, process: str) -> None:
        current = self._file.read()
        self._file.write(replace(current, processes={**current.processes, node.name: process}))

    async def _report(self, node: HaproxyNode, name: str) -> None:
        self._reported.add((node.name, name))

    def _addresses(self) -> set[str]:
        return {member.address for member in self._file.read().members.values()}

    async def _each(self, change: Callable[[HaproxyNode], Awaitable[None]]) -> None:
        """At every node, also when it fails at one. Raises Unknown, with the first node's reason."""
        results = await asyncio.gather(*(_attempt(change(node)) for node in self._nodes))
        for node, result in zip(self._nodes, results, strict=True):
            if isinstance(result, Unknown):
                raise Unknown(f"{node.name}: {result}") from result


def _state(found: str | None, servers: Mapping[str, Server]) -> str:
    if found is None:
        return "it is not listed"
    return "it is in maintenance" if servers[found].administrative else "it is still in service"


async def _attempt(work: Awaitable[Value]) -> Value | Unknown:
    """Its result, or why there is none: raised here, the error would leave the other nodes' work running."""
    try:
        return await work
    except Unknown as error:
        return error
