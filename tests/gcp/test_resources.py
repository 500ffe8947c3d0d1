"""Pages and filters, instances that leave a group in other ways, and resources that are in use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.worlds import ZONE, world

MANAGER = f"zones/{ZONE}/instanceGroupManagers/web"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(world(size=3), tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture
def group(fake: Fake) -> ZonalGroup:
    made = ZonalGroup(fake)
    made.wait(made.resize(3))
    made.serving(3)
    return made


def done(fake: Fake, answer: Json) -> Json:
    """An operation, when it is done."""
    path = str(answer["selfLink"]).split("/shop/")[1]
    until(lambda: fake.call("GET", path).json()["status"] == "DONE", "the operation")
    return dict(fake.call("GET", path).json())


def test_managed_instances_have_pages_only_where_the_group_says_so(fake: Fake, group: ZonalGroup) -> None:
    url = f"{MANAGER}/listManagedInstances"
    whole = fake.call("POST", f"{url}?maxResults=2").json()
    assert len(whole["managedInstances"]) == 3
    assert "nextPageToken" not in whole
    group.wait(group.patch(list_managed_instances_results="PAGINATED"))
    first = fake.call("POST", f"{url}?maxResults=2").json()
    second = fake.call("POST", f"{url}?maxResults=2&pageToken={first['nextPageToken']}").json()
    assert [len(page["managedInstances"]) for page in (first, second)] == [2, 1]
    assert "nextPageToken" not in second
    assert set(group.instances()) == {each["name"] for each in whole["managedInstances"]}
    group.wait(group.patch(list_managed_instances_results="PAGELESS"))


def test_a_list_is_filtered_and_an_unknown_filter_is_refused(fake: Fake, group: ZonalGroup) -> None:
    url = "global/instanceTemplates?filter="
    names = [each["name"] for each in fake.call("GET", f"{url}name = web-v2").json()["items"]]
    assert names == ["web-v2"]
    assert [each["name"] for each in fake.call("GET", f"{url}name eq web-.*").json()["items"]] == ["web-v1", "web-v2"]
    assert fake.call("GET", f"{url}name : web").status_code == 501


def test_an_abandoned_instance_leaves_the_group_and_lives(fake: Fake, group: ZonalGroup) -> None:
    name = min(group.instances())
    done(fake, fake.call("POST", f"{MANAGER}/abandonInstances", {"instances": [url_of(name)]}).json())
    until(lambda: name not in group.instances(), "the group without it")
    assert group.get().target_size == 2
    assert name not in group.healthy()
    assert fake.call("GET", url_of(name)).json()["status"] == "RUNNING"
    done(fake, fake.call("DELETE", url_of(name)).json())
    assert fake.call("GET", url_of(name)).status_code == 404


def test_a_recreated_instance_has_its_name_and_the_present_template(fake: Fake, group: ZonalGroup) -> None:
    name = min(group.instances())
    before = group.instances()[name]
    group.wait(group.patch(versions=[{"name": "v2", "instance_template": "global/instanceTemplates/web-v2"}]))
    fake.fault(do="hold", action="RECREATING", instance=name, times=None)
    done(fake, fake.call("POST", f"{MANAGER}/recreateInstances", {"instances": [url_of(name)]}).json())
    assert group.instances()[name].current_action == "RECREATING"
    fake.http.delete("/fake/faults")
    group.serving(3)
    after = group.instances()[name]
    assert after.id != before.id
    assert after.version.name == "v2"
    assert fake.call("POST", f"{MANAGER}/applyUpdatesToInstances", {"allInstances": True}).status_code == 200
    until(lambda: group.get().status.version_target.is_reached, "the version target")
    group.serving(3)
    assert group.instances()[name].id == after.id, "it was up to date"


def test_a_canary_version_has_its_share_of_the_instances(fake: Fake, group: ZonalGroup) -> None:
    versions = [
        {"name": "v1", "instance_template": "global/instanceTemplates/web-v1"},
        {"name": "v2", "instance_template": "global/instanceTemplates/web-v2", "target_size": {"fixed": 1}},
    ]
    group.wait(group.patch(versions=versions, update_policy={"type_": "PROACTIVE"}))
    until(lambda: group.get().status.version_target.is_reached and group.get().status.is_stable, "the canary")
    assert sorted(each.version.name for each in group.instances().values()) == ["v1", "v1", "v2"]
    assert [version.target_size.calculated for version in group.get().versions] == [2, 1]
    group.wait(group.patch(update_policy={"type_": "OPPORTUNISTIC"}))


def test_a_group_is_made_and_deleted_with_its_instances(fake: Fake) -> None:
    groups, template = f"zones/{ZONE}/instanceGroupManagers", "global/instanceTemplates/web-v1"
    body = {"name": "side", "baseInstanceName": "side", "targetSize": 1, "instanceTemplate": template}
    assert fake.call("POST", groups, {**body, "targetSize": -1, "updatePolicy": {}}).status_code == 400
    done(fake, fake.call("POST", groups, body).json())
    until(lambda: fake.call("GET", f"{groups}/side").json()["status"]["isStable"], "its instance")
    assert fake.call("GET", f"{groups}?filter=name = side").json()["items"][0]["currentActions"]["none"] == 1
    assert [vm["name"][:5] for vm in fake.state()["vms"] if vm["name"].startswith("side")] == ["side-"]
    done(fake, fake.call("DELETE", f"{groups}/side").json())
    assert fake.call("GET", f"{groups}/side").status_code == 404
    assert not [vm for vm in fake.state()["vms"] if vm["name"].startswith("side")]


def test_what_is_in_use_cannot_be_deleted(fake: Fake, group: ZonalGroup) -> None:
    for path in ("global/instanceTemplates/web-v1", "global/healthChecks/ready", "global/backendServices/web", MANAGER):
        refused = fake.call("DELETE", path)
        assert refused.status_code == 400, path
        assert refused.json()["error"]["errors"][0]["reason"] == "resourceInUseByAnotherResource"


def test_a_template_is_made_once_and_never_changed(fake: Fake) -> None:
    body = {"name": "web-v3", "properties": {"machineType": "e2-small"}}
    assert done(fake, fake.call("POST", "global/instanceTemplates", body).json())["progress"] == 100
    again = fake.call("POST", "global/instanceTemplates", body)
    assert (again.status_code, again.json()["error"]["errors"][0]["reason"]) == (409, "alreadyExists")
    assert done(fake, fake.call("DELETE", "global/instanceTemplates/web-v3").json())["progress"] == 100
    assert fake.call("GET", "global/instanceTemplates/web-v3").status_code == 404


def test_the_instance_group_has_the_instances_that_are_not_leaving(fake: Fake, group: ZonalGroup) -> None:
    path = f"zones/{ZONE}/instanceGroups/web"
    assert fake.call("GET", path).json()["size"] == 3
    listed = fake.call("POST", f"{path}/listInstances", {"instanceState": "RUNNING"}).json()["items"]
    assert {each["instance"].rpartition("/")[2] for each in listed} == set(group.instances())
    (item,) = fake.call("GET", f"zones/{ZONE}/instances?maxResults=1").json()["items"]
    assert item["metadata"]["items"][-1]["key"] == "created-by"


def test_zones_regions_and_the_project_are_there(fake: Fake) -> None:
    assert fake.call("GET", f"zones/{ZONE}").json()["region"].endswith("/regions/europe-west1")
    assert len(fake.call("GET", "regions/europe-west1").json()["zones"]) == 3
    assert len(fake.call("GET", "zones").json()["items"]) == 3
    assert fake.http.get("/compute/v1/projects/shop").json()["name"] == "shop"
    assert fake.http.get("/compute/v1/projects/other").status_code == 403


def url_of(name: str) -> str:
    return f"zones/{ZONE}/instances/{name}"
