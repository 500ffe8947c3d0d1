"""Rollouts that nobody watches: in the background, bounded in time, and ended where they wait for an operator."""

from __future__ import annotations

import json

import pytest
from tests.chain.chains import Chain, Said, chain_file, small, tier_of
from tests.unit.traces.collector import attributes, collecting


def test_a_detached_rollout_goes_on_without_its_command_and_wait_prints_its_outcome(two_tiers: Chain) -> None:
    was, goal = two_tiers.template("runtime"), two_tiers.other("runtime")
    begun = two_tiers.run("roll", "runtime", "--to", goal, "--detach", "--json").json
    assert begun.keys() == {"pid", "log"}
    assert begun["log"].endswith("roll.log")
    done = two_tiers.run("wait", "--timeout", "30s", "--json").json
    assert (done["outcome"], done["from"], done["to"]) == ("completed", was, goal)
    two_tiers.serves("runtime", goal)
    again = two_tiers.run("wait", "--json").json
    assert (again["outcome"], again["to"]) == ("completed", goal)


def test_a_detached_command_that_cannot_begin_ends_with_the_cause(two_tiers: Chain) -> None:
    refused = two_tiers.run("roll", "runtime", "--to", "v9", "--detach", "--json", code=2).json
    assert "Its templates are: v1, v2." in refused["error"][0]["what"]


def test_a_rollout_can_be_followed_by_programs_its_lines_as_objects_and_its_spans_at_a_collector(
    two_tiers: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANGEOVER_LOG_FORMAT", "json")
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        done = two_tiers.run("roll", "runtime", "--to", two_tiers.other("runtime"), "--json")
    lines = [json.loads(line) for line in done.err.splitlines()]
    rollout = two_tiers.here("history", "--json").json["rollouts"][-1]["id"]
    phases = [line for line in lines if line["event"] == "phase"]
    assert {line["rollout"] for line in phases} == {rollout}
    spans = {one.name: attributes(one.attributes) for one in collector.spans}
    assert spans["tier runtime"]["changeover.rollout"] == rollout
    assert {line["instance"] for line in phases} == {one["name"] for one in done.json["instances"]} <= spans.keys()
    assert {"creating", "admitted", "leaving", "draining", "stopping"} <= spans.keys()
    assert f"was sent to {collector.url}." in lines[-1]["message"]


def test_a_rollout_that_waits_for_an_operator_ends_its_command_with_5_and_the_ways_on(two_tiers: Chain) -> None:
    goal = two_tiers.other("runtime")

    def holds(said: Said) -> None:
        tier_of(said, "runtime")["update"]["steps"] = [{"set_weight": 50}, {"pause": "until-promoted"}]

    file = chain_file(two_tiers.folder, small, holds, name="holds.yaml")
    words = ("roll", "runtime", "--to", goal, "--strategy", "canary", "-f", file)
    ended = two_tiers.run(*words, "--exit-when-paused", "--json", code=5)
    assert ended.json["error"][0]["what"] == f"the rollout (runtime to {goal}) waits for `promote`"
    assert "`changeover abort` takes it back" in ended.err
    waited = two_tiers.run("wait", "--json", code=5).json
    assert waited["error"][0]["what"] == f"the rollout (runtime to {goal}) waits for `promote`"
    assert two_tiers.run("promote", "--full", "-f", file, "--json").json["outcome"] == "completed"
    two_tiers.serves("runtime", goal)


def test_at_its_timeout_a_rollout_is_paused_and_goes_on_when_asked(two_tiers: Chain) -> None:
    was, goal = two_tiers.template("runtime"), two_tiers.other("runtime")

    def slow(said: Said) -> None:
        tier_of(said, "runtime")["update"]["steps"] = [{"set_weight": 50}, {"pause": "600s"}]

    file = chain_file(two_tiers.folder, small, slow, name="slow.yaml")
    words = ("roll", "runtime", "--to", goal, "--strategy", "canary", "-f", file)
    ended = two_tiers.run(*words, "--timeout", "3s", "--json", code=5).json
    assert "did not end within 3 s; is paused: requested by" in ended["error"][0]["what"]
    found = two_tiers.here("status", "--check", "--json", code=1).json
    assert found["active_command"] is None
    assert two_tiers.run("abort", "-f", file, "--json", code=1).json["outcome"] == "undone"
    two_tiers.serves("runtime", was)
