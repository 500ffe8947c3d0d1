"""How a Kong node is started, asked, drained and stopped: one that the environment names, or the double's."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.kong.kongs import AT_ONCE, have_kong, install, run
from tests.unit.hops.contexts import BEHIND, INNER, instance, launch_context, tier

from changeover.hops.kong.config import admin_address, kong_conf, run_script
from changeover.hops.kong.hop import Kong
from changeover.hops.kong.settings import KongSettings
from changeover.kit import process, sockets
from changeover.kit.direct_http import DirectClient
from changeover.model.errors import ChangeoverError
from changeover.model.instance import Address, Instance, LaunchSpec
from changeover.ports import LaunchContext, Unknown

A = instance("runtime-v1-1", 21001, 21001)


def settled(directory: str = "/state/instances/gateway-v1-1", **given: Any) -> LaunchContext:
    one = Instance("gateway-v1-1", "gateway", "v1", Address("127.0.0.1", 20001), Address("127.0.0.1", 20002))
    owner = tier("kong", name="gateway", drain={"deadline": "90500ms"})
    return launch_context(**{"instance": Instance(**{**vars(one), "directory": directory}), "tier": owner, **given})


def conf(where: LaunchContext, *, as_root: bool = False, **settings: Any) -> dict[str, str]:
    text = kong_conf(KongSettings.model_validate(settings), where, as_root=as_root)
    return dict(line.split(" = ", 1) for line in text.splitlines())


# -- what is written -----------------------------------------------------------------------------------------------


def test_a_node_can_be_drained() -> None:
    given = conf(settled(), keepalive_time="4s", upstream_keepalive_timeout="30s")
    assert given["status_listen"] == "127.0.0.1:20002"
    assert given["proxy_listen"] == "127.0.0.1:20001 backlog=16384"
    assert given["admin_listen"] == "127.0.0.2:20002"
    assert given["admin_gui_listen"] == "off"
    assert given["nginx_main_worker_shutdown_timeout"] == "91s"
    assert given["nginx_proxy_keepalive_time"] == "4000ms"
    assert given["upstream_keepalive_idle_timeout"] == "30"
    assert (given["database"], given["declarative_config"]) == ("off", "/state/instances/gateway-v1-1/kong.json")


def test_it_quits_with_the_deadline_of_the_drain_and_never_with_its_own() -> None:
    text = run_script("/usr/local/bin/kong", settled())
    assert "trap '/usr/local/bin/kong quit --prefix /state/instances/gateway-v1-1 --timeout 91' QUIT" in text


def test_only_the_tier_in_front_may_name_the_client() -> None:
    assert conf(settled())["trusted_ips"] == "127.0.0.0/8"
    # behind a tier that passes bytes its clients are those of the chain
    assert "trusted_ips" not in conf(settled(trusted_peers=()))


def test_workers_of_root_stay_root_since_no_other_user_may_read_the_state_folder() -> None:
    assert conf(settled(), as_root=True)["nginx_user"] == "root root"
    assert "nginx_user" not in conf(settled())


@pytest.mark.parametrize("directory", ["/with a space", "/quo'te", "/dol$lar", "/" + "x" * 100])
def test_a_folder_in_which_kong_cannot_work_is_refused(directory: str) -> None:
    with pytest.raises(ChangeoverError, match=r"Kong cannot work in a folder whose name[^\0]*--state"):
        conf(settled(directory))


def test_its_document_has_the_routes_and_no_members() -> None:
    routes = [{"path": "/"}, {"path": "/upload", "buffering": "buffer"}]
    given = document(settled(), retries=2, connect_timeout="500ms", routes=routes)
    (service,), (upstream,) = given["services"], given["upstreams"]
    assert (service["retries"], service["connect_timeout"], service["read_timeout"]) == (2, 500, 300_000)
    assert [(one["paths"], one["request_buffering"]) for one in service["routes"]] == [
        (["/"], False),
        (["/upload"], True),
    ]
    assert upstream["targets"] == []
    active = upstream["healthchecks"]["active"]
    assert (active["http_path"], active["timeout"]) == ("/readyz", 1)
    assert active["healthy"] == {"interval": 0.25, "successes": 3}
    assert active["unhealthy"] == {"interval": 0.25, "http_failures": 4, "tcp_failures": 4, "timeouts": 4}


def checks_with(**health: Any) -> Any:
    inner = replace(INNER, tier=tier("app", name="runtime", health=health))
    (upstream,) = document(settled(behind=(inner,)))["upstreams"]
    return upstream["healthchecks"]["active"]


def test_its_checks_are_those_of_the_tier_behind() -> None:
    active = checks_with(path="/up", status=[200, 204], headers={"X-Token": "t"})
    assert (active["type"], active["http_path"], active["headers"]) == ("http", "/up", {"X-Token": ["t"]})
    assert active["healthy"]["http_statuses"] == [200, 204]
    assert {302, 401, 503} < set(active["unhealthy"]["http_statuses"])
    assert not {200, 204} & set(active["unhealthy"]["http_statuses"])


def test_a_check_that_only_connects_has_no_path() -> None:
    active = checks_with(tcp=True)
    assert active["type"] == "tcp"
    assert "http_path" not in active


def test_a_tier_that_tells_its_readiness_elsewhere_is_not_checked() -> None:
    (upstream,) = document(settled(behind=(replace(INNER, traits=Kong.traits),)))["upstreams"]
    assert upstream["healthchecks"]["active"]["healthy"]["interval"] == 0


def test_each_route_leads_to_the_service_of_its_tier() -> None:
    web = replace(INNER, tier=tier("app", name="web"))
    routes = [{"path": "/"}, {"path": "/web", "to": "web"}]
    given = document(settled(behind=(INNER, web)), routes=routes)
    assert [(one["name"], [route["paths"] for route in one["routes"]]) for one in given["services"]] == [
        ("runtime", [["/"]]),
        ("web", [["/web"]]),
    ]
    assert [one["name"] for one in given["upstreams"]] == ["runtime", "web"]


def launch(where: LaunchContext, **settings: Any) -> LaunchSpec:
    return Kong(DirectClient()).launch(KongSettings.model_validate(settings), where)


def document(where: LaunchContext, **settings: Any) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setattr("changeover.hops.kong.binary.find", lambda: "kong")
        given: dict[str, Any] = json.loads(launch(where, **settings).files["kong.json"])
        return given


# -- a node that runs ----------------------------------------------------------------------------------------------


class Running:
    """A node in a folder, from its launch to its end."""

    def __init__(self, folder: Path, **context: Any) -> None:
        at, control = (Address("127.0.0.1", sockets.free_port("127.0.0.1")) for _ in range(2))
        self.instance = Instance("gateway-v1-1", "gateway", "v1", at, control, directory=str(folder))
        self.folder = folder
        where = replace(settled(), instance=self.instance, **context)
        self.carrying: tuple[Instance, ...] = (self.instance,)
        self.members = folder / "members.json"
        self.launch = launch(where)
        for name, text in self.launch.files.items():
            (folder / name).write_text(text)
        subprocess.run(self.launch.check, cwd=folder, check=True, timeout=20)
        self.pid, self.born = process.spawn(self.launch.argv, home=folder, env=os.environ)

    def do(self, step: Callable[[Kong, Any], Any]) -> Any:
        async def done() -> Any:
            asking = DirectClient()
            hop = Kong(asking, AT_ONCE)
            router = hop.router(BEHIND, str(self.members), lambda: self.carrying)
            await router.open()
            return await step(hop, router)

        return run(done())

    def ready(self) -> bool:
        return not self.do(lambda hop, _: hop.not_ready(self.instance))

    def until(self, look: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 40
        while not look():
            assert time.monotonic() < deadline, f"{what}: {(self.folder / 'log').read_text()}"
            time.sleep(0.02)

    def is_alive(self) -> bool:
        return process.is_alive(self.pid, self.born)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that runs until the last test, which ends it."""
    with pytest.MonkeyPatch.context() as environment:
        have_kong(tmp_path_factory.mktemp("bin"), environment)
        found = Running(tmp_path_factory.mktemp("node"))
        try:
            found.until(found.ready, "not ready")
            yield found
        finally:
            process.kill_session(found.pid, found.born, found.folder)


