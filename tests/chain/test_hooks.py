"""Hooks on the way of real rollouts. What a hook may be and how it may fail is in tests/process/test_hooks.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chain.chains import Chain, Said
from tests.chain.conftest import own_chain
from tests.process.web_server import WebServer, web_server

from changeover.model.hooks import Point

WRITE_DOWN = """
cat >> payloads
test ! -e frozen || { echo frozen until Monday; exit 1; }
"""
TOKEN = "s3cr3t-t0ken"


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory, server: WebServer) -> Iterator[Chain]:
    """A chain that is up, and whose hooks write down what they are told."""

    def hooks(said: Said) -> None:
        said["hooks"] = [{"point": p.value, "name": "scribe", "command": ["sh", "-c", WRITE_DOWN]} for p in Point]
        said["notify"] = [{"url": f"json://{server.address}/200/{TOKEN}"}]

    with own_chain(tmp_path_factory.mktemp("hooked"), hooks) as chain:
        chain.up()
        yield chain


def told(chain: Chain) -> list[Said]:
    """What the hooks were told since this was last asked."""
    file = chain.folder / "payloads"
    payloads = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    file.unlink(missing_ok=True)
    return payloads


def test_hooks_are_told_of_a_rollout_and_people_of_its_end(hooked: Chain, server: WebServer) -> None:
    server.asked.clear()
    goal = hooked.other("gateway")
    done = hooked.run("roll", "gateway", "--to", goal, "--json")
    payloads = told(hooked)
    assert [p["point"] for p in payloads] == ["before_tier", "after_tier", "on_completion"]
    assert {(p["tier"], p["to"], p["rollout"]) for p in payloads} == {("gateway", goal, payloads[0]["rollout"])}
    assert (payloads[-1]["outcome"], payloads[-1]["counts"]["admitted"]) == ("completed", 2)
    assert [asked.body["type"] for asked in server.asked] == ["success"]
    assert TOKEN not in done.out + done.err


def test_a_hook_before_a_tier_stops_its_rollout(hooked: Chain, server: WebServer) -> None:
    server.asked.clear()
    before, goal = hooked.template("gateway"), hooked.other("gateway")
    frozen: Path = hooked.folder / "frozen"
    frozen.touch()
    done = hooked.run("roll", "gateway", "--to", goal, code=2)
    frozen.unlink()
    assert "was not completed: before_tier hook scribe ended with exit code 1: frozen until Monday" in done.out
    assert [(p["point"], p["outcome"]) for p in told(hooked)] == [("before_tier", ""), ("on_failure", "failed")]
    assert server.asked[0].body["message"].startswith("before_tier hook scribe ended with exit code 1: frozen")
    hooked.serves("gateway", before)
    hooked.roll("gateway", goal)
    hooked.serves("gateway", goal)
    told(hooked)
