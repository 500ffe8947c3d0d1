"""What doctor finds of the group that takes turns with the one of the instances."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from tests.unit.doctor.healthy import AUTOSCALER, GROUP, VM, facts

from changeover.doctor.examine import examine
from changeover.doctor.facts import TierFacts


def with_idle(**changed: Any) -> TierFacts:
    group = {**deepcopy(GROUP), "targetSize": 0, **changed.pop("group", {})}
    return facts(idle=facts(**{"group_name": "edge-green", "group": group, "vms": [], "agents": {}, **changed}))


def found(of: TierFacts) -> dict[str, str]:
    return {one.check: f"{one.where}: {one.read}; {one.cure}" for one in examine(of)}


def test_an_empty_group_like_the_other_one_is_fine() -> None:
    assert found(with_idle()) == {}


def test_a_group_with_vms_of_its_own_cannot_take_the_next_template() -> None:
    for idle in (with_idle(vms=[deepcopy(VM)]), with_idle(group={"targetSize": 1})):
        text = found(idle)["both-groups-have-vms"]
        assert "edge-green" in text
        assert "resize edge-green --size=0" in text


def test_vms_that_the_last_roll_has_emptied_are_none() -> None:
    assert found(with_idle(vms=[{**deepcopy(VM), "currentAction": "DELETING"}])) == {}


def test_a_group_without_the_ports_of_the_other_one_would_never_be_confirmed() -> None:
    ports = {"namedPorts": [{"name": "http", "port": 8080}]}
    assert found(replace(with_idle(group=ports), group={**GROUP, **ports})) == {}
    for other in ([], [{"name": "http", "port": 80}]):
        without = replace(with_idle(group={"namedPorts": other}), group={**GROUP, **ports})
        assert "edge-green --named-ports=http:8080" in found(without)["second-group-without-port"]


def test_what_would_change_the_other_group_is_named_too() -> None:
    scaled = with_idle(autoscaler={**AUTOSCALER, "autoscalingPolicy": {"mode": "ON"}})
    assert "edge-green" in found(scaled)["autoscaler-on"]
    missing = facts(idle=facts(group_name="edge-green", group=None, vms=[], agents={}))
    assert "no managed instance group edge-green" in found(missing)["group-missing"]
