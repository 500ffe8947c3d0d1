"""The platform of Google Cloud: a tier's instances are the VMs of a managed instance group that exists already.

`up` adopts them. A rollout sets the group to OPPORTUNISTIC, so that Google replaces no VM meanwhile, creates VMs of
given names from the new template, and deletes each old one after it is out of every backend service and empty. Of a
tier with two groups each has the VMs of one template.
Refuses to create or to delete a group, a balancer or a template.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from signal import Signals
from typing import TYPE_CHECKING

from changeover.model.chain import Chain, Tier
from changeover.model.connections import Connections
from changeover.model.errors import fail
from changeover.model.instance import Address, Instance
from changeover.model.platform import InstanceTemplate
from changeover.model.stop import StopTo
from changeover.platforms.gcp.adopting import Adopter
from changeover.platforms.gcp.agents import Agents
from changeover.platforms.gcp.answers import connections_of
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.groups import ANEW, LEAVES, STOPS, Groups, ManagedVm
from changeover.platforms.gcp.api.machines import Machines
from changeover.platforms.gcp.api.services import Services
from changeover.platforms.gcp.api.url_maps import UrlMaps
from changeover.platforms.gcp.backends import Backends
from changeover.platforms.gcp.looks import GroupLooks
from changeover.platforms.gcp.policy import GroupPolicy
from changeover.platforms.gcp.quota import QUOTA, most_calls, slow_enough
from changeover.platforms.gcp.records import Records, VmRecord, instance_of
from changeover.platforms.gcp.router import GcpRouter, router_kind
from changeover.platforms.gcp.vm_calls import VmCalls, Vms
from changeover.platforms.gcp.weighing_router import WeighingGcpRouter
from changeover.ports import CallRate, CannotStart, Preview, Router, Unknown

if TYPE_CHECKING:
    from changeover.platforms.gcp.reading import Reader, TierRead
    from changeover.platforms.gcp.records import TierRecord

AFTER_DRAIN = 60.0
"""Seconds that deleting a VM may take after its drain time, by the text of deleteInstances."""


class GcpPlatform:
    """One chain. `templates`: tier -> template -> its instance template; `agents`: by tier."""

    def __init__(
        self,
        chain: Chain,
        templates: Mapping[str, Mapping[str, InstanceTemplate]],
        agents: Mapping[str, Agents],
        records: Records,
        groups: Groups,
        services: Services,
        machines: Machines,
        url_maps: UrlMaps,
        reader: Reader,
    ) -> None:
        self._chain = chain
        self._templates = templates
        self._agents = agents
        self._records = records
        self._services = services
        self._look = chain.platform.look
        self._looks = GroupLooks(groups, machines, self._look)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stopping: set[str] = set()
        """Names of the VMs whose deletion this process is asking for at this moment."""
        self._backends = Backends(self._tier_record, records, services)
        self._policy = GroupPolicy(chain, templates, records, groups, self._locks)
        self._calls = VmCalls(records, groups, self._looks, self._locks, self._aim)
        self._adopter = Adopter(templates, records, reader, machines)
        self._url_maps = url_maps
        self._weighing: dict[str, WeighingGcpRouter] = {}

    # -- the port ------------------------------------------------------------------------------------------------

    def is_open(self) -> bool:
        """Backend services are not this program's to start: they count as up while the chain is adopted."""
        return bool(self._records.tiers())

    def entry(self, tier: str) -> Address:
        """`listen` of the chain file for the first tier; the others are not asked for."""
        return Address.parse(self._chain.listen)

    def router(self, tier: Tier) -> Router:
        record = self._records.tiers().get(tier.name)
        protocols = frozenset(service.protocol for service in record.services) if record is not None else frozenset()

        async def exists(names: frozenset[str]) -> frozenset[str]:
            vms = await self._vms(tier)
            return frozenset(name for name in names & vms.keys() if not self._is_anew(vms[name]))

        async def is_lame(name: str) -> bool | None:
            instance = self.recorded(name)
            try:
                return (
                    None if instance is None else (await self._agents[tier.name].status(instance))["lame_duck"] is True
                )
            except (Unknown, KeyError):
                return None

        common = (
            tier,
            lambda: self._tier_record(tier.name),
            self._services,
            exists,
            is_lame,
            lambda name: self._group_of(self._records.vm(name), tier),
            self._backends,
            self._chain.platform.propagation,
        )
        if tier.traffic is None:
            kind: type[GcpRouter] = router_kind(protocols)
            return kind(*common)
        made = WeighingGcpRouter(*common, tier.traffic.url_map, self._url_maps, self._records)
        self._weighing[tier.name] = made
        return made

    def preview(self, tier: Tier) -> Preview | None:
        return None

    def recorded(self, name: str) -> Instance | None:
        record = self._records.vm(name)
        return None if record is None else self._instance(record)

    async def create(self, name: str, tier: Tier, template: str) -> Instance:
        record = self._records.vm(name)
        if record is None:
            record = VmRecord(name, tier.name, template, self._tier_record(tier.name).group_for(template))
        if (known := self._instance(record)) is not None:
            return known
        self._records.keep_vm(record)
        deadline = time.monotonic() + tier.update.progress_deadline
        why = "Google Cloud did not answer"
        while time.monotonic() < deadline:
            try:
                await self._calls.create(record, self._group_of(record, tier))
                return await self._when_it_has_an_address(record, tier, deadline)
            except CannotStart as error:
                why = str(error)
                break
            except Refused as error:
                why = str(error)
                if not error.failure.transient:
                    break
            except Unknown as error:
                why = str(error)
            await asyncio.sleep(self._look)
        self._records.keep_vm(replace(self._records.vm(name) or record, unwanted=True))
        with suppress(Unknown):  # the next look deletes it
            await self._delete(record, tier)
        raise CannotStart(why)

    async def gone(self, instances: Collection[Instance], stopped: Collection[str] = ()) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for tier in self._chain.tiers:
            here = [instance for instance in instances if instance.tier == tier.name]
            if not here:
                continue
            vms = await self._vms(tier)
            await self._delete_unwanted(tier, vms)
            for instance in here:
                awaited = instance.name in stopped and tier.update.count_deleting
                if why := self._why_gone(instance, vms.get(instance.name), deleting_is_there=awaited):
                    found[instance.name] = why
        return found

    def _is_anew(self, vm: ManagedVm) -> bool:
        """Whether the VM has only the name of the recorded one: its group has created it anew."""
        record = self._records.vm(vm.name)
        return vm.action in ANEW or (record is not None and bool(vm.number) and record.number != vm.number)

    def _why_gone(self, instance: Instance, vm: ManagedVm | None, *, deleting_is_there: bool) -> str:
        if instance.name in self._stopping:
            return ""
        if vm is None:
            return "its group does not have it any more"
        if vm.action in LEAVES:
            return "" if deleting_is_there else f"its group takes it away ({vm.action.lower()})"
        if self._is_anew(vm):
            return "its group has created it anew, as autohealing and updates do: what it was serving is lost"
        if vm.status in STOPS:
            return f"its VM is {vm.status.lower()}"
        return ""

    async def connections(self, instance: Instance) -> Connections | None:
        try:
            return connections_of(await self._agents[instance.tier].status(instance))
        except Unknown:
            return None  # what is in flight is not known then, either

    async def lame_duck(self, instance: Instance, on: bool) -> None:
        if on and (router := self._weighing.get(instance.tier)) is not None:
            await router.may_leave(instance)
        await self._agents[instance.tier].lame_duck(instance, on)

    async def stop(self, instance: Instance, signal: Signals, to: StopTo) -> None:
        """Have the group delete the VM: its software then gets the signal that the image's init sends."""
        tier = self._tier(instance.tier)
        record = self._records.vm(instance.name) or VmRecord(instance.name, instance.tier, instance.template)
        self._stopping.add(instance.name)
        try:
            await self._delete(record, tier)
        finally:
            self._stopping.discard(instance.name)

    async def kill(self, instance: Instance) -> None:
        tier = self._tier(instance.tier)
        record = self._records.vm(instance.name)
        await self._delete(record or VmRecord(instance.name, instance.tier, instance.template), tier)
        self._records.drop_vm(instance.name)

    # -- adopting and releasing: ports.Adopts --------------------------------------------------------------------

    async def adopt(
        self, tiers: Collection[Tier], *, again: bool = False, read: Mapping[str, TierRead] | None = None
    ) -> Mapping[str, Collection[Instance]]:
        adopted: dict[str, list[Instance]] = {tier.name: [] for tier in tiers}
        for record in await self._adopter.adopt(tiers, again=again, read=read):
            found = self._instance(record)
            assert found is not None
            adopted[record.tier].append(found)
        return adopted

    def size(self, tier: str) -> int | None:
        known = self._records.tiers().get(tier)
        return None if known is None else known.size

    async def check(self, targets: Mapping[str, str]) -> None:
        await self._adopter.check(targets)

    async def settle(self, tier: Tier, template: str) -> str:
        serving = self._tier_record(tier.name).group_for(template)
        foreign = await self._policy.settle(tier, serving, template)
        await self._delete_unwanted(tier, await self._vms(tier, fresh=True))
        self._records.drop_calls()
        for group in () if foreign else sorted(tier.groups, key=lambda name: name != serving):
            vms = await self._looks.vms(group)
            there = {name for name, vm in vms.items() if vm.action not in LEAVES}
            wanted = tier.size if group == serving else 0
            if len(there) != wanted:
                others = sorted(name for name in there if self._records.vm(name) is None)
                named = f", among them {', '.join(others[:3])} of another client" if others else ""
                which = "its group" if len(tier.groups) == 1 else f"its group {group}"
                return f"{which} has {len(there)} VMs, and the chain {wanted} instances{' there' * (not wanted)}{named}"
            if group == serving:
                known = self._tier_record(tier.name)
                self._records.keep_tier(tier.name, replace(known, serving=serving, template=template))
            elif tier.traffic is None:
                await self._backends.leave(tier.name, group)
        return foreign

    async def deletion(self, tier: Tier) -> float:
        """deleteInstances: as long as connection draining is set to, and up to 60 s more."""
        known = self._records.tiers().get(tier.name)
        services = [service.name for service in known.services] if known is not None else tier.services
        drains = [(await self._services.get(name)).drain for name in services]
        return max(drains, default=0.0) + AFTER_DRAIN

    def calls(self, tier: Tier, machines: int) -> CallRate:
        zones = {record.url.split("/")[1] for record in self._records.vms() if record.tier == tier.name and record.url}
        made = most_calls(
            self._look,
            groups=len(tier.groups),
            services=len(tier.backend_services),
            zones=max(1, len(zones)),
            maps=int(tier.traffic is not None),
            machines=machines,
            others=sum(len(other.groups) for other in self._chain.tiers if other.name != tier.name),
        )
        return CallRate(made, QUOTA, slow_enough(self._look, made))

    async def release(self) -> None:
        await self._policy.restore()
        self._records.clear()

    # -- creating and deleting -----------------------------------------------------------------------------------

    async def _aim(self, tier: str, group: str, template: str, vms: Vms) -> None:
        takes_turns = len(self._tier(tier).groups) > 1 and self._tier(tier).traffic is None
        if takes_turns and all(vm.action in LEAVES for vm in vms.values()):
            await self._backends.leave(tier, group)  # its VMs get requests from their admission on
        await self._policy.aim(self._tier(tier), group, template)

    async def _when_it_has_an_address(self, record: VmRecord, tier: Tier, deadline: float) -> Instance:
        group, path = self._group_of(record, tier), self._templates[tier.name][record.template].path
        why = "the group does not list it"
        while time.monotonic() < deadline:
            if (vm := (await self._looks.vms(group)).get(record.name)) is not None:
                if vm.errors:
                    raise CannotStart(f"the group could not create it: {'; '.join(vm.errors)}")
                if vm.template and vm.template != path:
                    raise CannotStart(
                        f"the group made it from {vm.template.rpartition('/')[2]}: another client has changed the group"
                    )
                address = await self._looks.address(vm) if vm.url else ""
                if address and vm.number:
                    record = replace(
                        self._records.vm(record.name) or record, number=vm.number, host=address, url=vm.url
                    )
                    self._records.keep_vm(record)
                    found = self._instance(record)
                    assert found is not None
                    return found
                why = f"it has no address yet ({vm.action.lower()}, {vm.status.lower() or 'no VM'})"
            await asyncio.sleep(self._look)
        raise CannotStart(f"{why} after {tier.update.progress_deadline:.0f} s (progress_deadline)")

    async def _delete(self, record: VmRecord, tier: Tier) -> None:
        await self._calls.delete(record, self._group_of(record, tier))

    async def _delete_unwanted(self, tier: Tier, vms: Mapping[str, ManagedVm]) -> None:
        there = [one for one in self._unwanted(tier) if one.name in vms and vms[one.name].action not in LEAVES]
        for failure in await asyncio.gather(*(self._delete(one, tier) for one in there), return_exceptions=True):
            if failure is not None and not isinstance(failure, Unknown):
                raise failure

    def _unwanted(self, tier: Tier) -> Iterator[VmRecord]:
        return (record for record in self._records.vms() if record.tier == tier.name and record.unwanted)

    async def _vms(self, tier: Tier, *, fresh: bool = False) -> Mapping[str, ManagedVm]:
        """The VMs of all its groups."""
        lists = await asyncio.gather(*(self._looks.vms(group, fresh=fresh) for group in tier.groups))
        return {name: vm for vms in lists for name, vm in vms.items()}

    # -- records -------------------------------------------------------------------------------------------------

    def _instance(self, record: VmRecord) -> Instance | None:
        known, tier = self._records.tiers().get(record.tier), self._tier(record.tier)
        assert tier.agent is not None
        port = known.groups[self._group_of(record, tier)].port if known is not None else 0
        found = instance_of(record, port, tier.agent.port)
        regional = self._chain.platform.region is not None
        return replace(found, place=record.url.split("/")[1]) if found is not None and regional else found

    def _group_of(self, record: VmRecord | None, tier: Tier) -> str:
        """The group that has that VM, or is to have it."""
        known = record.group if record is not None else ""
        return known or self._tier_record(tier.name).serving

    def _tier(self, name: str) -> Tier:
        found = self._chain.tier(name)
        assert found is not None
        return found

    def _tier_record(self, tier: str) -> TierRecord:
        if (known := self._records.tiers().get(tier)) is None:
            raise fail(f"tier {tier} was not adopted: the chain is not up", next="changeover up")
        return known
