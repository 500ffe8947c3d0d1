"""Adopts the groups of a chain: reads everything first, and writes records only if all of it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping

from changeover.model.chain import Chain, Tier
from changeover.model.errors import ChangeoverError, Problem
from changeover.model.platform import InstanceTemplate
from changeover.platforms.gcp.adoption import Found, refusals, refusals_of_idle, serving, templates_of
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.groups import Groups
from changeover.platforms.gcp.api.machines import Machines
from changeover.platforms.gcp.api.services import Service, Services
from changeover.platforms.gcp.api.url_maps import UrlMaps
from changeover.platforms.gcp.records import GroupRecord, Records, TierRecord, VmRecord
from changeover.platforms.gcp.weights import refusals_of_map
from changeover.rollout.members.fleet import DEFAULT_WEIGHT


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
        url_maps: UrlMaps,
    ) -> None:
        platform = chain.platform
        self._place = f"--zone={platform.zone}" if platform.zone is not None else f"--region={platform.region}"
        self._templates = templates
        self._records = records
        self._groups = groups
        self._services = services
        self._machines = machines
        self._url_maps = url_maps

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
            groups = [group for group in found[tier.name] if isinstance(group, Found)]
            here, before = serving(groups), records.get(tier.name)
            templates = templates_of(here.vms.values(), self._paths(tier))
            records[tier.name] = TierRecord(
                size=here.group.size,
                groups={one.group.name: _record(one, before) for one in groups},
                services=tuple({one.name: one for group in (here, *groups) for one in group.services}.values()),
                serving=here.group.name,
                template=next(iter(templates.values())),
            )
            addresses = await self._machines.addresses(here.vms.values())
            vms += [
                VmRecord(
                    vm.name,
                    tier.name,
                    templates[vm.name],
                    here.group.name,
                    vm.number,
                    addresses.get(vm.name, ""),
                    vm.url,
                    weight=DEFAULT_WEIGHT,
                )
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

    def _problems(self, tier: Tier, found: Collection[Found | Problem]) -> list[Problem]:
        problems = [one for one in found if isinstance(one, Problem)]
        groups = [one for one in found if isinstance(one, Found)]
        if not groups:
            return problems
        here = serving(groups)
        others = [
            problem for one in groups if one is not here for problem in refusals_of_idle(tier, one, here, self._place)
        ]
        return [*problems, *refusals(tier, here, self._paths(tier), self._place), *others]

    def _resized(self, tier: Tier, found: Collection[Found | Problem]) -> Iterator[Problem]:
        known = self._records.tiers().get(tier.name)
        count = len(serving([one for one in found if isinstance(one, Found)]).vms)
        if known is not None and known.size != count:
            yield Problem(
                f"tier {tier.name} was adopted with {known.size} instances, and its group has {count}",
                state="Nothing was changed.",
                next="Run `changeover up`, which takes the group as it is now.",
            )

    async def _read(self, tier: Tier) -> list[Found | Problem]:
        """Each of its groups, in the order of the chain file."""
        try:
            services = {name: await self._services.get(name) for name in tier.services}
            url_map = await self._url_maps.get(tier.traffic.url_map) if tier.traffic is not None else None
        except Refused as error:
            return [_unread(tier, error)]
        found = await asyncio.gather(
            *(
                self._read_group(tier, group, tuple(services[name] for name in tier.services_of(group)))
                for group in tier.groups
            )
        )
        groups = [one for one in found if isinstance(one, Found)]
        if len(groups) < len(found):
            return [one for one in found if isinstance(one, Problem)]
        if url_map is None:
            return list(found)
        ours = {one.group.name: one.services[0] for one in groups}
        where = f"tier {tier.name}, URL map {url_map.name}"
        return [*found, *refusals_of_map(url_map, ours, serving(groups).group.name, where)]

    async def _read_group(self, tier: Tier, name: str, services: tuple[Service, ...]) -> Found | Problem:
        try:
            group, vms = await asyncio.gather(self._groups.get(name), self._groups.vms(name))
            scaled = bool(group.autoscaler) and await self._machines.scales(group.autoscaler)
        except Refused as error:
            return _unread(tier, error)
        return Found(group, vms, services, scaled)

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


def _unread(tier: Tier, error: Refused) -> Problem:
    text = {404: "Correct its name in the chain file.", 403: "Give the account the permission that is named."}
    return Problem(str(error), f"tier {tier.name}", "Nothing was changed.", text.get(error.code or 0, ""))


def _record(found: Found, before: TierRecord | None) -> GroupRecord:
    known = before.groups.get(found.group.name) if before is not None else None
    return GroupRecord(found.group.link, found.port, known.policy if known is not None else {})


def tiers_of(tiers: Collection[Tier]) -> list[str]:
    return [tier.name for tier in tiers]
