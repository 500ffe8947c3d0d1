"""`drain --now` over a real application: what is in flight on the instance is cut, counted and named."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from tests.chain.chains import PATIENCE, Chain, running_in

APP = Path(__file__).parents[1] / "chain" / "streaming_app.py"


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    command = [sys.executable, str(APP), "{port}", "{name}", "{version}", "{lame_duck}"]
    tier = {
        "name": "web",
        "kind": "app",
        "size": 1,
        "templates": {"v1": {"command": command}, "v2": {"command": command}},
        "health": {"interval": "100ms"},
        "update": {"min_ready": "100ms"},
        "drain": {"deadline": "10m"},
    }
    file = tmp_path / "chain.yaml"
    file.write_text(yaml.safe_dump({"tiers": [tier]}, sort_keys=False))
    found = Chain(tmp_path, file)
    try:
        found.up()
        yield found
    finally:
        if running_in(tmp_path):
            found.run("down", code=None)


def test_an_operator_ends_the_drain_of_a_paused_rollout_and_the_outcome_names_what_was_cut(chain: Chain) -> None:
    (old,) = chain.instances("web")
    serves = chain.run("drain", "--now", old["name"], code=2)
    assert "no controller runs" in serves.err
    at = urlsplit(chain.edge_url)
    with socket.create_connection((at.hostname or "", at.port or 0), PATIENCE) as stream:
        stream.sendall(b"GET /socket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
        assert b" 101 " in stream.recv(4096)
        roll = chain.start("roll", "web", "--to", "v2", "--json")
        roll.says(old["name"], "draining")
        (new,) = chain.instances("web", phase="admitted")
        assert "it is not draining" in chain.run("drain", "--now", new["name"], code=2).err
        chain.run("pause", "web")
        asked = chain.run("drain", "--now", old["name"], "--json").json
        assert (asked["tier"], asked["instance"], asked["action"]) == ("web", old["name"], "drain --now")
        roll.says(old["name"], "gone")
        while stream.recv(4096):
            pass
    chain.run("resume")
    told = roll.end(3).json
    assert told["outcome"] == "completed"
    assert next(one["cut"] for one in told["instances"] if one["name"] == old["name"]) == "1 connection"
    broke = chain.run("history", "--json").json["rollouts"][-1]["interruptions"]
    assert broke == [f"{old['name']}: cut by `drain --now`: 1 connection."]