def targets(node: Running) -> list[tuple[str, int]]:
    (upstream,) = json.loads((node.folder / "kong.json").read_text())["upstreams"]
    return [(one["target"], one["weight"]) for one in upstream["targets"]]


def test_what_it_does_and_has_in_flight_can_be_asked(node: Running) -> None:
    async def admitted(hop: Kong, router: Any) -> Any:
        await router.admit(A, 100)
        reported = await router.membership(frozenset([A.name]))
        return reported[A.name], await hop.in_flight(node.instance)

    given, in_flight = node.do(admitted)
    assert "does not send it" not in given.pending
    assert (in_flight.requests, in_flight.connections) == (0, 0)
    assert targets(node) == [("127.0.0.1:21001", 100)]


def test_the_admin_api_wants_the_password_of_the_node(node: Running) -> None:
    url = f"http://{admin_address(node.instance)}/status"
    for credentials in (None, ("changeover", "guessed")):
        assert httpx.get(url, auth=credentials, trust_env=False).status_code == 401
    _, password = (node.folder / "admin.password").read_text().split(":")
    assert len(password) >= 32
    assert httpx.get(url, auth=("changeover", password), trust_env=False).status_code == 200


def test_a_member_that_came_while_a_node_was_starting_is_known_to_it_before_it_is_ready(node: Running) -> None:
    node.carrying = ()  # the router pushes nothing to it
    node.do(lambda _, router: router.admit(A, 7))
    assert ("127.0.0.1:21001", 7) not in targets(node)
    assert node.ready()
    assert targets(node) == [("127.0.0.1:21001", 7)]
    node.carrying = (node.instance,)


