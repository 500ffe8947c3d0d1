"""Hooks on the way of real rollouts. What a hook may be and how it may fail is in tests/process/hooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL

import pytest
from tests.chain.chains import Chain, Said, tier_of
from tests.chain.conftest import own_chain
from tests.process.web_server import WebServer, web_server

from changeover.model.hooks import Point

WRITE_DOWN = """
cat >> payloads
test ! -e frozen || { echo frozen until Monday; exit 1; }
test ! -e "killed at $CHANGEOVER_POINT" || { rm "killed at $CHANGEOVER_POINT"; kill -9 $PPID; }
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
        tier_of(said, "gateway")["update"] |= {"steps": [{"set_weight": 50}, {"pause": "100ms"}]}
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


def journaled(chain: Chain, rollout: int) -> list[str]:
    """What `show` has of the hooks of a rollout, without the times they took."""
    log = chain.here("show", rollout, "--json").json["log"]
    return [line["text"].partition(" in ")[0] for line in log if line["kind"] == "hook"]


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
    assert journaled(hooked, payloads[0]["rollout"]) == [
        f"{point} hook scribe passed" for point in ("before_tier", "after_tier", "on_completion")
    ]


def test_a_hook_before_a_tier_stops_its_rollout(hooked: Chain, server: WebServer) -> None:
    server.asked.clear()
    before, goal = hooked.template("gateway"), hooked.other("gateway")
    frozen: Path = hooked.folder / "frozen"
    frozen.touch()
    done = hooked.run("roll", "gateway", "--to", goal, code=2)
    frozen.unlink()
    why = "before_tier hook scribe ended with exit code 1: frozen until Monday"
    assert f"was not completed: {why}" in done.out
    payloads = told(hooked)
    assert [(p["point"], p["outcome"]) for p in payloads] == [("before_tier", ""), ("on_failure", "failed")]
    last = hooked.here("history", "--json").json["rollouts"][-1]
    assert (last["id"], last["outcome"], last["reason"]) == (payloads[0]["rollout"], "failed", why)
    assert journaled(hooked, last["id"])[0] == why
    assert server.asked[0].body["message"].startswith("before_tier hook scribe ended with exit code 1: frozen")
    hooked.serves("gateway", before)
    hooked.roll("gateway", goal)
    hooked.serves("gateway", goal)
    told(hooked)


WAY = ("before_tier", "before_step", "after_step", "before_step", "after_step", "after_tier", "on_completion")


@pytest.mark.parametrize("point", dict.fromkeys(WAY))
def test_a_hook_in_which_the_controller_is_killed_is_run_again_by_whoever_resumes(hooked: Chain, point: str) -> None:
    goal = hooked.other("gateway")
    (hooked.folder / f"killed at {point}").touch()
    hooked.run("roll", "gateway", "--to", goal, "--strategy", "canary", code=-SIGKILL)
    hooked.run("resume")
    hooked.serves("gateway", goal)
    payloads = told(hooked)
    again = WAY.index(point)
    assert [p["point"] for p in payloads] == [*WAY[: again + 1], *WAY[again:]]
    assert len({p["rollout"] for p in payloads}) == 1
