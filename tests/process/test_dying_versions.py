"""Versions that die: at their first request, again and again, or only when they are killed. Real processes."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.chain.chains import Chain, Said, kill, running_in, until

SERVER = Path(__file__).with_name("dying_server.py")


def template(server: Path, *way: str, **more: Any) -> Said:
    return {"command": [sys.executable, str(server), "{port}", "{lame_duck}", *way], **more}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("dying")
    server = folder / "server.py"
    shutil.copy(SERVER, server)
    tier = {
        "name": "web",
        "kind": "app",
        "size": 2,
        "templates": {
            "v1": template(server),
            "first": template(server, "at:1"),
            "request": template(server, "at:3"),
            "stubborn": template(server, "stubborn", stop={"grace": "300ms"}),
        },
        "health": {"interval": "100ms"},
        "update": {"min_ready": "100ms", "watch": "1s", "progress_deadline": "60s"},
    }
    file = folder / "chain.yaml"
    file.write_text(yaml.safe_dump({"tiers": [tier]}, sort_keys=False))
    found = Chain(folder, file)
    try:
        found.up()
        yield found
    finally:
        if running_in(folder):
            found.run("down", code=None)


def tier_of(status: Said) -> Said:
    found: Said = status["tiers"][0]
    return found


def pids(chain: Chain) -> set[int]:
    return {one["pid"] for one in chain.instances("web", phase="admitted")}


def states(chain: Chain) -> list[str]:
    """HAProxy's state of each instance: 0 is down, 2 is up."""
    with socket.socket(socket.AF_UNIX) as api, contextlib.chdir(chain.state / "haproxy"):
        api.connect("haproxy.sock")
        api.sendall(b"show servers state web\n")
        lines = b"".join(iter(lambda: api.recv(4096), b"")).decode().splitlines()
    return [line.split()[5] for line in lines if line.split()[1:2] == ["web"]]


def get(chain: Chain) -> None:
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(chain.edge_url, trust_env=False, timeout=40)


def test_a_version_that_dies_at_its_first_request_is_undone_while_old_instances_serve(chain: Chain) -> None:
    roll = chain.start("roll", "web", "--to", "first", "--json")
    while roll.process.poll() is None:
        get(chain)
    told = roll.end(3).json  # each of them broke the request that it died at
    assert told["outcome"] == "undone"
    # `ready` where the request came between the router's admission and the observation of it; `creating` where a look
    # found that it no longer answers before one found that it had ended.
    assert re.search("died while (ready|admitted|creating)", told["reason"])
    assert [one["died"] for one in told["instances"] if one["template"] == "first"].count(True) >= 3
    assert tier_of(chain.status())["template"] == "v1"
    history = chain.run("history", "--json").json["rollouts"][-1]
    assert (history["outcome"], history["deaths"] >= 3) == ("undone", True)


def test_a_version_that_keeps_dying_after_its_rollout_is_degraded_and_can_be_undone(chain: Chain) -> None:
    assert chain.roll("web", "request")["outcome"] == "completed"

    def loops(told: Said) -> bool:
        get(chain)
        return "keep failing" in (tier_of(told)["degraded"] or "")

    seen = tier_of(chain.until(loops, "a crash loop in the status"))
    assert "`changeover undo web` returns to v1" in seen["degraded"]
    assert seen["restarts"] >= 3
    history = chain.run("history", "--json").json["rollouts"][-1]
    assert (history["outcome"], history["deaths_since"] >= 3) == ("completed", True)
    assert "keep dying" in (chain.state / "keeper" / "log").read_text()
    assert chain.run("undo", "web", "--json").json["outcome"] == "completed"
    assert (tier_of(chain.status())["template"], tier_of(chain.status())["degraded"]) == ("v1", None)


def test_an_instance_that_is_killed_at_the_end_of_its_stop_grace_makes_the_exit_code_3(chain: Chain) -> None:
    chain.roll("web", "stubborn")
    told = chain.roll("web", "v1", code=3)
    assert told["outcome"] == "completed"
    assert [one["killed"] for one in told["instances"] if one["template"] == "stubborn"] == [True, True]


def test_a_single_death_at_rest_is_counted_and_is_no_loop(chain: Chain) -> None:
    before = tier_of(chain.status())["restarts"]
    kill(chain.instances("web")[0]["pid"])
    seen = chain.until(lambda told: tier_of(told)["restarts"] > before and tier_of(told)["serving"] == 2, "healing")
    assert tier_of(seen)["degraded"] is None


def test_a_restart_starts_the_code_that_is_on_disk_now_and_breaks_no_request(chain: Chain) -> None:
    before = pids(chain)
    server = chain.folder / "server.py"
    server.write_text(server.read_text().replace('f"{WAY} {os.getpid()}"', '"new code"'))
    plan = chain.run("plan", "web", "--restart", "--json", code=4).json
    assert [(one["from"], one["to"], one["restart"]) for one in plan["tiers"]] == [("v1", "v1", True)]
    nothing = chain.run("roll", "web", "--to", "v1")
    assert "`changeover roll web --restart`" in nothing.out
    roll = chain.start("roll", "web", "--restart", "--json")
    answers = []
    while roll.process.poll() is None:
        answers.append(httpx.get(chain.edge_url, trust_env=False, timeout=40).status_code)
    told = roll.end(0).json
    assert (told["from"], told["to"], told["restart"], told["outcome"]) == ("v1", "v1", True, "completed")
    assert set(answers) == {200}
    assert httpx.get(chain.edge_url, trust_env=False, timeout=40).text == "new code"
    after = pids(chain)
    assert len(after) == 2
    assert not after & before
    history = chain.run("history", "--json").json["rollouts"][-1]
    assert (history["from"], history["to"], history["restart"]) == ("v1", "v1", True)
    undo = chain.run("undo", "web")
    assert "the code that is on disk now" in undo.err
    assert not pids(chain) & after


def test_while_no_instance_is_ready_requests_are_answered_by_those_that_run(chain: Chain) -> None:
    unready = chain.folder / "unready"
    unready.touch()
    try:
        until(lambda: states(chain) == ["0", "0"], "HAProxy to find no instance ready")
        answers = [httpx.get(chain.edge_url, trust_env=False, timeout=40).status_code for _ in range(20)]
        assert answers == [200] * 20
    finally:
        unready.unlink()
    until(lambda: states(chain) == ["2", "2"], "HAProxy to find both instances ready")
