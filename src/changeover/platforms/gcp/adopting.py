"""Adopts the groups of a chain: reads everything first, and writes records only if all of it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping

from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.platform import InstanceTemplate
from changeover.platforms.gcp.adoption import Found, refusals, templates_of
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.groups import Groups
from changeover.platforms.gcp.api.machines import Machines
from changeover.platforms.gcp.api.services import Services
from changeover.platforms.gcp.records import Records, TierRecord, VmRecord


class Adopter:
    """For one chain."""

    def __init__(
        self,
        chain: Chain,
        templates: Mapping[str, Mapping[str, InstanceTemplate]],
        records: Records,
        groups: Groups,
        services: Services,
        machines: Machines,
    ) -> None:
        platform = chain.platform
        self._place = f"--zone={platform.zone}" if platform.zone is not None else f"--region={platform.region}"
        self._templates = templates
        self._records = records
        self._groups = groups
        self._services = services
        self._machines = machines

    async def adopt(self, tiers: Collection[Tier], *, again: bool = False) -> list[VmRecord]:
        """Their VMs as they are now, each with the template it was made from. Creates nothing.

        Raises ChangeoverError with every reason why a group cannot be adopted, and Unknown. `again`: a size other than
        the recorded one is a reason.
        """
        found = dict(zip(tiers_of(tiers), await asyncio.gather(*map(self._read, tiers)), strict=True))
        problems = [one for tier in tiers for one in self._problems(tier, found[tier.name])]
        problems = problems or [one for tier in tiers if again for one in self._resized(tier, found[tier.name])]
        if problems:
            raise ChangeoverError(*problems)
        records, vms = dict(self._records.tiers()), list[VmRecord]()
        for tier in tiers:
            here = found[tier.name]
            assert isinstance(here, Found)
            policy = known.policy if (known := records.get(tier.name)) is not None else {}
            records[tier.name] = TierRecord(here.group.size, here.group.link, here.port, here.services, policy)
            templates = templates_of(here.vms.values(), self._paths(tier))
            addresses = await self._machines.addresses(here.vms.values())
            vms += [
                VmRecord(vm.name, tier.name, templates[vm.name], vm.number, addresses.get(vm.name, ""), vm.url)
                for _, vm in sorted(here.vms.items())
            ]
        nowhere = [vm.name for vm in vms if not vm.host]
        if nowhere:
            raise ChangeoverError(
                Problem(f"these VMs have no address: {', '.join(nowhere)}", state="Nothing was changed.")
            )
        self._write(tiers, records, vms)
        return vms

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

    def _problems(self, tier: Tier, found: Found | Problem) -> Collection[Problem]:
        if isinstance(found, Problem):
            return (found,)
        return tuple(refusals(tier, found, self._paths(tier), self._place))

    def _resized(self, tier: Tier, found: Found | Problem) -> Iterator[Problem]:
        known = self._records.tiers().get(tier.name)
        if isinstance(found, Found) and known is not None and known.size != len(found.vms):
            yield Problem(
                f"tier {tier.name} was adopted with {known.size} instances, and its group has {len(found.vms)}",
                state="Nothing was changed.",
                next="Run `changeover up`, which takes the group as it is now.",
            )

    async def _read(self, tier: Tier) -> Found | Problem:
        assert tier.group is not None
        try:
            group, vms, services = await asyncio.gather(
                self._groups.get(tier.group),
                self._groups.vms(tier.group),
                asyncio.gather(*(self._services.get(name) for name in tier.backend_services)),
            )
            scaled = bool(group.autoscaler) and await self._machines.scales(group.autoscaler)
        except Refused as error:
            text = {404: "Correct its name in the chain file.", 403: "Give the account the permission that is named."}
            return Problem(str(error), f"tier {tier.name}", "Nothing was changed.", text.get(error.code or 0, ""))
        return Found(group, vms, tuple(services), scaled)

    def _write(self, tiers: Collection[Tier], records: Mapping[str, TierRecord], vms: Collection[VmRecord]) -> None:
        self._records.keep_tiers(records)
        listed, names = {vm.name for vm in vms}, set(tiers_of(tiers))
        for old in list(self._records.vms()):
            if old.tier in names and old.name not in listed:
                self._records.drop_vm(old.name)
        for vm in vms:
            self._records.keep_vm(vm)

    def _paths(self, tier: Tier) -> Mapping[str, str]:
        return {name: template.path for name, template in self._templates[tier.name].items()}


def tiers_of(tiers: Collection[Tier]) -> list[str]:
    return [tier.name for tier in tiers]
