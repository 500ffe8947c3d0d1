"""The targets that a Kong is to have, and where they are stored: in Kong's database or in a file."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from changeover.hops.kong.admin_api import AdminApi, NodeBusy
from changeover.hops.kong.document import KongTarget, changes, with_targets, with_upstream
from changeover.kit.files import write_whole
from changeover.model.instance import Address
from changeover.ports import Unknown

SHORTEST_PAUSE = 0.25
"""Seconds until a busy node is asked again; each further pause is twice as long, up to the one that the node asks for.

Kong asks for 10 s always, and was free again within 1.2 s after 80 documents at once.
"""


@dataclass(frozen=True)
class KongNode:
    """A Kong that carries traffic. Messages name it by `name`; `base` is the file that holds its configuration."""

    name: str
    admin: AdminApi
    base: Path | None = None


NodeList = Callable[[], Sequence[KongNode]]
Result = TypeVar("Result")


class TargetList(Protocol):
    """The targets that a Kong is to have, by the name of their instance. Every method raises Unknown."""

    async def open(self, keep: Mapping[str, Address]) -> None:
        """Create the list where there is none, and set affinity and health checks of its upstream.

        Of the targets of an earlier run, those of `keep` stay, at these addresses.
        Raises Unknown, with every difference, where the upstream has another owner and differs.
        """

    async def all(self) -> Mapping[str, KongTarget]: ...

    async def put(self, name: str, target: KongTarget) -> None:
        """Store that target, and have every node use it."""

    async def drop(self, name: str) -> None: ...


class DatabaseTargets:
    """The targets of an upstream in the database of a cluster; any node writes there for all of them.

    A target is known by its address; its tag holds the name of its instance. Other targets belong to other software.
    """

    def __init__(self, upstream: Mapping[str, Any], tier: str, nodes: NodeList) -> None:
        self._upstream = upstream
        self._tier = tier
        self._name = str(upstream["name"])
        self._nodes = nodes

    async def open(self, keep: Mapping[str, Address]) -> None:
        async def create(admin: AdminApi) -> None:
            stored = await admin.upstream(self._name)
            if stored is None:
                await admin.create_upstream(self._upstream)
            elif needed := _changes(self._upstream, stored, admin.url):
                await admin.change_upstream(self._name, needed)

        await self._by_any(create)
        for name, target in (await self.all()).items():  # of an earlier chain, which ended without removing them
            if name.startswith(f"{self._tier}-") and keep.get(name) != target.address:
                await self.drop(name)

    async def all(self) -> Mapping[str, KongTarget]:
        found: dict[str, KongTarget] = {}
        for stored in await self._by_any(lambda admin: admin.targets(self._name)):
            try:
                target = KongTarget(Address.parse(stored.address), stored.weight)
            except ValueError:
                continue
            found |= dict.fromkeys(stored.tags, target)
        return found

    async def put(self, name: str, target: KongTarget) -> None:
        known = (await self.all()).get(name)
        if known == target:
            return  # stored again, it would make every node build its balancer anew
        if known is not None and known.address != target.address:  # its platform created it anew under its name
            await self.drop(name)
            known = None
        if target.weight:
            await self._by_any(lambda admin: admin.set_target(self._name, str(target.address), target.weight, (name,)))
        elif known is not None:
            await self._by_any(lambda admin: admin.weigh_target(self._name, str(target.address), 0))

    async def drop(self, name: str) -> None:
        if (known := (await self.all()).get(name)) is not None:
            await self._by_any(lambda admin: admin.delete_target(self._name, str(known.address)))

    async def _by_any(self, question: Callable[[AdminApi], Awaitable[Result]]) -> Result:
        """The answer of the first node that gives one: the list is the same for all. Raises Unknown when none does."""
        failures = []
        for node in self._nodes():
            try:
                return await question(node.admin)
            except Unknown as error:
                failures.append(str(error))
        raise Unknown("; ".join(failures) or f"no Kong in front of {self._name} carries traffic")


class FileTargets:
    """The targets in a file of the controller's own, from which every node receives its whole configuration.

    The rest of a node's configuration is in its `base`. `owned` has the affinity and the health checks of the upstream,
    where an operator wrote that file; otherwise it is the node's own, and it is rewritten with each change: a reload,
    by any process, makes Kong read it again.
    """

    def __init__(
        self,
        upstream: str,
        file: Path,
        nodes: NodeList,
        *,
        owned: Mapping[str, Any] | None = None,
        pushing: defaultdict[str, asyncio.Lock] | None = None,
    ) -> None:
        """`pushing`: node -> a lock that all tiers of the node share."""
        self._upstream = upstream
        self._owned = owned
        self._file = file
        self._nodes = nodes
        self._pauses: dict[str, tuple[float, float]] = {}
        """Node that was busy -> the length and the end of the current pause."""
        self._pushing = pushing if pushing is not None else defaultdict(asyncio.Lock)

    async def open(self, keep: Mapping[str, Address]) -> None:
        if self._owned is not None or not self._file.exists():  # the list of a Kong outside outlives the chain
            listed = self._read() if self._file.exists() else {}
            self._write({name: one for name, one in listed.items() if keep.get(name) == one.address})
        if self._owned is not None:
            for node in self._nodes():
                self._document(node)

    async def all(self) -> Mapping[str, KongTarget]:
        return self._read()

    async def put(self, name: str, target: KongTarget) -> None:
        listed = self._read()
        if target.weight or name in listed:
            self._write({**listed, name: target})
        await self._push_all()  # without a change, too: a node that missed or refused the last one gets it again

    async def drop(self, name: str) -> None:
        self._write({other: target for other, target in self._read().items() if other != name})
        await self._push_all()

    async def push(self, node: KongNode) -> None:
        """Load all targets into that node. Raises Unknown.

        One push at a time, each with the targets of that moment: of two documents under way at once the older might
        arrive last, and restore a removed target.
        """
        async with self._pushing[node.name]:
            now = asyncio.get_running_loop().time()
            length, end = self._pauses.get(node.name, (0.0, now))
            if now < end:
                raise Unknown(f"{node.name} still loads its last document")
            wanted = self._document(node)
            try:
                await node.admin.load(wanted)
            except NodeBusy as error:
                length = min(max(2 * length, SHORTEST_PAUSE), error.pause)
                self._pauses[node.name] = length, now + length
                raise
            self._pauses.pop(node.name, None)

    def _document(self, node: KongNode) -> Mapping[str, Any]:
        """The whole configuration of that node, with the targets of this moment. Raises Unknown."""
        assert node.base is not None
        import yaml  # here: a command that needs only the traits of the hops imports no YAML

        try:
            before = yaml.safe_load(node.base.read_text())
            wanted = with_targets(before, self._upstream, self._read())
            if self._owned is not None:
                return with_upstream(wanted, self._owned)
            if wanted != before:
                write_whole(node.base, json.dumps(wanted, indent=1))
            return wanted
        except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
            raise Unknown(f"{node.name}: {node.base} cannot be used: {error}") from error

    async def _push_all(self) -> None:
        """To every node, also when one push fails."""
        results = await asyncio.gather(*map(self.push, self._nodes()), return_exceptions=True)
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure

    def _read(self) -> dict[str, KongTarget]:
        try:
            return {
                str(name): KongTarget(Address.parse(entry["address"]), int(entry["weight"]))
                for name, entry in json.loads(self._file.read_text()).items()
            }
        except OSError as error:
            raise Unknown(f"{self._file} could not be read: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unknown(f"{self._file} is not a member list: {error!r}") from error

    def _write(self, targets: Mapping[str, KongTarget]) -> None:
        entries = {name: {"address": str(one.address), "weight": one.weight} for name, one in sorted(targets.items())}
        try:
            write_whole(self._file, json.dumps(entries, indent=1))
        except OSError as error:
            raise Unknown(f"{self._file} could not be written: {error}") from error


def _changes(wanted: Mapping[str, Any], stored: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    try:
        return changes(wanted, stored)
    except ValueError as error:
        raise Unknown(f"{where}: {error}") from error
