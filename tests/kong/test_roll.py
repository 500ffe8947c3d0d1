"""A tier is rolled behind a Kong that the chain does not start: the one that the environment names, or the double.

The double is a cluster of three nodes that learn of a change one after the other, and requests go through the last.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chain.chains import Chain, Command, kill, running_in, until
from tests.kong.kongs import REAL, TOKEN, Kong, any_kong, plain_document, route, run

from changeover.kit import sockets

SECRET = "s3cr3t-t0ken"
DELAY = 0.3
"""Seconds until the other nodes of the double hear of a change."""


@dataclass
class Behind:
    kong: Kong
    chain: Chain

    def write(self, **router: Any) -> Path:
        """The chain's file: an application alone, with that router."""
        given = {
            "name": "behind-kong",
            "tiers": [
                {
                    "name": "runtime",
                    "kind": "app",
                    "size": 1,
                    "health": {"interval": "200ms", "rise": 1, "fall": 2},
                    "drain": {"deadline": "60s"},
                    "update": {"min_ready": "100ms", "progress_deadline": "60s"},
                    "router": self.kong.given(**router),
                    "templates": {"v1": {"version": "v1"}, "v2": {"version": "v2"}},
                }
            ],
        }
        self.chain.file.write_text(yaml.safe_dump(given, sort_keys=False))
        return self.chain.file

    def traffic(self) -> Command:
        """GETs and slow uploads through the node that hears of everything last."""
        uploads = ("--uploads", 2, "--upload-size", "600KB", "--upload-time", "600ms")
        probe = self.chain.start("probe", "--rate", 20, "--connections", 2, *uploads, "--json")
        probe.says(" 2 in flight")
        return probe


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("behind")
    with pytest.MonkeyPatch.context() as environment, any_kong(folder, 3, database=True, delay=DELAY) as kong:
        if not kong.proxy:
            pytest.skip("CHANGEOVER_KONG_PROXY does not say where requests are to go")
        route(kong, plain_document("runtime", None))
        if kong.double is not None:
            environment.setenv(TOKEN, SECRET)
            for served in kong.served:
                served.token = SECRET
        found = Behind(kong, Chain(folder, folder / "chain.yaml"))
        found.write()
        try:
            found.chain.up()
            until(lambda: found.chain.get().status_code == 200 or None, "an answer through Kong")
            yield found
        finally:
            if running_in(folder):
                found.chain.run("down")
            if kong.database:
                for target in run(kong.api().targets("runtime")):
                    run(kong.api().delete_target("runtime", target.address))


def test_the_runtime_is_rolled_behind_kong_and_nothing_is_lost(behind: Behind) -> None:
    goal = behind.chain.other("runtime")
    probe = behind.traffic()
    assert behind.chain.roll("runtime", goal)["outcome"] == "completed"
    assert probe.signal(signal.SIGTERM).end().code == 0
    assert {behind.chain.get().json()["version"] for _ in range(6)} == {goal}
    if behind.kong.double is None:
        return
    for served in behind.kong.served:
        seen = served.node.weights
        first = next(number for number, weights in enumerate(seen) if any(weights.values()))
        assert all(any(weights.values()) for weights in seen[first:]), "at one moment no instance had weight"


only_double = pytest.mark.skipif(bool(REAL), reason="takes hold of the double")


@only_double
def test_while_one_node_does_not_confirm_the_rollout_waits_for_it_and_goes_on_when_it_is_back(behind: Behind) -> None:
    chain, double, second = behind.chain, behind.kong.double, behind.kong.served[1]
    assert double is not None
    before = {one["name"] for one in chain.instances("runtime")}
    probe = behind.traffic()
    double.do(second.admin.close())
    roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
    roll.says("ready: no confirmation from", f"{second.admin_url} (GET {second.admin_url}/upstreams/runtime/health")
    second.fault = "500"
    double.do(second.admin.open())
    roll.says("ready: no confirmation from", f"{second.admin_url} (GET", "answered 500: An unexpected error occurred")
    serving = {one["name"] for one in chain.instances("runtime", phase="admitted")}
    assert serving == before, "no instance may leave before the new one is known to all"
    second.fault = ""
    assert roll.end(0).json["outcome"] == "completed"
    assert probe.signal(signal.SIGTERM).end().code == 0


@only_double
def test_kong_counts_nothing_that_breaks_so_the_cost_of_a_death_is_unknown_and_interrupts(behind: Behind) -> None:
    chain, double, second = behind.chain, behind.kong.double, behind.kong.served[1]
    assert double is not None
    (old,) = chain.instances("runtime")
    double.do(second.admin.close())  # the new instance waits, and the old one serves
    roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
    roll.says("ready: no confirmation from")
    kill(old["pid"])
    roll.says(old["name"], "died while admitted")
    double.do(second.admin.open())
    told = roll.end(3).json
    assert told["outcome"] == "completed"
    unknown = "unknown whether requests broke: its routers do not count requests that break"
    assert f"{old['name']} of tier runtime died while admitted: {unknown}." in told["interruptions"]


@only_double
def test_a_node_that_is_not_asked_and_not_waited_for_breaks_requests(behind: Behind) -> None:
    """The other way round: what asking every node, or waiting for them, is for."""
    behind.write(admin=[behind.kong.admin[0]], propagation="0s")
    database = behind.kong.served[0].node.database
    assert database is not None
    database.delay = 4.0
    try:
        probe = behind.traffic()
        behind.chain.roll("runtime", behind.chain.other("runtime"), "-f", behind.chain.file)
        assert probe.signal(signal.SIGTERM).end().code == 3
    finally:
        database.delay = DELAY
        behind.write()


@only_double
def test_the_plan_counts_the_idle_connections_of_the_pool(behind: Behind) -> None:
    node, before = behind.kong.served[1].node, behind.kong.served[1].node.pool_idle
    goal = behind.chain.other("runtime")
    try:
        node.pool_idle = 47
        planned = behind.chain.run("plan", "runtime", "--to", goal, "--json", code=None).json
    finally:
        node.pool_idle = before
    assert planned["seconds"] >= 47


@only_double
def test_the_token_is_written_nowhere(behind: Behind) -> None:
    assert all(served.headers_seen[-1]["kong-admin-token"] == SECRET for served in behind.kong.served)
    files = [file for file in behind.kong.folder.rglob("*") if file.is_file()]
    assert behind.chain.state / "journal.db" in files
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]


def test_status_tells_where_requests_go(behind: Behind) -> None:
    assert behind.chain.status()["edge_url"] == f"http://{behind.kong.proxy}"
    assert os.environ.get(TOKEN, SECRET) not in str(behind.chain.status())


def test_a_kong_that_does_not_answer_keeps_the_chain_from_coming_up(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{sockets.free_port('127.0.0.1')}"
    kong = Kong((f"http://{nobody}",), nobody, nobody, database=True, folder=tmp_path)
    behind = Behind(kong, Chain(tmp_path, tmp_path / "chain.yaml"))
    reported = behind.chain.here("up", "-f", behind.write(), code=2)
    assert f"error: GET http://{nobody}/status: All connection attempts failed" in reported.err
    assert not running_in(tmp_path)


def test_down_takes_everybody_out(behind: Behind) -> None:
    assert behind.chain.instances("runtime")
    behind.chain.down()
    if behind.kong.database:
        assert run(behind.kong.api().targets("runtime")) == ()
