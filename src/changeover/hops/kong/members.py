"""Where it is written down which members a Kong is to have: in its own database, or in a file that it is told from."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import yaml

from changeover.hops.kong.admin import Admin, Busy
from changeover.hops.kong.document import Member, with_members
from changeover.kit.files import write_whole
from changeover.model.instance import Address
from changeover.ports import Unknown


@dataclass(frozen=True)
class Node:
    """A Kong that carries traffic, by the name that messages give it. `base`: the file it is configured from."""

    name: str
    admin: Admin
    base: Path | None = None


Nodes = Callable[[], Sequence[Node]]
Answer = TypeVar("Answer")


class Members(Protocol):
    """The members that are wanted. Every method raises Unknown."""

    async def open(self) -> None:
        """Bring the list into being where there is none."""

    async def all(self) -> Mapping[str, Member]: ...

    async def put(self, name: str, member: Member) -> None:
        """Have it in the list like that, and tell all nodes."""

    async def drop(self, name: str) -> None: ...


class InDatabase:
    """The targets of an upstream in the database of a cluster; any node writes there for all of them.

    A target is known by its address; whose it is stands in its tag. Targets without a tag of ours are somebody else's.
    """

    def __init__(self, upstream: Mapping[str, Any], tier: str, nodes: Nodes) -> None:
        self._upstream = upstream
        self._tier = tier
        self._name = str(upstream["name"])
        self._nodes = nodes

    async def open(self) -> None:
        async def create(admin: Admin) -> None:
            if not await admin.has_upstream(self._name):
                await admin.create_upstream(self._upstream)

        await self._by_any(create)
        for name in await self.all():  # of an earlier chain, which ended without taking leave
            if name.startswith(f"{self._tier}-"):
                await self.drop(name)

    async def all(self) -> Mapping[str, Member]:
        found: dict[str, Member] = {}
        for target in await self._by_any(lambda admin: admin.targets(self._name)):
            try:
                member = Member(Address.parse(target.address), target.weight)
            except ValueError:
                continue
            found |= dict.fromkeys(target.tags, member)
        return found

    async def put(self, name: str, member: Member) -> None:
        known = (await self.all()).get(name)
        if known == member:
            return  # said again, it would have every node build its balancer anew
        if member.weight:
            await self._by_any(lambda admin: admin.set_target(self._name, str(member.address), member.weight, (name,)))
        elif known is not None:
            await self._by_any(lambda admin: admin.weigh_target(self._name, str(member.address), 0))

    async def drop(self, name: str) -> None:
        if (known := (await self.all()).get(name)) is not None:
            await self._by_any(lambda admin: admin.delete_target(self._name, str(known.address)))

    async def _by_any(self, question: Callable[[Admin], Awaitable[Answer]]) -> Answer:
        """What the first node says that can: the list is one for all of them. Raises Unknown when none can."""
        failures = []
        for node in self._nodes():
            try:
                return await question(node.admin)
            except Unknown as error:
                failures.append(str(error))
        raise Unknown("; ".join(failures) or f"no Kong in front of {self._name} carries traffic")


class InFile:
    """The members in a file of the controller's own, from which every node is told its whole configuration.

    What a node is configured with besides stands in its `base`. If that is the node's own file, it is kept as the node
    was told last: a reload, by whomever, makes Kong read it again.
    """

    def __init__(self, upstream: str, file: Path, nodes: Nodes, *, keep_base: bool) -> None:
        self._upstream = upstream
        self._file = file
        self._nodes = nodes
        self._keep_base = keep_base
        self._not_before: dict[str, float] = {}
        """Node -> when it may be told again, by its own word."""
        self._telling: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self) -> None:
        if not self._file.exists():
            self._write({})

    async def all(self) -> Mapping[str, Member]:
        return self._read()

    async def put(self, name: str, member: Member) -> None:
        listed = self._read()
        if member.weight or name in listed:
            self._write({**listed, name: member})
        await self._tell_all()  # also when nothing is new: a node that missed or refused the last change gets it again

    async def drop(self, name: str) -> None:
        self._write({other: member for other, member in self._read().items() if other != name})
        await self._tell_all()

    async def tell(self, node: Node) -> None:
        """Have that node know all members. Raises Unknown.

        One after the other, each with the members as they are by then: of two documents on their way at once the older
        might arrive last, and bring a removed member back.
        """
        async with self._telling[node.name]:
            now = asyncio.get_running_loop().time()
            if now < self._not_before.get(node.name, now):
                raise Unknown(f"{node.name} still loads what it was given before")
            assert node.base is not None
            try:
                before = yaml.safe_load(node.base.read_text())
                wanted = with_members(before, self._upstream, self._read())
                if self._keep_base and wanted != before:
                    write_whole(node.base, json.dumps(wanted, indent=1))
            except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
                raise Unknown(f"{node.name}: {node.base} cannot be used: {error}") from error
            try:
                await node.admin.load(wanted)
            except Busy as error:
                self._not_before[node.name] = now + error.patience
                raise

    async def _tell_all(self) -> None:
        """All of them, also when one cannot be told."""
        told = await asyncio.gather(*map(self.tell, self._nodes()), return_exceptions=True)
        for failure in told:
            if isinstance(failure, BaseException):
                raise failure

    def _read(self) -> dict[str, Member]:
        try:
            return {
                str(name): Member(Address.parse(said["address"]), int(said["weight"]))
                for name, said in json.loads(self._file.read_text()).items()
            }
        except OSError as error:
            raise Unknown(f"{self._file} could not be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unknown(f"{self._file} is not a member list: {error!r}") from error

    def _write(self, members: Mapping[str, Member]) -> None:
        said = {name: {"address": str(m.address), "weight": m.weight} for name, m in sorted(members.items())}
        try:
            write_whole(self._file, json.dumps(said, indent=1))
        except OSError as error:
            raise Unknown(f"{self._file} could not be written: {error}") from error
