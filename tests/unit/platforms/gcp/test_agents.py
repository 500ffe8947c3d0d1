"""What the controller makes of an agent's answers, and what it sends."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from changeover.hops import registry
from changeover.kit import http
from changeover.model.instance import Address, InFlight, Instance, Upload
from changeover.model.platform import AgentSettings
from changeover.platforms.gcp.agents import Agents
from changeover.platforms.gcp.answers import connections_of, in_flight_of
from changeover.platforms.gcp.hop import AgentHop, RoutingAgentHop
from changeover.ports import Unknown

VM = Instance("edge-v2-3", "edge", "v2", Address("10.0.0.7", 443), Address("10.0.0.7", 9180))
STATUS = {"format": 1, "name": VM.name, "ready": True, "lame_duck": False, "reason": None, "unknown": None}
TOKEN = "CHANGEOVER_TEST_TOKEN"


class Vm:
    """Its agent: what it was asked, and what it answers."""

    def __init__(self, **status: Any) -> None:
        self.status: dict[str, Any] = {**STATUS, **status}
        self.code = 200
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.code != 200:
            return httpx.Response(self.code, json={"error": "this call needs the token", "next": ""})
        if request.url.path == "/v1/lame-duck":
            self.status["lame_duck"] = json.loads(request.content)["on"]
        if request.url.path.startswith("/v1/members/") and request.method == "PUT":
            self.status["members"] = {"runtime": hashlib.sha256(request.content).hexdigest()}
        return httpx.Response(200, json=self.status)

    @property
    def agents(self) -> Agents:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return Agents(client, AgentSettings.model_validate({"token_env": TOKEN}))


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, "secret-token")


def not_ready(vm: Vm) -> str:
    return asyncio.run(AgentHop(registry.known_hops()["nginx"], vm.agents).not_ready(VM, 1.0))


def test_it_is_ready_when_its_agent_says_so_and_asked_with_the_token() -> None:
    vm = Vm()
    assert not_ready(vm) == ""
    assert str(vm.asked[0].url) == "http://10.0.0.7:9180/v1/status"
    assert vm.asked[0].headers["authorization"] == "Bearer secret-token"
    assert not_ready(Vm(ready=False, reason="lame duck, asked")) == "lame duck, asked"


def test_a_refusal_another_vm_and_a_newer_agent_are_no_readiness_and_show_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refusing = Vm()
    refusing.code = 401
    assert "401 this call needs the token" in not_ready(refusing)
    assert "answered by the agent of edge-v1-1" in not_ready(Vm(name="edge-v1-1"))
    assert "newer version" in not_ready(Vm(format=2))
    monkeypatch.delenv(TOKEN)
    assert f"the variable {TOKEN}" in not_ready(Vm())


def test_of_many_agents_that_are_asked_together_none_counts_as_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a question begins when it is sent: not while it waits for its turn.

    All turns together take 2.5 s at least, more than the time of a question. One takes a small part of it, also on a
    busy machine.
    """
    monkeypatch.setattr("changeover.platforms.gcp.agents.AT_ONCE", 4)
    under_way, most = 0, 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        text = json.dumps(STATUS).encode()
        under_way -= 1
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
        writer.close()

    async def run() -> list[str]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, http.client(timeout=2.0) as client:
            at = Address(*server.sockets[0].getsockname()[:2])
            agents = Agents(client, AgentSettings.model_validate({"token_env": TOKEN}))
            vm = replace(VM, control=at)
            hop = AgentHop(registry.known_hops()["nginx"], agents)
            return await asyncio.gather(*(hop.not_ready(vm, 2.0) for _ in range(100)))

    assert set(asyncio.run(run())) == {""}
    assert most <= 4


