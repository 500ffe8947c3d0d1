"""Which groups are adopted, by the checks of the doctor alone, and what is recorded of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.unit.doctor.healthy import GROUP, SERVICE, TEMPLATE_1, TEMPLATE_2, VM, facts

from changeover.doctor.examine import examine, examine_adoption
from changeover.doctor.facts import GroupFacts
from changeover.doctor.verdict import refusals
from changeover.model.chain import Tier
from changeover.model.errors import ChangeoverError
from changeover.platforms.gcp.adopting import Adopter
from changeover.platforms.gcp.api.groups import Group, ManagedVm
from changeover.platforms.gcp.api.services import Service
from changeover.platforms.gcp.reading import GroupRead, TierRead
from changeover.platforms.gcp.records import Records, VmRecord

TIER = Tier.model_validate(
    {
        "name": "edge",
        "kind": "nginx",
        "group": "edge-mig",
        "backend_services": ["edge-bs"],
        "templates": {"v1": {"instance_template": TEMPLATE_1}, "v2": {"instance_template": TEMPLATE_2}},
    }
)
LINK = "regions/europe-west1/instanceGroups/edge-mig"
SERVICE_READ = Service("edge-bs", "", (LINK,), (), "HTTP", "http", 600)


class Reader:
    def __init__(self, read: TierRead) -> None:
        self._read = read
        self.asked = 0

    async def read(self, tier: Tier) -> TierRead:
        self.asked += 1
        return self._read


class Machines:
    def __init__(self, host: str = "10.0.0.1") -> None:
        self._host = host

    async def addresses(self, vms: Any) -> Mapping[str, str]:
        return {vm.name: self._host for vm in vms}


def vm(name: str) -> ManagedVm:
    return ManagedVm(name, f"zones/europe-west1-b/instances/{name}", "1", "NONE", "RUNNING", TEMPLATE_1)


def read(*names: str, of: GroupFacts | None = None, **given: Any) -> TierRead:
    """One group with VMs of these names. `given`: facts that are not those of a healthy tier."""
    found = of or replace(facts(), **given)
    group = Group("edge-mig", LINK, "f", len(names), (TEMPLATE_1,), "OPPORTUNISTIC", "NONE")
    one = GroupRead("edge-mig", found.group, group, list(found.vms), {name: vm(name) for name in names}, None)
    return TierRead(found, (one,), {"edge-bs": SERVICE_READ})


def adopter(state: Path, found: TierRead, host: str = "10.0.0.1") -> tuple[Adopter, Reader, Records]:
    reader, records = Reader(found), Records(state)
    return Adopter({}, records, cast(Any, reader), cast(Any, Machines(host))), reader, records


def adopt(of: Adopter, **given: Any) -> list[VmRecord]:
    return asyncio.run(of.adopt([TIER], **given))


def test_the_vms_that_stay_are_adopted_whatever_their_names_and_the_group_that_has_them_is_recorded(
    tmp_path: Path,
) -> None:
    ports = {"namedPorts": [{"name": "http", "port": 8080}]}
    leaving = {**VM, "currentAction": "DELETING", "version": {}}
    found = read("any-name", "x-7", vms=[VM, leaving], group={**deepcopy(GROUP), **ports})
    made, _, records = adopter(tmp_path, found)
    vms = adopt(made)
    assert [(one.name, one.template, one.host) for one in vms] == [
        ("any-name", "v1", "10.0.0.1"),
        ("x-7", "v1", "10.0.0.1"),
    ]
    record = records.tiers()["edge"]
    assert (record.size, record.serving, record.template) == (2, "edge-mig", "v1")
    assert (record.groups["edge-mig"].link, record.groups["edge-mig"].port) == (LINK, 8080)
    assert record.services == (SERVICE_READ,)


def test_what_the_checks_have_just_read_is_not_read_again(tmp_path: Path) -> None:
    made, reader, _ = adopter(tmp_path, read("edge-1a2b"))
    adopt(made, read={"edge": read("edge-1a2b")})
    assert reader.asked == 0


@pytest.mark.parametrize(
    "given",
    [
        {"group": None, "vms": []},
        {"vms": []},
        {"vms": [{**VM, "version": {}}]},
        {"size": 5},
        {"services": {"edge-bs": {**SERVICE, "backends": []}}},
        {"services": {"edge-bs": None}},
        {"autoscaler": {"name": "edge-as"}},
        {"group": {**GROUP, "status": {}}},
        {"group": {**GROUP, "autoHealingPolicies": [{"healthCheck": SERVICE["healthChecks"][0]}]}},
    ],
)
def test_a_group_is_refused_in_the_words_of_the_doctor_and_nothing_is_recorded(
    given: dict[str, Any], tmp_path: Path
) -> None:
    made, _, records = adopter(tmp_path, read("edge-1a2b", **given))
    with pytest.raises(ChangeoverError) as refused:
        adopt(made)
    of_doctor = [str(one) for one in refusals(examine(facts(**given)))]
    assert [str(one) for one in refused.value.problems] == of_doctor
    assert len(of_doctor) == 1
    assert "Refused; nothing was changed." in str(refused.value)
    assert records.tiers() == {}


def test_what_could_not_be_read_is_refused_although_a_roll_of_an_adopted_tier_may_go_on(tmp_path: Path) -> None:
    unread = {"autoscaler edge-as": "403: Required compute.autoscalers.get permission"}
    made, _, _ = adopter(tmp_path, read("edge-1a2b", autoscaler=None, unread=unread))
    with pytest.raises(ChangeoverError, match=r"autoscaler edge-as could not be read.*permission-missing"):
        adopt(made)
    assert refusals(examine_adoption(facts(unread=unread))) == []


def test_another_size_than_at_the_last_adoption_is_refused_before_a_roll(tmp_path: Path) -> None:
    made, _, _ = adopter(tmp_path, read("edge-1a2b"))
    adopt(made)
    other, _, _ = adopter(tmp_path, read("edge-1a2b", "edge-2"))
    with pytest.raises(ChangeoverError, match="adopted with 1 instances, and its group has 2"):
        adopt(other, again=True)
    assert len(adopt(other)) == 2


def test_a_vm_without_an_address_is_refused(tmp_path: Path) -> None:
    made, _, records = adopter(tmp_path, read("edge-1a2b"), host="")
    with pytest.raises(ChangeoverError, match="these VMs have no address: edge-1a2b"):
        adopt(made)
    assert records.tiers() == {}
