"""Adopts the groups of a chain: reads everything first, and writes records only if all of it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping

from changeover.doctor.examine import examine_adoption
from changeover.doctor.verdict import refusals
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.platform import InstanceTemplate
from changeover.platforms.gcp.api.machines import Machines
from changeover.platforms.gcp.reading import Reader, TierRead
from changeover.platforms.gcp.records import GroupRecord, Records, TierRecord, VmRecord
from changeover.rollout.members.member import DEFAULT_WEIGHT


class Adopter:
    """For one chain."""

    def __init__(
        self,
        templates: Mapping[str, Mapping[str, InstanceTemplate]],
        records: Records,
        reader: Reader,
        machines: Machines,
    ) -> None:
        self._templates = templates
        self._records = records
        self._reader = reader
        self._machines = machines

    async def adopt(
        self, tiers: Collection[Tier], *, again: bool = False, read: Mapping[str, TierRead] | None = None
    ) -> list[VmRecord]:
        """Their VMs as they are now, each with the template it was made from. Creates nothing.

        Raises ChangeoverError with every reason why a group cannot be adopted, and Unknown. `again`: a size other than
        the recorded one is a reason. `read`: what was read of them just now.
        """
        if read is None:
            found = await asyncio.gather(*map(self._reader.read, tiers))
            read = dict(zip((tier.name for tier in tiers), found, strict=True))
        problems = [
            one for tier in tiers for one in refusals(examine_adoption(read[tier.name].facts), unread=True)
        ] or [one for tier in tiers if again for one in self._resized(tier, read[tier.name])]
        if problems:
            raise ChangeoverError(*problems)
        records, vms = dict(self._records.tiers()), list[VmRecord]()
        for tier in tiers:
            made, its = await self._records_of(tier, read[tier.name], records.get(tier.name))
            records[tier.name] = made
            vms += its
        nowhere = [vm.name for vm in vms if not vm.host]
        if nowhere:
            raise ChangeoverError(
                Problem(f"these VMs have no address: {', '.join(nowhere)}", state="Nothing was changed.")
            )
        self._write(tiers, records, vms)
        return vms

    async def _records_of(
        self, tier: Tier, read: TierRead, before: TierRecord | None
    ) -> tuple[TierRecord, list[VmRecord]]:
        by_path = {path: template for template, path in read.facts.paths.items()}
        here, vms = read.groups[0], read.groups[0].vms
        addresses = await self._machines.addresses(vms.values())
        groups: dict[str, GroupRecord] = {}
        for one, facts in zip(read.groups, (read.facts, read.facts.idle), strict=False):
            assert one.group is not None
            assert facts is not None
            known = before.groups.get(one.name) if before is not None else None
            groups[one.name] = GroupRecord(one.group.link, facts.port, known.policy if known is not None else {})
        record = TierRecord(
            size=len(vms),
            groups=groups,
            services=tuple(read.services[name] for name in tier.services),
            serving=here.name,
            template=by_path[next(iter(vms.values())).template],
        )
        return record, [
            VmRecord(
                vm.name,
                tier.name,
                by_path[vm.template],
                here.name,
                vm.number,
                addresses.get(vm.name, ""),
                vm.url,
                weight=DEFAULT_WEIGHT,
            )
            for _, vm in sorted(vms.items())
        ]

    async def check(self, targets: Mapping[str, str]) -> None:
        """Raises ChangeoverError where an instance template does not exist. `targets`: tier -> template."""
        paths = {(tier, template): self._templates[tier][template].path for tier, template in targets.items()}
        there = await asyncio.gather(*map(self._machines.has_template, paths.values()))
        problems = [
            Problem(
                f"there is no instance template {path.rpartition('/')[2]} in the project",
                f"tier {tier}, template {template}",
                "Nothing was changed.",
                "Create it, or correct `instance_template`.",
            )
            for ((tier, template), path), exists in zip(paths.items(), there, strict=True)
            if not exists
        ]
        if problems:
            raise ChangeoverError(*problems)

    def _resized(self, tier: Tier, read: TierRead) -> Iterator[Problem]:
        known, count = self._records.tiers().get(tier.name), len(read.groups[0].vms)
        if known is not None and known.size != count:
            yield Problem(
                f"tier {tier.name} was adopted with {known.size} instances, and its group has {count}",
                state="Nothing was changed.",
                next="Run `changeover up`, which takes the group as it is now.",
            )

    def _write(self, tiers: Collection[Tier], records: Mapping[str, TierRecord], vms: Collection[VmRecord]) -> None:
        self._records.keep_tiers(records)
        listed, names = {vm.name for vm in vms}, {tier.name for tier in tiers}
        for old in list(self._records.vms()):
            if old.tier in names and old.name not in listed:
                self._records.drop_vm(old.name)
        for vm in vms:
            self._records.keep_vm(vm)
