"""Instances that are killed: at rest the keeper replaces them, during a roll the roll does."""

from __future__ import annotations

import contextlib
import json
import socket

import httpx
from tests.chain.chains import Chain, Said, SlowUpload, chain_file, kill, running_in, sticky, tier_of, until


def test_the_keeper_replaces_an_instance_of_every_tier(rolled: Chain) -> None:
    before = rolled.status()["instances"]
    victims = {i["tier"]: i for i in before}
    for victim in victims.values():
        kill(victim["pid"])  # of an nginx that is the master: its orphaned workers must not go on serving

    def healed(told: Said) -> bool:
        names = {i["name"] for i in told["instances"] if i["phase"] == "admitted"}
        return len(names) == len(before) and not names & {i["name"] for i in victims.values()}

    after = rolled.until(healed, "four replacements")["instances"]
    assert [(i["tier"], i["template"]) for i in after] == [(i["tier"], i["template"]) for i in before]
    assert [rolled.get().status_code for _ in range(10)] == [200] * 10
    for victim in victims.values():
        assert running_in(rolled.state / "instances" / victim["name"]) == {}
    assert any(" keep " in command for command in running_in(rolled.state).values())


def test_a_new_instance_that_is_killed_during_a_roll_is_replaced(rolled: Chain) -> None:
    goal = rolled.other("runtime")
    with SlowUpload(rolled) as upload:  # keeps the roll where it is for as long as this takes
        holder = upload.arrives()
        roll = rolled.start("roll", "runtime", "--to", goal, "--json")
        roll.says(holder["name"], "draining")
        victim = rolled.instances("runtime", phase="admitted")[-1]
        assert victim["template"] == goal
        kill(victim["pid"])
        roll.says(victim["name"], "failed")
        assert rolled.get().status_code == 200
        upload.finish()
        told = roll.end(0).json
    assert upload.answer is not None, upload.error
    assert upload.answer.status_code == 201
    assert told["outcome"] == "completed"
    assert told["deaths"] == [f"{victim['name']} of tier runtime died while admitted: 0 requests broken."]
    assert not told["interrupted"]
    assert victim["pid"] not in rolled.serves("runtime", goal)


def test_an_instance_that_dies_with_an_upload_makes_the_roll_an_interruption_with_its_number(rolled: Chain) -> None:
    goal = rolled.other("runtime")
    with SlowUpload(rolled) as keeps_the_roll:
        first = keeps_the_roll.arrives()
        roll = rolled.start("roll", "runtime", "--to", goal, "--json")
        roll.says(first["name"], "draining")
        with SlowUpload(rolled, 3_000_000) as upload:
            victim = upload.arrives()
            kill(victim["pid"])
            roll.says(victim["name"], "died")
        keeps_the_roll.finish()
        told = roll.end(3).json
    broke = [text for text in told["interruptions"] if victim["name"] in text]
    assert broke[0].endswith("1 request broken.")
    assert [row for row in rolled.run("history", "--json").json["rollouts"] if broke[0] in row["interruptions"]]


def test_an_old_instance_and_a_gateway_that_are_killed_do_not_stop_a_roll(rolled: Chain) -> None:
    """The gateways are who must confirm each change of the runtime: a dead one is replaced, not waited for."""

    def slow(said: Said) -> None:
        tier_of(said, "runtime")["update"]["min_ready"] = "1s"

    before = rolled.status()["instances"]
    victims = [next(i for i in before if i["tier"] == tier) for tier in ("runtime", "gateway")]
    goal = {"v1": "v2", "v2": "v1"}[victims[0]["template"]]
    file = chain_file(rolled.folder, sticky, slow, name="slow.yaml")
    roll = rolled.start("roll", "runtime", "--to", goal, "--json", "-f", file)
    roll.says(" warming ")
    for victim in victims:
        kill(victim["pid"])
    for victim in victims:
        roll.says(victim["name"], "failed")
    told = roll.end(3).json  # of both at once nobody knows what they broke: the gateway counted that
    assert told["outcome"] == "completed"
    assert any(f"{victims[0]['name']} of tier runtime died" in text for text in told["interruptions"])
    gateway = victims[1]
    rolled.until(lambda told: len(admitted := _admitted(told)) == 2 and gateway["name"] not in admitted, "a gateway")
    rolled.serves("runtime", goal)


def _admitted(told: Said) -> set[str]:
    return {i["name"] for i in told["instances"] if i["tier"] == "gateway" and i["phase"] == "admitted"}


def test_a_load_balancer_that_is_killed_comes_back_with_its_members(rolled: Chain) -> None:
    before = {i["pid"] for i in rolled.status()["instances"]}
    kill(json.loads((rolled.state / "platform.json").read_text())["pid"])
    rolled.until(lambda told: bool(told["load_balancer_running"]), "the load balancer")

    def answers() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return rolled.get().status_code == 200
        return False

    until(answers, "an answer through the new load balancer")
    assert {i["pid"] for i in rolled.status()["instances"]} == before, "instances were not to be touched"


def test_a_load_balancer_that_was_given_back_only_some_of_its_members_is_given_the_rest(rolled: Chain) -> None:
    # As if whoever had started it again had been killed in the midst of that.
    record = rolled.state / "platform.json"
    told = json.loads(record.read_text())
    names = [i["name"] for i in rolled.instances("gateway")]
    for server in [f"{backend}/{name}" for name in names for backend in ("gateway.panic", "gateway")]:
        with socket.socket(socket.AF_UNIX) as api, contextlib.chdir(rolled.state / "haproxy"):
            api.connect("haproxy.sock")  # by a short name: that of the whole path may be too long for a socket
            api.sendall(f"set server {server} state maint\n".encode())
            api.recv(100)
    assert rolled.get().status_code in (502, 503)
    record.write_text(json.dumps({**told, "whole": False}))
    rolled.until(lambda seen: bool(seen["load_balancer_running"]), "all members in the load balancer")
    until(lambda: rolled.get().status_code == 200, "an answer")
