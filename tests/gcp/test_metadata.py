"""The metadata server of a VM, and what a preempted VM learns from it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.gcp.fakes import Fake, Json, running, until
from tests.gcp.worlds import ZONE, template, world

FLAVOR = {"Metadata-Flavor": "Google"}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    spec = world(size=2)
    patient = template("web-v1", 'echo "$GCE_METADATA_HOST" > host; trap "exit" TERM; sleep 3600 & wait')
    patient["properties"]["metadata"]["items"].append({"key": "shutdown-script", "value": "echo bye > last"})
    patient["properties"]["scheduling"] = {"gracefulShutdown": {"enabled": True, "maxDuration": {"seconds": "100"}}}
    spec["resources"]["global/instanceTemplates"][0] = patient
    del spec["resources"][f"zones/{ZONE}/instanceGroupManagers"][0]["autoHealingPolicies"]
    with running(spec, tmp_path_factory.mktemp("fake")) as made:
        yield made


def vms(fake: Fake) -> list[Json]:
    return until(lambda: [vm for vm in fake.state()["vms"] if vm["status"] == "RUNNING"], "running VMs")


def asked(vm: Json, path: str, **more: str) -> httpx.Response:
    host = path_of(vm, "host").read_text("utf-8").strip()
    return httpx.get(f"http://{host}/computeMetadata/v1/{path}", headers=FLAVOR, params=more, timeout=20)


def written(fake: Fake) -> Json:
    """A VM whose startup script has run."""

    def found() -> list[Json]:
        hosts = [(vm, path_of(vm, "host")) for vm in vms(fake)]
        return [vm for vm, host in hosts if host.exists() and host.read_text("utf-8")]

    return until(found, "the startup script")[0]


def test_a_vm_reads_about_itself(fake: Fake) -> None:
    vm = written(fake)
    assert asked(vm, "instance/name").text == vm["name"]
    assert asked(vm, "instance/network-interfaces/0/ip").text == vm["address"]
    assert asked(vm, "instance/attributes/instance-template").text == "projects/shop/global/instanceTemplates/web-v1"
    assert asked(vm, "instance/attributes/shutdown-script").text == "echo bye > last"
    assert asked(vm, "instance/preempted").text == "FALSE"
    assert "instance/" in asked(vm, "").text.split()
    assert "startup-script" in asked(vm, "instance/attributes/").text.split()
    answer = asked(vm, "instance/attributes/none")
    assert answer.status_code == 404
    assert answer.headers["Metadata-Flavor"] == "Google"


def test_a_request_without_the_header_is_refused(fake: Fake) -> None:
    host = path_of(written(fake), "host").read_text("utf-8").strip()
    assert httpx.get(f"http://{host}/computeMetadata/v1/instance/name").status_code == 403


def test_a_preempted_vm_is_told_and_stopped_after_its_shutdown_script(fake: Fake) -> None:
    vm = written(fake)
    heard: list[str] = []
    unchanged = asked(vm, "instance/preempted", wait_for_change="true", timeout_sec="0.2")
    assert unchanged.text == "FALSE"
    etag = unchanged.headers["ETag"]
    waiting = threading.Thread(
        target=lambda: heard.append(asked(vm, "instance/preempted", wait_for_change="true", last_etag=etag).text)
    )
    waiting.start()
    fake.fault(do="preempt", instance=vm["name"])
    waiting.join()
    assert heard == ["TRUE"]
    until(lambda: path_of(vm, "last").exists(), "the shutdown script")


def test_a_graceful_shutdown_is_announced_before_anything_is_stopped(fake: Fake) -> None:
    vm = written(fake)
    key = "instance/shutdown-details/stop-state"
    assert asked(vm, key).status_code == 404
    body = {"instances": [f"zones/{ZONE}/instances/{vm['name']}"]}
    assert fake.call("POST", f"zones/{ZONE}/instanceGroupManagers/web/deleteInstances", body).status_code == 200
    until(lambda: asked(vm, key, wait_for_change="true", last_etag="0").text == "PENDING_STOP", "the notice")
    (seen,) = [each for each in fake.state()["vms"] if each["address"] == vm["address"]]
    assert seen["status"] == "PENDING_STOP"
    assert not path_of(vm, "last").exists()
    until(lambda: path_of(vm, "last").exists(), "the shutdown script, after the graceful period")


def path_of(vm: Json, name: str) -> Path:
    return Path(vm["folder"]) / name
