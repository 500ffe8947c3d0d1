"""A zonal group of the fake, driven by Google's own client; every message is compared with Google's schema."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from google.api_core.exceptions import BadRequest, NotFound, PreconditionFailed
from google.cloud import compute_v1
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.worlds import ZONE, world


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(world(), tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture
def group(fake: Fake) -> Iterator[ZonalGroup]:
    """With two instances, before and after."""
    made = ZonalGroup(fake)
    made.serving(2)
    yield made
    made.wait(made.resize(2))
    until(lambda: made.get().status.is_stable, "a stable group")


def test_an_operation_is_done_long_before_its_instance_serves(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="hold", action="CREATING", instance="web-new", times=None)
    operation = group.create("web-new")
    assert operation.status == compute_v1.Operation.Status.RUNNING
    done = group.wait(operation)
    assert done.progress == 100
    assert not done.error.errors
    assert group.instances()["web-new"].current_action == "CREATING"
    assert not group.instances()["web-new"].instance_status
    assert group.get().target_size == 3
    assert not group.get().status.is_stable
    fake.http.delete("/fake/faults")
    assert "web-new" in group.serving(3)
    assert group.get().status.is_stable


def test_a_deleted_instance_leaves_the_balancer_and_then_the_group(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="hold", action="DELETING", instance="web-short", times=None)
    group.wait(group.create("web-short"))
    assert "web-short" in group.serving(3)
    group.wait(group.delete("web-short"))
    assert group.get().target_size == 2
    seen = group.instances()["web-short"]
    assert seen.current_action == "DELETING"
    assert not seen.version.instance_template
    assert "web-short" not in group.health()
    fake.http.delete("/fake/faults")
    until(lambda: "web-short" not in group.instances(), "the instance to be gone")
    group.serving(2)


def test_the_same_request_id_is_the_same_operation(group: ZonalGroup) -> None:
    request_id = str(uuid4())
    first = group.create("web-once", request_id=request_id)
    again = group.create("web-once", request_id=request_id)
    assert again.name == first.name
    assert again.client_operation_id == request_id
    assert not group.wait(again).error.errors
    assert group.get().target_size == 3


def test_a_name_that_is_taken_is_an_error_of_the_operation(group: ZonalGroup) -> None:
    group.wait(group.create("web-twice"))
    operation = group.wait(group.create("web-twice"))
    assert operation.http_error_status_code == 409
    assert "web-twice" in operation.error.errors[0].message
    assert group.get().target_size == 3


def test_a_change_with_an_old_fingerprint_is_refused(group: ZonalGroup) -> None:
    old = group.get().fingerprint
    group.wait(group.patch(fingerprint=old, list_managed_instances_results="PAGELESS"))
    assert group.get().fingerprint != old
    with pytest.raises(PreconditionFailed, match="fingerprint"):
        group.patch(fingerprint=old, list_managed_instances_results="PAGELESS")


def test_what_is_not_there_is_not_found(group: ZonalGroup) -> None:
    with pytest.raises(BadRequest, match="not a member"):
        group.delete("web-unknown")
    with pytest.raises(NotFound, match="web-v9"):
        group.patch(versions=[{"instance_template": "global/instanceTemplates/web-v9"}])


def test_an_opportunistic_group_makes_new_instances_of_the_new_template_alone(group: ZonalGroup) -> None:
    before = {name: each.version.instance_template for name, each in group.instances().items()}
    template = "global/instanceTemplates/web-v2"
    group.wait(group.patch(versions=[{"name": "v2", "instance_template": template}]))
    group.wait(group.create("web-second"))
    group.serving(3)
    found = {name: each.version.instance_template for name, each in group.instances().items()}
    assert found.pop("web-second").endswith("/web-v2")
    assert found == before
    status = group.get().status
    assert status.is_stable
    assert not status.version_target.is_reached


def test_the_groups_own_updater_replaces_every_instance(group: ZonalGroup) -> None:
    old = {name for name, each in group.instances().items() if each.version.instance_template.endswith("/web-v1")}
    assert old
    group.wait(
        group.patch(
            versions=[{"name": "v2", "instance_template": "global/instanceTemplates/web-v2"}],
            update_policy={"type_": "PROACTIVE", "max_surge": {"fixed": 1}, "max_unavailable": {"fixed": 0}},
        )
    )

    def reached() -> bool:
        status = group.get().status
        return bool(status.version_target.is_reached and status.is_stable)

    until(reached, "the version target")
    assert old.isdisjoint(group.instances())
    assert len(group.instances()) == 2


def test_the_log_has_every_call(fake: Fake, group: ZonalGroup) -> None:
    before = len(fake.log("instanceGroupManagers.get"))
    group.get()
    calls = fake.log("instanceGroupManagers.get")
    assert len(calls) == before + 1
    assert calls[-1]["args"] == {"project": "shop", "zone": ZONE, "instanceGroupManager": "web"}
    assert calls[-1]["status"] == 200