def test_where_the_controller_looks_once_a_late_answer_is_asked_for_again_and_a_refusal_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("changeover.platforms.gcp.agents.AGAIN", 0.0)
    vm, failures = Vm(), [httpx.ReadTimeout("")]

    def late(request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return vm(request)

    settings = AgentSettings.model_validate({"token_env": TOKEN})
    agents = Agents(httpx.AsyncClient(transport=httpx.MockTransport(late)), settings)
    assert asyncio.run(agents.surely(VM))["ready"] is True
    failures += [httpx.ReadTimeout(""), httpx.ReadTimeout("")]
    with pytest.raises(Unknown, match="no answer within 5 s"):
        asyncio.run(agents.surely(VM))
    vm.code, vm.asked = 401, []
    with pytest.raises(Unknown, match="401"):
        asyncio.run(agents.surely(VM))
    assert len(vm.asked) == 1


def test_a_lame_duck_must_be_confirmed() -> None:
    vm = Vm()
    asyncio.run(vm.agents.lame_duck(VM, True))
    assert vm.status["lame_duck"] is True
    refusing = Vm()
    refusing.code = 409
    with pytest.raises(Unknown):
        asyncio.run(refusing.agents.lame_duck(VM, False))


def test_an_instance_that_was_asked_to_be_a_lame_duck_in_silence_becomes_one_when_it_answers() -> None:
    """Every backend service found it unhealthy meanwhile; without this it would get requests again."""
    vm = Vm()
    agents = vm.agents
    vm.code = 503
    with pytest.raises(Unknown):
        asyncio.run(agents.lame_duck(VM, True))
    vm.code = 200
    asyncio.run(agents.status(VM))
    assert vm.status["lame_duck"] is True
    vm.status["lame_duck"] = False  # an operator ended it: the controller asks once
    asyncio.run(agents.status(VM))
    assert vm.status["lame_duck"] is False


def test_a_lame_duck_that_is_taken_back_in_silence_stays_taken_back() -> None:
    vm = Vm()
    agents = vm.agents
    vm.code = 503
    for on in (True, False):
        with pytest.raises(Unknown):
            asyncio.run(agents.lame_duck(VM, on))
    vm.code = 200
    asyncio.run(agents.status(VM))
    assert vm.status["lame_duck"] is False


def test_what_is_in_flight_is_what_it_counted_or_unknown_and_never_nothing_instead() -> None:
    counted = {"requests": 2, "connections": 3, "uploads": [{"received": 5, "expected": None, "seconds": 1.5}]}
    assert in_flight_of("vm", {"in_flight": counted}) == InFlight(2, 3, (Upload(5, None, 1.5),))
    assert in_flight_of("vm", {"in_flight": None, "unknown": None}) is None
    for status in ({"unknown": "the software is silent", "in_flight": None}, {"in_flight": {"requests": 1}}):
        with pytest.raises(Unknown):
            in_flight_of("vm", status)


def test_connections_come_from_the_kernel_of_the_vm() -> None:
    kernel = {"connections": [{"quiet": 2.0, "answered": True, "age": None}], "others": {}, "waiting": 0}
    found = connections_of({"witnesses": {"kernel": {**kernel, "one_process": True}}})
    assert found is not None
    assert (found.routers[0].quiet, found.routers[0].answered, found.one_process) == (2.0, True, True)
    assert connections_of({"witnesses": {"kernel": None}}) is None
    assert connections_of({"witnesses": {"kernel": {"connections": 3}}}) is None


def test_a_new_vm_of_a_routing_tier_gets_the_list_of_the_tier_behind_and_no_second_time(tmp_path: Path) -> None:
    file, vm = tmp_path / "endpoints.json", Vm(members={"runtime": None})
    file.write_text("{}")
    hop = RoutingAgentHop(registry.known_hops()["envoy"], vm.agents, {"runtime": file}, lambda *_: pytest.fail("asked"))
    assert asyncio.run(hop.not_ready(VM, 1.0)) == ""
    assert asyncio.run(hop.not_ready(VM, 1.0)) == ""
    assert [request.content for request in vm.asked if request.method == "PUT"] == [b"{}"]
