"""What is changed in a group: its version, and while the chain is up its update policy, each by its fingerprint.

Another client's change in between makes the API refuse ours (412). The group is then read again and judged anew: a
version that the chain file does not know is another tool's update, and is never overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from changeover.model.chain import Chain, Tier
from changeover.model.platform import InstanceTemplate
from changeover.platforms.gcp.api.calls import Refused
from changeover.platforms.gcp.api.groups import Group, Groups
from changeover.platforms.gcp.records import Records, new_id
from changeover.ports import CannotStart, Unknown

_ATTEMPTS = 5
"""At a group that other clients keep changing."""


class GroupPolicy:
    """Of the groups of one chain. `locks`: by tier, held while a caller relies on the version of its group."""

    def __init__(
        self,
        chain: Chain,
        templates: Mapping[str, Mapping[str, InstanceTemplate]],
        records: Records,
        groups: Groups,
        locks: Mapping[str, asyncio.Lock],
    ) -> None:
        self._chain = chain
        self._templates = templates
        self._records = records
        self._groups = groups
        self._locks = locks

    async def aim(self, tier: Tier, name: str, template: str) -> None:
        """Have new VMs of that group made from that template, and the group replace nothing. The tier's lock must be
        held.

        Raises CannotStart where another tool updates the group, Refused, and Unknown.
        """
        paths = {name: one.path for name, one in self._templates[tier.name].items()}
        for _ in range(_ATTEMPTS):
            group = await self._groups.get(name)
            if foreign := _foreign(group, paths):
                raise CannotStart(foreign)
            wanted = self._while_up(group)
            if group.versions == (paths[template],) and not wanted:
                return
            self._keep_policy(tier, group)
            if await self._change(group, version=paths[template], policy=wanted):
                return
        raise Unknown(f"group {name}, which other clients keep changing")

    async def settle(self, tier: Tier, name: str, template: str) -> str:
        """Have the group say that this is its version; returns why it was left alone. Raises Refused, and Unknown."""
        paths = {name: one.path for name, one in self._templates[tier.name].items()}
        async with self._locks[tier.name]:
            for _ in range(_ATTEMPTS):
                group = await self._groups.get(name)
                if foreign := _foreign(group, paths):
                    return foreign
                path = paths[template]
                if group.versions == (path,) or await self._change(group, version=path):
                    return ""
        raise Unknown(f"group {name}, which other clients keep changing")

    async def restore(self) -> None:
        """Give every group the update policy that it had. Raises Refused, and Unknown."""
        for tier in self._chain.tiers:
            known = self._records.tiers().get(tier.name)
            for name, group in known.groups.items() if known is not None else ():
                if group.policy:
                    await self._restore(name, group.policy)
                    self._keep(tier, name, {})

    async def _restore(self, name: str, policy: Mapping[str, str]) -> None:
        for _ in range(_ATTEMPTS):
            if await self._change(await self._groups.get(name), policy=policy):
                return
        raise Unknown(f"group {name}, which other clients keep changing")

    def _while_up(self, group: Group) -> dict[str, str]:
        """What its policy is to be changed to."""
        wanted = {} if group.update_type == "OPPORTUNISTIC" else {"type_": "OPPORTUNISTIC"}
        if self._chain.platform.region is not None and group.redistribution != "NONE":
            wanted["instance_redistribution_type"] = "NONE"  # it would delete VMs to even out its zones
        return wanted

    def _keep_policy(self, tier: Tier, group: Group) -> None:
        """Write down what the policy was, before it is changed for the first time."""
        known = self._records.tiers()[tier.name].groups[group.name]
        was = {"type_": group.update_type} | (
            {"instance_redistribution_type": group.redistribution or "PROACTIVE"}
            if self._chain.platform.region is not None
            else {}
        )
        if not known.policy and self._while_up(group):
            self._keep(tier, group.name, was)

    def _keep(self, tier: Tier, name: str, policy: Mapping[str, str]) -> None:
        known = self._records.tiers()[tier.name]
        groups = {**known.groups, name: replace(known.groups[name], policy=policy)}
        self._records.keep_tier(tier.name, replace(known, groups=groups))

    async def _change(self, group: Group, *, version: str = "", policy: Mapping[str, str] | None = None) -> bool:
        """False: another client has changed the group since it was read. `version`: its template's path."""
        versions = {version: await self._name_of(group, version)} if version else {}
        try:
            operation = await self._groups.patch(group, new_id(), versions=versions, policy=policy)
            await self._groups.finish(f"to change group {group.name}", operation)
        except Refused as error:
            if error.is_stale:
                return False
            raise
        return True

    async def _name_of(self, group: Group, version: str) -> str:
        """The name under which VMs of that template exist; empty: there are none.

        A version is its template and its name. Under another name its VMs would be outdated, and an updater that
        becomes proactive again would replace them.
        """
        vms = await self._groups.vms(group.name)
        return next((vm.version for vm in vms.values() if vm.template == version), "")


def _foreign(group: Group, paths: Mapping[str, str]) -> str:
    """That the group has a version that this chain never gave it; empty: it has not. Without a VM it updates none."""
    if group.size == 0 or (len(group.versions) == 1 and group.versions[0] in paths.values()):
        return ""
    versions = ", ".join(path.rpartition("/")[2] for path in group.versions)
    return f"another client is updating group {group.name}: its version is {versions}"
