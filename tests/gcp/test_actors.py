"""What Google's engine does by itself: autohealing, autoscaling, and what a group does about a VM that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.worlds import ZONE, world

GROUP = f"zones/{ZONE}/instanceGroupManagers/web"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    spec = world(autoHealingPolicies=[{"healthCheck": "global/healthChecks/ready", "initialDelaySec": 300}])
    spec["resources"][f"zones/{ZONE}/autoscalers"] = [
        {
            "name": "web",
            "target": GROUP,
            "autoscalingPolicy": {"minNumReplicas": 1, "maxNumReplicas": 4, "mode": "ON"},
        }
    ]
    spec["delays"] = {"autoscale": 5}
    with running(spec, tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture
def group(fake: Fake) -> Iterator[ZonalGroup]:
    made = ZonalGroup(fake)
    made.serving(2)
    yield made
    fake.http.delete("/fake/faults")
    fake.actors(autohealer=True, autoscaler=True)
    made.wait(made.patch(target_size=2))
    made.serving(2)


def vm(fake: Fake, name: str) -> Json | None:
    return next((each for each in fake.state()["vms"] if each["name"] == name), None)


def test_a_lame_duck_is_recreated_where_autohealing_has_the_balancers_check(fake: Fake, group: ZonalGroup) -> None:
    lame = min(group.instances())
    before = vm(fake, lame)
    assert before is not None
    (Path(before["folder"]) / "lame").touch()
    until(lambda: group.instances()[lame].current_action == "RECREATING", "autohealing")
    group.serving(2)
    after = vm(fake, lame)
    assert after is not None
    assert after["address"] != before["address"], "the name is the same, the VM is another"


def test_a_lame_duck_lives_where_the_group_does_nothing_about_a_failed_check(fake: Fake, group: ZonalGroup) -> None:
    group.wait(group.patch(instance_lifecycle_policy={"on_failed_health_check": "DO_NOTHING"}))
    lame = min(group.instances())
    before = vm(fake, lame)
    assert before is not None
    (Path(before["folder"]) / "lame").touch()

    def state() -> str:
        return str(group.instances()[lame].instance_health[0].detailed_health_state)

    until(lambda: state() == "UNHEALTHY", "the failed check")
    assert group.instances()[lame].current_action == "NONE"
    assert group.get().status.is_stable
    group.wait(group.patch(instance_lifecycle_policy={"on_failed_health_check": "DEFAULT_ACTION"}))
    until(lambda: group.instances()[lame].current_action == "RECREATING", "autohealing again")


def test_a_vm_that_loses_its_power_is_made_again_under_its_name(fake: Fake, group: ZonalGroup) -> None:
    name = min(group.instances())
    number = group.instances()[name].id
    fake.fault(do="kill", instance=name)
    until(lambda: group.instances()[name].id not in {0, number}, "another VM")


def test_without_an_autohealer_it_stays_dead(fake: Fake, group: ZonalGroup) -> None:
    fake.actors(autohealer=False)
    name = min(group.instances())
    fake.fault(do="kill", instance=name)
    until(lambda: name not in group.healthy(), "the balancer's check to fail")
    assert group.instances()[name].instance_status == "TERMINATED"
    assert group.instances()[name].current_action == "NONE"


def test_an_instance_that_is_deleted_behind_the_groups_back_is_made_again(fake: Fake, group: ZonalGroup) -> None:
    name = min(group.instances())
    number = group.instances()[name].id
    assert fake.call("DELETE", f"zones/{ZONE}/instances/{name}").status_code == 200
    until(lambda: group.instances()[name].id not in {0, number}, "another VM")
    assert group.get().target_size == 2


def test_the_autoscaler_resizes_within_its_bounds(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="load", group="web", size=9, times=None)
    until(lambda: group.get().target_size == 4, "the autoscaler")
    assert fake.call("GET", f"zones/{ZONE}/autoscalers/web").json()["recommendedSize"] == 4
    assert group.get().status.autoscaler.endswith("/autoscalers/web")


def test_an_autoscaler_that_is_off_lets_the_group_alone(fake: Fake, group: ZonalGroup) -> None:
    patched = fake.call("PATCH", f"zones/{ZONE}/autoscalers?autoscaler=web", {"autoscalingPolicy": {"mode": "OFF"}})
    until(lambda: fake.call("GET", operation(patched.json())).json()["status"] == "DONE", "the change")
    fake.fault(do="load", group="web", size=3, times=None)
    until(lambda: fake.call("GET", f"zones/{ZONE}/autoscalers/web").json()["recommendedSize"] == 3, "its look")
    assert group.get().target_size == 2


def operation(answer: Json) -> str:
    """Below the project."""
    return str(answer["selfLink"]).split("/shop/")[1]
