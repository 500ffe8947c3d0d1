"""Hollow machines of the fake: a group of hundreds without a process, for what a controller costs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from tests.gcp.clients import ZonalGroup
from tests.gcp.fakes import Fake, Json, free_port, running, until
from tests.gcp.worlds import world

SIZE = 300
TOKEN = {"Authorization": "Bearer secret"}


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fake]:
    spec = world(size=SIZE)
    port = free_port()
    spec["hollow"] = {"agent_port": port, "token": "secret", "requests": 3, "drains": 25}
    ready = {"name": "ready", "type": "HTTP", "httpHealthCheck": {"port": port, "requestPath": "/readyz"}}
    spec["resources"]["global/healthChecks"][1] = ready
    with running(spec, tmp_path_factory.mktemp("fake")) as made:
        yield made


def agent(fake: Fake, vm: Json, verb: str, path: str, body: Json | None = None) -> httpx.Response:
    port = fake.world["hollow"]["agent_port"]
    return fake.http.request(verb, f"http://{vm['address']}:{port}{path}", headers=TOKEN, json=body)


def test_hundreds_of_instances_are_listed_healthy_and_drained(fake: Fake) -> None:
    group = ZonalGroup(fake)
    names = group.serving(SIZE)
    vm = next(vm for vm in fake.state()["vms"] if vm["name"] == min(names))
    assert agent(fake, vm, "GET", "/readyz").status_code == 200
    assert fake.http.get(f"http://{vm['address']}:{fake.world['hollow']['agent_port']}/v1/status").status_code == 401
    status = agent(fake, vm, "GET", "/v1/status").json()
    assert (status["name"], status["ready"], status["in_flight"]["requests"]) == (vm["name"], True, 3)
    assert agent(fake, vm, "PUT", "/v1/lame-duck", {"on": True}).json()["lame_duck"] is True
    assert agent(fake, vm, "GET", "/readyz").status_code == 503
    until(lambda: group.health()[vm["name"]] == "UNHEALTHY", "the balancer to see the lame duck")
    until(lambda: agent(fake, vm, "GET", "/v1/status").json()["in_flight"]["requests"] == 0, "the requests to end")
    group.wait(group.delete(vm["name"]))
    until(lambda: vm["name"] not in group.instances(), "the instance to be gone")
    assert agent(fake, vm, "GET", "/v1/status").status_code == 404


def test_an_answer_takes_the_latency_of_the_world(tmp_path_factory: pytest.TempPathFactory) -> None:
    spec = world(size=0)
    spec["latency"] = 0.2
    with running(spec, tmp_path_factory.mktemp("late")) as fake:
        began = time.monotonic()
        assert fake.call("GET", "zones").status_code == 200
        assert time.monotonic() - began >= 0.2
