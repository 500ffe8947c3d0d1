"""Real requests through the fake's balancer while the group deletes an instance: the drain is what saves them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, left_running, running, until
from tests.gcp.worlds import world

SECONDS = 2.5
"""That an upload takes."""
CHUNKS = 25


@dataclass
class Uploads:
    """Slow uploads at once, each on a connection of its own, so that both instances have some."""

    address: str
    answers: list[str]

    def __init__(self, address: str, count: int) -> None:
        self.address = address
        self.answers = []
        self.begun = 0
        self._threads = [threading.Thread(target=self._one) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _one(self) -> None:
        host, port = self.address.split(":")
        try:
            with socket.create_connection((host, int(port)), timeout=20) as line:
                line.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {CHUNKS * 1000}\r\n\r\n".encode())
                for _ in range(CHUNKS):
                    line.sendall(b"x" * 1000)
                    self.begun += 1
                    time.sleep(SECONDS / CHUNKS)  # the pace of a slow client
                self.answers.append(line.recv(4096).decode().partition("\r\n")[0])
        except OSError as error:
            self.answers.append(type(error).__name__)

    def finished(self) -> list[str]:
        for thread in self._threads:
            thread.join()
        return self.answers


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    with running(world(), tmp_path_factory.mktemp("fake")) as made:
        yield made


def lost(fake: Fake, drain: int) -> int:
    """Of four uploads under way when one of two instances is deleted. `drain`: seconds, fifty times as fast."""
    service = "global/backendServices/web"
    draining = {"drainingTimeoutSec": drain}
    assert fake.call("PATCH", service, {"connectionDraining": draining}).status_code == 200
    until(lambda: fake.call("GET", service).json()["connectionDraining"] == draining, "the drain time")
    group = ZonalGroup(fake)
    group.wait(group.resize(2))
    victim = min(group.serving(2))
    uploads = Uploads(fake.address("web"), 4)
    until(lambda: uploads.begun >= 8, "uploads under way")
    group.wait(group.delete(victim))
    answers = uploads.finished()
    assert len(answers) == 4
    return sum("200" not in answer for answer in answers)


def test_a_deletion_without_a_drain_loses_the_uploads_of_its_instance(fake: Fake) -> None:
    assert lost(fake, 0) == 2


def test_a_drain_that_is_shorter_than_the_uploads_loses_them_too(fake: Fake) -> None:
    assert lost(fake, 1) == 2


def test_a_drain_that_is_longer_than_the_uploads_loses_none(fake: Fake) -> None:
    assert lost(fake, 300) == 0


@pytest.mark.parametrize("killed", [True, False], ids=["SIGKILL", "SIGTERM"])
def test_nothing_outlives_the_fake(tmp_path: Path, killed: bool) -> None:
    script = f"(setsid sleep 3600 &) ; sleep 3601 & cd {tmp_path}; exec sleep 3602"
    spec = world()
    spec["resources"]["global/instanceTemplates"][0]["properties"]["metadata"]["items"][0]["value"] = script
    fake = Fake(spec, tmp_path)
    until(lambda: len([each for each in left_running(tmp_path) if each.startswith("sleep")]) == 6, "the VMs' processes")
    assert any("haproxy" in each for each in left_running(tmp_path))
    if killed:
        fake.kill()
    else:
        assert fake.stop() == 0
    until(lambda: not left_running(tmp_path), "every process to be gone", 5)


def test_a_balancer_that_is_changed_loses_no_request_and_follows_its_groups(tmp_path: Path) -> None:
    with running(world(drain=100), tmp_path) as fake:
        group = ZonalGroup(fake)
        group.serving(2)
        address, answers = f"http://{fake.address('web')}/", list[int]()
        ended = threading.Event()

        def ask() -> None:
            with httpx.Client(trust_env=False) as client:  # a connection for each request, or none would be refused
                while not ended.is_set():
                    answers.append(client.get(address, headers={"Connection": "close"}).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        service = "global/backendServices/web"
        assert fake.call("PATCH", service, {"timeoutSec": 77}).status_code == 200
        until(lambda: fake.call("GET", service).json().get("timeoutSec") == 77, "the change")
        group.serving(2)
        begun = len(answers)
        until(lambda: len(answers) > begun + 20, "requests after it")
        ended.set()
        asking.join()
        assert set(answers) == {200}
        assert fake.call("PATCH", service, {"backends": []}).status_code == 200
        until(lambda: fake.http.get(address).status_code == 503, "the service without backends")


def test_the_groups_own_updater_loses_what_lasts_longer_than_the_drain(tmp_path: Path) -> None:
    policy = {"type": "PROACTIVE", "maxSurge": {"fixed": 2}, "maxUnavailable": {"fixed": 0}}
    with running(world(drain=0, updatePolicy=policy), tmp_path) as fake:
        group = ZonalGroup(fake)
        group.serving(2)
        uploads = Uploads(fake.address("web"), 4)
        until(lambda: uploads.begun >= 8, "uploads under way")
        group.wait(group.patch(versions=[{"name": "v2", "instance_template": "global/instanceTemplates/web-v2"}]))
        assert ["200" in answer for answer in uploads.finished()] == [False] * 4


def test_a_lame_duck_gets_requests_for_as_long_as_its_failed_check_propagates(tmp_path: Path) -> None:
    spec = world()
    spec["delays"] = {"propagation": 50}
    with running(spec, tmp_path) as fake:
        group = ZonalGroup(fake)
        lame = min(group.serving(2))
        (vm,) = [vm for vm in fake.state()["vms"] if vm["name"] == lame]
        address = f"http://{fake.address('web')}/"

        def served() -> set[str]:
            return {fake.http.get(address).text.rpartition("-")[0] for _ in range(4)}

        (Path(vm["folder"]) / "lame").touch()
        until(lambda: lame not in group.healthy(), "getHealth to tell")
        assert lame in served()
        until(lambda: lame not in served(), "the last request")
        assert group.instances()[lame].current_action == "NONE", "autohealing has another check"
