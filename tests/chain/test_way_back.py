"""An undo starts what ran before, whatever the chain file has become, or names the difference and changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.chain.chains import Chain, Said, chain_file, running_in, small, tier_of, until

from changeover.haproxy.runtime_api import RuntimeApi
from changeover.platforms.local.haproxy import SOCKET, panic_of


def test_an_undo_returns_to_a_template_that_was_deleted_from_the_file(two_tiers: Chain) -> None:
    was, goal = two_tiers.template("runtime"), two_tiers.other("runtime")
    kept = two_tiers.file.read_text()

    def without(said: Said) -> None:
        del tier_of(said, "runtime")["templates"][was]

    try:
        chain_file(two_tiers.folder, small, without, name=two_tiers.file.name)
        assert two_tiers.run("roll", "runtime", "--to", goal, "--json").json["outcome"] == "completed"
        assert two_tiers.run("undo", "runtime", "--json").json["outcome"] == "completed"
        two_tiers.serves("runtime", was)
    finally:
        two_tiers.file.write_text(kept)


def test_an_undo_to_a_template_that_was_edited_since_is_refused(two_tiers: Chain) -> None:
    was, goal = two_tiers.template("runtime"), two_tiers.other("runtime")
    two_tiers.run("roll", "runtime", "--to", goal)

    def edited(said: Said) -> None:
        tier_of(said, "runtime")["templates"][was]["version"] = "edited"

    file = chain_file(two_tiers.folder, small, edited, name="edited.yaml")
    refused = two_tiers.run("undo", "runtime", "-f", file, code=2)
    assert f"Template {was} of tier runtime was changed since instances of it ran" in refused.err
    assert f"Restore {was} as it was" in refused.err
    two_tiers.serves("runtime", goal)


def test_a_retry_of_a_template_that_was_edited_since_is_refused(two_tiers: Chain) -> None:
    was, goal = two_tiers.template("runtime"), two_tiers.other("runtime")
    kept = two_tiers.file.read_text()

    def never(said: Said) -> None:
        tier_of(said, "runtime")["templates"][goal]["command"] = ["sh", "-c", "exit 7"]

    try:
        chain_file(two_tiers.folder, small, never, name=two_tiers.file.name)
        assert two_tiers.run("roll", "runtime", "--to", goal, "--json", code=1).json["outcome"] == "undone"
        two_tiers.file.write_text(kept)
        refused = two_tiers.run("retry", "runtime", code=2)
        assert f"template {goal} of tier runtime was changed since its rollout was undone" in refused.err
        assert f"`changeover roll runtime --to {goal}` rolls to it as it is now" in refused.err
        two_tiers.serves("runtime", was)
    finally:
        two_tiers.file.write_text(kept)


def test_a_tier_is_not_made_smaller_and_rolled_at_once(two_tiers: Chain) -> None:
    was, goal = two_tiers.template("runtime"), two_tiers.other("runtime")

    def smaller(said: Said) -> None:
        tier_of(said, "runtime")["size"] -= 1

    file = chain_file(two_tiers.folder, small, smaller, name="smaller.yaml")
    for command in ("roll", "plan"):
        refused = two_tiers.run(command, "runtime", "--to", goal, "-f", file, code=2)
        assert "the chain file sets the size of tier runtime to 1, and 2 instances serve" in refused.err
    two_tiers.serves("runtime", was)


def test_after_a_power_cut_status_tells_that_nothing_serves_and_up_starts_it_again(chain: Chain) -> None:
    chain_file(chain.folder, small, name=chain.file.name)
    chain.up()
    for pid in running_in(chain.folder):  # the keeper too
        os.kill(pid, signal.SIGKILL)
    until(lambda: not running_in(chain.folder), "no process of the chain")
    cut = chain.here("status", "--json", "--check", code=2).json
    assert (cut["state"], [tier["serving"] for tier in cut["tiers"]]) == ("down", [0, 0])
    assert {instance["phase"] for instance in cut["instances"]} == {"dead"}
    revived = chain.run("up", "--json")
    assert "parts of it do not serve" in revived.err
    assert [tier["serving"] for tier in revived.json["tiers"]] == [tier["size"] for tier in revived.json["tiers"]]
    assert (revived.json["load_balancer_running"], revived.json["state"]) == (True, "serving")


def test_an_instance_that_the_load_balancer_has_lost_does_not_serve_until_up_has_it_admitted(two_tiers: Chain) -> None:
    name = two_tiers.instances("gateway")[0]["name"]
    api = RuntimeApi(str(two_tiers.state / "haproxy" / SOCKET))
    for backend in ("gateway", panic_of("gateway")):
        asyncio.run(api.ask(f"set server {backend}/{name} state maint"))
    lost = two_tiers.here("status", "--json").json
    assert (lost["state"], lost["tiers"][0]["serving"]) == ("down", 0)
    assert lost["instances"][0]["reason"] == "its routers do not list it"
    back = two_tiers.run("up", "--json").json
    assert (back["state"], back["tiers"][0]["serving"]) == ("serving", 1)
    assert two_tiers.get().status_code == 200


def test_up_in_the_midst_of_a_rollout_serves_what_ran_and_exits_as_degraded(chain: Chain) -> None:
    chain_file(chain.folder, small, name=chain.file.name)
    chain.up()
    rolling = chain.start("roll", "runtime", "--to", "v2", "--strategy", "canary")
    rolling.says("runtime-v2-", "admitted")
    for pid in running_in(chain.folder):  # the controller and the keeper too
        os.kill(pid, signal.SIGKILL)
    rolling.end(-signal.SIGKILL)
    until(lambda: not running_in(chain.folder), "no process of the chain")
    back = chain.run("up", "--json", code=1).json
    assert [tier["serving"] for tier in back["tiers"]] == [1, 2]
    assert back["state"] == "degraded"
    assert any("(runtime to v2) is unfinished and has no controller" in text for text in back["findings"])
    resumed = chain.run("resume", "--json", code=3).json  # the power cut broke requests
    assert resumed["outcome"] == "completed"
    chain.here("status", "--check")


def test_a_file_of_another_chain_is_named_and_what_up_does_not_apply_is_listed(two_tiers: Chain) -> None:
    def other(said: Said) -> None:
        said["name"] = "shop"

    def edited(said: Said) -> None:
        tier_of(said, "runtime")["size"] = 3
        tier_of(said, "runtime")["templates"]["v3"] = {"version": "v3"}

    refused = two_tiers.run("up", "-f", chain_file(two_tiers.folder, small, other, name="other.yaml"), code=2)
    assert "other.yaml describes the chain shop; in" in refused.err
    assert "runs the chain four-tiers, started from" in refused.err
    changed = two_tiers.run("up", "-f", chain_file(two_tiers.folder, small, edited, name="more.yaml"), "--json")
    assert "the size of tier runtime, template " in changed.err
    assert "template v3 of tier runtime" in changed.err
    assert changed.json["tiers"][1]["size"] == 2
