"""Faults of the fake on demand: what goes wrong with Google's API, and what became of the call."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest
import requests
from google.api_core.exceptions import Forbidden, InternalServerError, ServiceUnavailable, TooManyRequests
from google.cloud import compute_v1
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, running, until
from tests.gcp.worlds import ZONE, world

CREATE = "instanceGroupManagers.createInstances"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(world(), tmp_path_factory.mktemp("fake")) as made:
        yield made


@pytest.fixture
def group(fake: Fake) -> Iterator[ZonalGroup]:
    """With two instances, before and after, and no fault left."""
    made = ZonalGroup(fake)
    made.serving(2)
    yield made
    assert fake.http.delete("/fake/faults").json() == []
    made.wait(made.resize(2))
    until(lambda: made.get().status.is_stable, "a stable group")


def test_an_error_before_the_effect_leaves_nothing_behind(fake: Fake, group: ZonalGroup) -> None:
    for error, expected in (("rateLimitExceeded", Forbidden), ("tooManyRequests", TooManyRequests)):
        fake.fault(do="error", on=CREATE, error=error)
        with pytest.raises(expected) as refused:
            group.create("web-none")
        assert refused.value.errors[0]["reason"] == "rateLimitExceeded"
    assert group.get().target_size == 2
    assert "web-none" not in group.instances()


def test_an_error_after_the_effect_is_found_again_by_its_request_id(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="error", on=CREATE, error=503, when="after")
    request_id = str(uuid4())
    with pytest.raises(ServiceUnavailable):
        group.create("web-done", request_id=request_id)
    operation = group.wait(group.create("web-done", request_id=request_id))
    assert not operation.error.errors
    assert group.get().target_size == 3
    assert len(fake.log(CREATE)) >= 2


def test_a_dropped_connection_after_the_effect_is_no_answer_at_all(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="drop", on="instanceGroupManagers.create*", when="after")
    with pytest.raises(requests.exceptions.ConnectionError):
        group.create("web-lost")
    until(lambda: "web-lost" in group.instances(), "the instance of the call without an answer")
    assert fake.log(CREATE)[-1]["status"] == "dropped"


def test_a_dropped_connection_before_the_effect_has_none(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="drop", on="instanceGroupManagers.resize")
    with pytest.raises(requests.exceptions.ConnectionError):
        group.resize(5)
    assert group.get().target_size == 2


@pytest.mark.parametrize("bare", [False, True])
def test_an_operation_may_end_with_an_error_and_without_a_status(fake: Fake, group: ZonalGroup, bare: bool) -> None:
    fake.fault(do="operation", on=CREATE, code="QUOTA_EXCEEDED", bare=bare)
    operation = group.wait(group.create("web-refused"))
    assert operation.error.errors[0].code == "QUOTA_EXCEEDED"
    assert bool(operation.http_error_status_code) is not bare
    assert "web-refused" not in group.instances()


@pytest.mark.parametrize(("error", "code"), [("stockout", "ZONE_RESOURCE_POOL_EXHAUSTED"), ("quota", "QUOTA_EXCEEDED")])
def test_a_creation_that_fails_is_tried_again_and_its_error_shown(
    fake: Fake, group: ZonalGroup, error: str, code: str
) -> None:
    fake.fault(do="creation", group="web", error=error, times=None)
    name = f"web-{error}"
    group.wait(group.create(name))
    until(lambda: group.instances()[name].last_attempt.errors.errors, "the error of the attempt")
    seen = group.instances()[name]
    assert seen.last_attempt.errors.errors[0].code == code
    assert seen.current_action == "CREATING"
    assert not seen.instance_status
    errors = fake.call("GET", f"zones/{ZONE}/instanceGroupManagers/web/listErrors").json()["items"]
    assert errors[0]["error"]["code"] == code
    assert errors[0]["instanceActionDetails"]["action"] == "CREATING"
    fake.http.delete("/fake/faults")
    assert name in group.serving(3)


def test_a_sick_vm_runs_and_is_never_healthy(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="unhealthy", instance="web-sick*", times=None)
    group.wait(group.create("web-sick"))
    until(lambda: group.instances()["web-sick"].current_action == "VERIFYING", "the VM to run")
    assert group.instances()["web-sick"].instance_status == "RUNNING"
    health = group.health()
    assert health["web-sick"] == "UNHEALTHY"
    assert sorted(health.values()) == ["HEALTHY", "HEALTHY", "UNHEALTHY"]
    assert not group.get().status.is_stable
    group.wait(group.delete("web-sick"))


def test_health_may_be_empty_or_stale(fake: Fake, group: ZonalGroup) -> None:
    before = group.health()
    fake.fault(do="health", service="web", answer="empty")
    assert group.health() == {}
    assert group.health() == before
    fake.fault(do="health", service="web", answer="stale", times=None)
    group.wait(group.create("web-unseen"))
    until(lambda: group.instances()["web-unseen"].current_action == "NONE", "the new instance")
    assert group.health() == before
    fake.http.delete("/fake/faults")
    until(lambda: "web-unseen" in group.health(), "the present health")


def test_a_wait_may_return_before_the_operation_is_done(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="wait")
    fake.fault(do="slow", on="instanceGroupManagers.resize", seconds=100)
    operation = group.wait_once(group.resize(3))
    assert operation.status == compute_v1.Operation.Status.RUNNING
    assert group.wait(operation).status == compute_v1.Operation.Status.DONE


def test_somebody_else_resizes_right_before_a_call(fake: Fake, group: ZonalGroup) -> None:
    path = f"projects/shop/zones/{ZONE}/instanceGroupManagers/web"
    fake.fault(do="act", on="instanceGroupManagers.patch", verb="POST", path=f"{path}/resize?size=4")
    old = group.get().fingerprint
    with pytest.raises(Exception, match="Invalid fingerprint"):
        group.patch(fingerprint=old, list_managed_instances_results="PAGELESS")
    assert group.get().target_size == 4


def test_a_fault_may_let_calls_pass_first(fake: Fake, group: ZonalGroup) -> None:
    fake.fault(do="error", on="instanceGroupManagers.list", error=500, skip=1, times=2)
    url = f"zones/{ZONE}/instanceGroupManagers"
    assert [fake.call("GET", url).status_code for _ in range(4)] == [200, 500, 500, 200]
    fake.fault(do="error", on="instanceGroupManagers.get", error=500)
    with pytest.raises(InternalServerError, match="Backend Error"):
        group.get()


def test_a_fault_that_there_is_not_is_refused(fake: Fake) -> None:
    for spec, word in (({"do": "explode"}, "explode"), ({"do": "drop", "one": "x"}, "on, one")):
        answer = fake.http.post("/fake/faults", json=spec)
        assert (answer.status_code, word in answer.text) == (400, True)


@pytest.mark.parametrize(("when", "size"), [("before", 2), ("after", 3)])
def test_a_client_dies_before_or_after_the_effect_of_its_call(
    fake: Fake, group: ZonalGroup, when: str, size: int
) -> None:
    url = f"{fake.endpoint}/compute/v1/projects/shop/zones/{ZONE}/instanceGroupManagers/web/resize?size=3"
    script = "import sys, urllib.request as u; sys.stdin.readline(); u.urlopen(u.Request(sys.argv[1], method='POST'))"
    client = subprocess.Popen([sys.executable, "-c", script, url], stdin=subprocess.PIPE)
    fake.fault(do="kill_client", on="instanceGroupManagers.resize", when=when, pid=client.pid)
    client.communicate(b"go\n", timeout=20)
    assert client.returncode == -signal.SIGKILL
    calls = fake.log("instanceGroupManagers.resize")
    assert calls[-1]["status"] == "dropped"
    assert ("operation" in calls[-1]) is (when == "after")
    until(lambda: group.get().target_size == size, "the size")
