"""Which VMs the platform of Google Cloud reports as gone, also to a controller that takes over from a killed one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from changeover.model.chain import Chain
from changeover.model.instance import Address, Instance
from changeover.platforms.gcp.api.groups import ManagedVm
from changeover.platforms.gcp.platform import GcpPlatform
from changeover.platforms.gcp.records import GroupRecord, Records, Request, TierRecord, VmRecord
from changeover.ports import Unknown

NAME = "web-v1-1"
URL = f"zones/z/instances/{NAME}"
INSTANCE = Instance(NAME, "web", "v1", Address("10.0.0.1", 80), Address("10.0.0.1", 9180))
CHAIN = Chain.model_validate(
    {
        "name": "shop",
        "listen": "10.0.0.9:80",
        "platform": {"kind": "gcp", "project": "shop", "zone": "z"},
        "tiers": [
            {
                "name": "web",
                "kind": "app",
                "group": "web",
                "backend_services": ["web"],
                "agent": {"token_env": "TOKEN"},
                "templates": {"v1": {"instance_template": "web-v1"}},
            }
        ],
    }
)


class Group:
    """The calls of a group. `keeps`: it says that it has deleted a VM, and keeps it."""

    def __init__(self, *actions: str) -> None:
        vms = [ManagedVm(NAME, URL, "1", action, "RUNNING", "web-v1") for action in actions]
        self.vms_now = {vm.name: vm for vm in vms}
        self.keeps = False
        self.asked = asyncio.Event()
        self.goes_on = asyncio.Event()

    async def vms(self, group: str) -> Mapping[str, ManagedVm]:
        return dict(self.vms_now)

    async def delete(self, group: str, urls: list[str], request: str) -> Any:
        if not self.keeps:
            self.vms_now.clear()
        return type("Operation", (), {"name": "op-1"})

    async def finish(self, what: str, operation: Any) -> None:
        self.asked.set()
        await self.goes_on.wait()


def platform(folder: Path, group: Group) -> GcpPlatform:
    link = "zones/z/instanceGroups/web"
    Records(folder).keep_tiers({"web": TierRecord(1, {"web": GroupRecord(link, 80)}, (), "web")})
    unused = cast(Any, None)
    return GcpPlatform(CHAIN, {}, {}, Records(folder), cast(Any, group), unused, unused, unused, unused)


def why(of: GcpPlatform) -> str:
    return asyncio.run(of.gone([INSTANCE], [NAME])).get(NAME, "")


@pytest.mark.parametrize("actions", [[], ["DELETING"]])
def test_a_vm_that_a_killed_controller_had_deleted_is_gone_for_the_next_one(tmp_path: Path, actions: list[str]) -> None:
    records = Records(tmp_path)
    records.keep_vm(VmRecord(NAME, "web", "v1", "web", "1", "10.0.0.1", URL, delete=Request("id", (NAME,), "op-1")))
    found = why(platform(tmp_path, Group(*actions)))
    assert bool(found) == (not actions or not CHAIN.tiers[0].update.count_deleting), found
    records.keep_vm(VmRecord(NAME, "web", "v1", "web", "1", "10.0.0.1", URL, delete=Request("id", (NAME,))))
    assert why(platform(tmp_path, Group("NONE"))) == "", "it was killed before the call"


def test_a_vm_whose_deletion_is_being_asked_for_is_not_reported_before_the_answer(tmp_path: Path) -> None:
    async def story() -> None:
        group = Group("NONE")
        of = platform(tmp_path, group)
        stopping = asyncio.ensure_future(of.stop(INSTANCE, cast(Any, None), cast(Any, None)))
        await group.asked.wait()
        assert await of.gone([INSTANCE], [NAME]) == {}
        group.goes_on.set()
        await stopping
        assert await of.gone([INSTANCE], [NAME])

    asyncio.run(story())


def test_a_deletion_that_is_done_and_deleted_nothing_is_unknown_and_asked_for_again(tmp_path: Path) -> None:
    group = Group("NONE")
    group.keeps = True
    group.goes_on.set()
    with pytest.raises(Unknown, match="the group says that it is done, and keeps the VM"):
        asyncio.run(platform(tmp_path, group).stop(INSTANCE, cast(Any, None), cast(Any, None)))
    record = Records(tmp_path).vm(NAME)
    assert record is not None
    assert record.delete is None