def test_a_lame_duck_comes_back_by_a_reload_with_the_members_as_they_are(node: Running) -> None:
    async def there_and_back(hop: Kong, router: Any) -> list[bool]:
        await hop.lame_duck(node.instance, on=False)  # it is none: nothing is reloaded
        await hop.lame_duck(node.instance, on=True)
        await hop.lame_duck(node.instance, on=True)
        seen = [not await hop.not_ready(node.instance)]
        await router.admit(A, 9)
        _, writer = await asyncio.open_connection(node.instance.address.host, node.instance.address.port)
        with pytest.raises(Unknown, match="has 1 connections, which its reload would close"):
            await hop.lame_duck(node.instance, on=False)
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(40):
            while sockets.open_connections(node.instance.address.port):
                await asyncio.sleep(0.02)
        await hop.lame_duck(node.instance, on=False)
        async with asyncio.timeout(40):
            while await hop.not_ready(node.instance):
                await asyncio.sleep(0.02)
        given = (await router.membership(frozenset([A.name])))[A.name]
        return [*seen, "with weight" in given.pending]

    assert node.do(there_and_back) == [False, False]
    assert targets(node) == [("127.0.0.1:21001", 9)]


def test_a_node_that_does_not_answer_is_unknown(tmp_path: Path) -> None:
    nobody = instance("gateway-v1-9", 20001, sockets.free_port("127.0.0.1"))

    async def asked() -> None:
        asking = DirectClient()
        hop = Kong(asking)
        assert await hop.not_ready(nobody)
        for question in (hop.in_flight(nobody), hop.lame_duck(nobody, on=True), hop.lame_duck(nobody, on=False)):
            with pytest.raises(Unknown):
                await question

    run(asked())


def test_a_node_that_buffers_holds_a_leaving_instance_for_the_deadline_of_its_drain(tmp_path: Path) -> None:
    (tmp_path / "kong.json").write_text(json.dumps(document(settled(), routes=[{"buffering": "buffer"}])))
    one = Instance(**{**vars(settled().instance), "directory": str(tmp_path)})
    router = Kong(DirectClient()).router(BEHIND, str(tmp_path / "members.json"), lambda: (one,))
    assert router._hold() == BEHIND.drain.deadline
    (tmp_path / "kong.json").write_text(json.dumps(document(settled())))
    assert router._hold() == 0.0


def test_it_ends_on_its_stop_signal(node: Running) -> None:
    process.send(node.pid, node.born, Kong.traits.stop_signal)
    node.until(lambda: not node.is_alive(), "still there")
    assert "Kong stopped (gracefully)" in (node.folder / "log").read_text()


@pytest.mark.parametrize(
    ("words", "environment", "why"),
    [
        (["quit", "--prefix", "/tmp"], {}, "kong is not to be called like that"),
        (["stop", "--prefix", "/tmp"], {"KONG_PREFIX": "/other"}, "['KONG_PREFIX'] would win over the file"),
        (["start", "--conf", "kong.conf", "--prefix", "/tmp"], {}, "kong.conf lacks ['admin_access_log', "),
    ],
)
def test_the_kong_of_these_tests_is_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], environment: dict[str, str], why: str
) -> None:
    install(tmp_path, monkeypatch)
    (tmp_path / "kong.conf").write_text("database = off\n")
    env = {**os.environ, **environment}
    ran = subprocess.run(["kong", *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=20)
    assert ran.returncode == 1
    assert why in ran.stderr
