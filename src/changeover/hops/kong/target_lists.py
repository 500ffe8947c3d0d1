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
from changeover.hops.kong.document import KongTarget, with_targets
from changeover.kit.files import write_whole
from changeover.model.instance import Address
from changeover.ports import Unknown


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

    async def open(self) -> None:
        """Create the list where there is none."""

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

    async def open(self) -> None:
        async def create(admin: AdminApi) -> None:
            if not await admin.has_upstream(self._name):
                await admin.create_upstream(self._upstream)

        await self._by_any(create)
        for name in await self.all():  # of an earlier chain, which ended without removing them
            if name.startswith(f"{self._tier}-"):
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

    The rest of a node's configuration is in its `base`. If that is the node's own file, it is rewritten with each
    change: a reload, by any process, makes Kong read it again.
    """

    def __init__(self, upstream: str, file: Path, nodes: NodeList, *, rewrite_base: bool) -> None:
        self._upstream = upstream
        self._file = file
        self._nodes = nodes
        self._rewrite_base = rewrite_base
        self._not_before: dict[str, float] = {}
        """Node -> the end of the pause that it asked for."""
        self._pushing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def open(self) -> None:
        if not self._file.exists():
            self._write({})

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
            if now < self._not_before.get(node.name, now):
                raise Unknown(f"{node.name} still loads its last document")
            assert node.base is not None
            import yaml  # here: a command that needs only the traits of the hops imports no YAML

            try:
                before = yaml.safe_load(node.base.read_text())
                wanted = with_targets(before, self._upstream, self._read())
                if self._rewrite_base and wanted != before:
                    write_whole(node.base, json.dumps(wanted, indent=1))
            except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
                raise Unknown(f"{node.name}: {node.base} cannot be used: {error}") from error
            try:
                await node.admin.load(wanted)
            except NodeBusy as error:
                self._not_before[node.name] = now + error.pause
                raise

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
