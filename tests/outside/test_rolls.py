"""A tier is rolled behind HAProxies and Envoys that the chain does not start: nothing is lost at any of their nodes."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
import yaml
from tests.chain.chains import CLIENT, Chain, Command, running_in, until
from tests.outside.envoys import envoys
from tests.outside.haproxies import LOADS, SLOTS, haproxies

from changeover.model.chain import Tier

TIER: dict[str, Any] = {
    "name": "web",
    "kind": "app",
    "size": 2,
    "health": {"interval": "100ms", "rise": 1, "fall": 2},
    "drain": {"deadline": "60s"},
    "update": {"min_ready": "100ms", "progress_deadline": "60s"},
    "templates": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
}


class Node(Protocol):
    port: int

    def kill(self) -> None: ...

    def start(self) -> object: ...


@dataclass
class Behind:
    chain: Chain
    nodes: list[Any]
    router: Callable[[list[Any]], dict[str, Any]]
    """`router` of a tier behind these nodes."""

    def write(self, nodes: list[Any] | None = None, **tier: Any) -> None:
        """The chain's file: an application alone. Requests go through the last node."""
        proxy = {"proxy": f"127.0.0.1:{self.nodes[-1].port}"}
        described = {**TIER, **tier, "router": {**self.router(nodes or self.nodes), **proxy}}
        self.chain.file.write_text(yaml.safe_dump({"name": "outside", "tiers": [described]}, sort_keys=False))

    def probe(self) -> Command:
        uploads = ("--uploads", 2, "--upload-size", "600KB", "--upload-time", "600ms")
        probe = self.chain.start("probe", "--rate", 20, "--connections", 2, *uploads, "--json")
        probe.says(" 2 in flight")
        return probe

    def serves(self, version: str) -> None:
        for node in self.nodes:
            self.chain.edge_url = f"http://127.0.0.1:{node.port}"
            assert {self.chain.get().json()["version"] for _ in range(6)} == {version}


