"""Has groups create and delete VMs, as many as are asked for at once in one call.

A call is on record before it is made, its request id and the names of all its VMs, and each of these names it. A
controller that continues after another one repeats that very call, which the API knows again, and never a part of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

from changeover.kit.shared import Shared
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.groups import LEAVES, Groups, ManagedVm
from changeover.platforms.gcp.api.operations import Operation
from changeover.platforms.gcp.looks import GroupLooks
from changeover.platforms.gcp.records import Records, Request, VmRecord
from changeover.ports import Unknown

MOST = 1000
"""VMs of one call, by the texts of createInstances and deleteInstances."""
Vms: TypeAlias = Mapping[str, ManagedVm]
Failures: TypeAlias = Mapping[str, Exception | None]
"""Name -> why the call for it failed; None: it did not."""
Ask: TypeAlias = Callable[[Sequence[str], str], Awaitable[Operation]]
"""Makes the call for VMs of these names, with that request id."""
_Field: TypeAlias = Literal["create", "delete"]


class VmCalls:
    """Of one chain. `aim`: has a group make new VMs of a tier from a template, after it was listed.

    `locks`: by tier, held from then on until the VMs are made.
    """

    def __init__(
        self,
        records: Records,
        groups: Groups,
        looks: GroupLooks,
        locks: Mapping[str, asyncio.Lock],
        aim: Callable[[str, str, str, Vms], Awaitable[None]],
    ) -> None:
        self._records = records
        self._groups = groups
        self._looks = looks
        self._locks = locks
        self._aim = aim
        self._creations = Shared[tuple[str, str, str], None, None](self._create)
        self._deletions = Shared[str, VmRecord, None](self._delete)

    async def create(self, record: VmRecord, group: str) -> None:
        """Have the group create the VM, unless it has one of that name. The record must be kept already.

        Raises what `aim` raises, Refused, and Unknown.
        """
        await self._creations.ask((record.tier, group, record.template), record.name, None)

    async def delete(self, record: VmRecord, group: str) -> None:
        """Have the group delete the VM, unless it has none of that name or is at it. Raises Refused, and Unknown."""
        await self._deletions.ask(group, record.name, record)

    async def _create(self, key: tuple[str, str, str], names: Collection[str]) -> Failures:
        tier, group, template = key
        failed: dict[str, Exception | None] = dict.fromkeys(names)
        async with self._locks[tier]:  # the group's version must stay what it is until the VMs are made from it
            listed = await self._looks.vms(group, fresh=True)
            if missing := [name for name in names if name not in listed]:
                await self._aim(tier, group, template, listed)
                make = partial(self._groups.create, group)
                failed |= await self._call("create", group, missing, make)
                await self._looks.vms(group, fresh=True)
        return failed

    async def _delete(self, group: str, records: Mapping[str, VmRecord]) -> Failures:
        listed = await self._looks.vms(group, fresh=True)
        there = [name for name in records if name in listed and listed[name].action not in LEAVES]
        failed: dict[str, Exception | None] = dict.fromkeys(records)
        if not there:
            return failed
        for name in there:
            if self._records.vm(name) is None:
                self._records.keep_vm(records[name])

        async def ask(names: Sequence[str], request_id: str) -> Operation:
            urls = [vm.url for name in names if (vm := listed.get(name)) is not None and vm.url]
            return await self._groups.delete(group, urls, request_id)

        failed |= await self._call("delete", group, there, ask)
        now = await self._looks.vms(group, fresh=True)
        for name in there:  # skipInstancesOnValidationError: DONE, and nothing is deleted
            if name in now and now[name].action not in LEAVES:
                self._write([name], "delete", None)
                text = f"to delete {name} of group {group}: the group says that it is done, and keeps the VM"
                failed[name] = failed.get(name) or Unknown(text)
        return failed

    async def _call(self, field: _Field, group: str, names: Sequence[str], ask: Ask) -> Failures:
        failed: dict[str, Exception | None] = {}
        for request in self._requests(field, names):
            failed |= await self._one(field, group, request, ask)
        return failed

    def _requests(self, field: _Field, names: Sequence[str]) -> Iterator[Request]:
        """Those that were written down are made again as they were; the other names share new ones."""
        found = (self._request(name, field) for name in names)
        known = [
            request
            for request in {request.id: request for request in found if request is not None}.values()
            if all(map(self._records.has_vm, request.names))
        ]
        yield from known
        made = {name for request in known for name in request.names}
        others = [name for name in names if name not in made]
        for first in range(0, len(others), MOST):
            yield Request.new(others[first : first + MOST])

    async def _one(self, field: _Field, group: str, request: Request, ask: Ask) -> Failures:
        names, what = request.names, f"to {field} {_named(request.names)} in group {group}"
        self._write(names, field, request)
        effect = "unknown"
        try:
            operation = await ask(names, request.id)
            effect = "known"
            self._records.keep_call(replace(request, operation=operation.name))
            await self._groups.finish(what, operation)
        except Refused as error:
            if effect == "unknown" and error.failure.transient:
                return dict.fromkeys(names, error)  # with the same id, because it may have had its effect
            self._write(names, field, None)  # this id gives the same failure again
            if len(names) == 1 or error.failure.transient:
                return dict.fromkeys(names, error)
            failed: dict[str, Exception | None] = {}
            for name in names:  # one of them may be the reason, and the others must not wait for it
                failed |= await self._one(field, group, Request.new([name]), ask)
            return failed
        except Unknown as error:
            return dict.fromkeys(names, error)
        return dict.fromkeys(names)

    def _request(self, name: str, field: _Field) -> Request | None:
        record = self._records.vm(name)
        return None if record is None else record.create if field == "create" else record.delete

    def _write(self, names: Collection[str], field: _Field, request: Request | None) -> None:
        for name in names:
            if (record := self._records.vm(name)) is not None:
                kept = replace(record, create=request) if field == "create" else replace(record, delete=request)
                self._records.keep_vm(kept)


def _named(names: Sequence[str]) -> str:
    """The first ones, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}"