@contextmanager
def wrk(port: int) -> Iterator[list[str]]:
    """Traffic of wrk through one node; afterwards, what it reports."""
    command = ["wrk", "-t1", "-c4", "-d60s", f"http://127.0.0.1:{port}/hello"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    report: list[str] = []
    try:
        yield report
    finally:
        running.send_signal(signal.SIGINT)
        report.append(running.communicate(timeout=30)[0])


def lost(report: str) -> str:
    """What wrk reports beside whole answers with 2xx and 3xx."""
    assert int(re.search(r"(\d+) requests in", report)[1]) > 100  # type: ignore[index]
    return " ".join(re.findall(r"Socket errors:.*|Non-2xx.*", report))


@contextmanager
def brought_up(folder: Path, nodes: list[Any], router: Callable[[list[Any]], dict[str, Any]]) -> Iterator[Behind]:
    behind = Behind(Chain(folder, folder / "chain.yaml"), nodes, router)
    behind.write()
    try:
        behind.chain.up()
        yield behind
    finally:
        if running_in(folder):
            behind.chain.run("down", code=None)


def of_envoys(nodes: list[Any]) -> dict[str, Any]:
    files = [str(node.endpoints) for node in nodes]
    return {"kind": "envoy", "admin": [node.admin for node in nodes], "endpoints": files}


@pytest.fixture(scope="module")
def behind_envoys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with (
        envoys(tmp_path_factory.mktemp("envoys"), 2, Tier.model_validate(TIER)) as nodes,
        brought_up(tmp_path_factory.mktemp("behind"), nodes, of_envoys) as behind,
    ):
        yield behind


def test_a_tier_is_rolled_behind_two_envoys_while_one_of_them_restarts_and_nothing_is_lost(
    behind_envoys: Behind,
) -> None:
    chain, (first, _) = behind_envoys.chain, behind_envoys.nodes
    goal, probe = chain.other("web"), behind_envoys.probe()
    first.kill()
    refused = chain.run("roll", "web", "--to", goal, code=2).err
    assert f"the router of tier web cannot be used: {first.admin}: GET http://{first.admin}/config_dump" in refused
    first.start()
    with wrk(first.port) as report:
        assert chain.roll("web", goal)["outcome"] == "completed"
    assert not lost(report[0]), report[0]
    assert probe.signal(signal.SIGTERM).end().code == 0
    behind_envoys.serves(goal)


def test_an_envoy_that_is_not_named_goes_on_sending_to_instances_that_are_gone(behind_envoys: Behind) -> None:
    """The other way round: what naming every node is for. Its connections hold the drain, so that is cut."""
    chain = behind_envoys.chain
    behind_envoys.write(behind_envoys.nodes[:1], drain={"deadline": "1s", "policy": "cut"})
    try:
        probe = behind_envoys.probe()
        chain.roll("web", chain.other("web"), "-f", chain.file, code=3)
        assert probe.signal(signal.SIGTERM).end().code == 3
    finally:
        behind_envoys.write()


# -- HAProxies -----------------------------------------------------------------------------------------------------


def of_haproxies(nodes: list[Any]) -> dict[str, Any]:
    """With slots, and a state file for each node."""
    files = [node.state_file for node in nodes]
    return {"kind": "haproxy", "nodes": [node.socket for node in nodes], "slots": "slot", "state_files": files}


def adding(nodes: list[Any]) -> dict[str, Any]:
    return {"kind": "haproxy", "nodes": [node.socket for node in nodes]}


@contextmanager
def gets(port: int) -> Iterator[Counter[str]]:
    """GETs through one node, one after the other: how many ended how.

    A reload of HAProxy closes connections of clients that wait for a request, rollout or not. What meets that close
    gets no byte of an answer, and is sent again, once, as a browser does.
    """
    found, end = Counter[str](), threading.Event()

    def send() -> None:
        with httpx.Client(**CLIENT) as client:
            while not end.is_set():
                for attempt in range(2):
                    try:
                        found[str(client.get(f"http://127.0.0.1:{port}/hello").status_code)] += 1
                    except httpx.TransportError as error:
                        found[type(error).__name__] += attempt
                        continue
                    break

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield found
    finally:
        end.set()
        thread.join(40)


@pytest.fixture(scope="module")
def behind_haproxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    with (
        haproxies(tmp_path_factory.mktemp("haproxies"), 2, *LOADS, SLOTS) as nodes,
        brought_up(tmp_path_factory.mktemp("slots"), nodes, of_haproxies) as behind,
    ):
        yield behind


def test_a_tier_is_rolled_through_slots_of_two_haproxies_while_one_is_reloaded_and_nothing_is_lost(
    behind_haproxies: Behind,
) -> None:
    chain, (first, _) = behind_haproxies.chain, behind_haproxies.nodes
    goal, probe = chain.other("web"), behind_haproxies.probe()
    with gets(first.port) as ended:
        roll = chain.start("roll", "web", "--to", goal, "--json")
        roll.says("draining", "out of every router")
        first.reload()
        done = roll.end(0)
        assert done.json["outcome"] == "completed"
        assert f"{first.socket} was restarted or reloaded" in done.err
    assert +ended == {"200": ended["200"]}
    assert ended["200"] > 100
    assert probe.signal(signal.SIGTERM).end().code == 0
    behind_haproxies.serves(goal)


def test_an_haproxy_that_is_not_named_goes_on_sending_to_instances_that_are_gone(behind_haproxies: Behind) -> None:
    chain = behind_haproxies.chain
    behind_haproxies.write(behind_haproxies.nodes[:1], drain={"deadline": "1s", "policy": "cut"})
    try:
        probe = behind_haproxies.probe()
        chain.run("roll", "web", "--to", chain.other("web"), "-f", chain.file, code=None)
        assert probe.signal(signal.SIGTERM).end().code == 3
    finally:
        behind_haproxies.write()


def test_while_a_node_is_down_the_rollout_waits_and_goes_on_when_it_has_the_added_servers_again(
    tmp_path: Path,
) -> None:
    with haproxies(tmp_path, 2) as nodes, brought_up(tmp_path, nodes, adding) as behind:
        chain, first = behind.chain, nodes[0]
        probe = behind.probe()
        roll = chain.start("roll", "web", "--to", "v2", "--json")
        roll.says("draining", "out of every router")
        first.kill()
        roll.says("ready: no confirmation from", f"{first.socket} (HAProxy did not answer")
        assert {one["template"] for one in chain.instances("web", phase="admitted")} == {"v1", "v2"}
        first.start()
        done = roll.end(3)
        assert done.json["outcome"] == "completed"
        ended = f"Router of tier web: {first.socket} was restarted: every connection through it ended."
        assert done.json["interruptions"][0] == ended
        assert probe.signal(signal.SIGTERM).end().code == 0
        behind.serves("v2")
        first.kill()
        first.start()
        chain.edge_url = f"http://127.0.0.1:{first.port}"
        until(lambda: chain.get().status_code == 200 or None, "the servers that the keeper adds again")
        behind.serves("v2")
        chain.run("down")
        assert [name for node in nodes for name in node.servers()] == []


def test_down_takes_the_members_out_of_every_file(behind_envoys: Behind) -> None:
    behind_envoys.chain.run("down")
    assert all('"lb_endpoints"' not in node.endpoints.read_text() for node in behind_envoys.nodes[:1])
    until(lambda: not running_in(behind_envoys.chain.folder) or None, "the end of all processes")
