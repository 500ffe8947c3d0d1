"""`changeover plan` says beforehand what a roll then does: whom it creates, whom it stops, and whom it cuts."""

from __future__ import annotations

from tests.chain.chains import Chain, Said, SlowUpload, chain_file, sticky, tier_of, until
from tests.unit.json_page import insist


def test_a_plan_says_who_would_be_cut_and_the_roll_then_does_what_it_said(rolled: Chain) -> None:
    def impatient(said: Said) -> None:
        tier_of(said, "runtime")["drain"] = {"deadline": "500ms", "policy": "cut"}
        tier_of(said, "runtime")["update"]["steps"] = [{"set_weight": 50}]  # of a canary, and this roll is none

    file = chain_file(rolled.folder, sticky, impatient, name="impatient-plan.yaml")
    came_from, goal = rolled.template("runtime"), rolled.other("runtime")
    words = ("plan", "runtime", "--to", goal, "-f", file)
    with SlowUpload(rolled) as upload:
        holder = upload.arrives()

        def cut() -> Said | None:  # the longer the upload stands still, the longer it would take
            told = rolled.here(*words, "--json", code=4).json
            return told if told["uploads_cut"] else None

        plan = until(cut, "a plan that would cut the upload")
        people = rolled.here(*words, code=4).out
        ran = rolled.run("roll", "--plan", plan["id"], "-f", file, "--json", code=3)
    done = ran.json
    (passing,) = plan["uploads"]
    short = {"tier": "l4", "pool": "edge", "step_seconds": 1.0, "connection_seconds": 3.0}
    insist(
        "plan",
        plan,
        {
            "tiers": [{"waits_for": ["hooks"]}],
            "instances_without_counts": ["edge-v1-1"],
            "long_lived": [{"tier": "edge", "instance": "edge-v1-1", "connections": 1, "oldest_seconds": 40.0}],
            "guards_without_comparison": [{"tier": "runtime", "guard": "latency-not-worse"}],
            "steps_shorter_than_connections": [short],
            "preconditions": [
                dict.fromkeys(("check", "severity", "where", "read", "get", "post", "cure", "refuses"), "")
            ],
        },
    )
    assert (passing["tier"], passing["instance"], passing["expected_outcome"]) == ("runtime", holder["name"], "cut")
    assert "1 of 1 uploads in flight would be cut" in people
    assert plan["unused_settings"] == [{"tier": "runtime", "key": "update.steps", "strategy": "canary"}]
    for text in (people, ran.err):
        assert "`update.steps` of runtime has no effect in this roll" in " ".join(text.split())
    assert f"changeover roll --plan {plan['id']}" in people
    cut_members = [member["name"] for member in done["instances"] if member["cut"]]
    assert cut_members == [holder["name"]]

    (tier,) = plan["tiers"]
    steps = {(step["action"], step["instance"]) for step in tier["steps"]}
    there = {member["name"]: member["template"] for member in done["instances"]}
    assert {name for what, name in steps if what == "create"} == {n for n, of in there.items() if of == goal}
    assert {name for what, name in steps if what == "stop"} == {n for n, of in there.items() if of == came_from}
    assert (tier["max_instances"], tier["size"]) == (3, 2)
    assert 0 < tier["lower_bound_seconds"] <= tier["seconds"]

    stale = rolled.here("roll", "--plan", plan["id"], "-f", file, code=2).err
    assert f"plan {plan['id']} is stale" in stale
    assert f"the template of runtime: was {came_from} -> {goal}, is {goal} -> {goal}" in stale
    rolled.serves("runtime", goal)


def test_a_plan_is_stale_when_the_chain_file_says_something_else_by_now(resting: Chain) -> None:
    plan = resting.here("plan", "edge", "--to", "v2", "--json", code=4).json
    assert [tier["tier"] for tier in plan["tiers"]] == ["edge"]

    def other(said: Said) -> None:
        tier_of(said, "edge")["templates"]["v2"]["keepalive_time"] = "700ms"

    file = chain_file(resting.folder, other, name="other-v2.yaml")
    refused = resting.here("roll", "--plan", plan["id"], "-f", file, code=2).err
    assert "the content of template v2 of edge: was" in refused
    assert "Nothing was changed" in refused


def test_a_plan_of_all_tiers_goes_from_the_inside_out_and_nothing_to_do_exits_0(resting: Chain) -> None:
    plan = resting.here("plan", "--all", "--to", "v2", "--json", code=4).json
    assert [tier["tier"] for tier in plan["tiers"]] == ["runtime", "gateway", "l4", "edge"]
    begins = [tier["starts_at_seconds"] for tier in plan["tiers"]]
    assert begins == sorted(begins)
    assert plan["max_instances"] == 9  # two of each of the four tiers, and the one beside them
    assert plan["uploads_cut"] == 0
    nothing = resting.here("plan", "--all", "--to", "v1", "--json").json
    assert (nothing["id"], nothing["tiers"]) == (None, [])


def test_a_plan_reckons_the_disk_that_buffered_bodies_may_take_while_it_is_carried_out(resting: Chain) -> None:
    def buffered(said: Said) -> None:
        route = {"path": "/upload", "buffering": "buffer", "max_body": "50MB", "disk": "1GB"}
        tier_of(said, "edge")["templates"]["v2"]["routes"] = [{"path": "/"}, route]

    words = ("plan", "edge", "--to", "v2", "-f", chain_file(resting.folder, buffered, name="buffered.yaml"))
    assert resting.here(*words, "--json", code=4).json["tiers"][0]["buffered_bytes_limit"] == 3_000_000_000
    assert "edge buffers bodies on disk: 3 instances x 1.0 GB = 3.0 GB." in resting.here(*words, code=4).out
    plain = resting.here("plan", "edge", "--to", "v2", code=4).out
    assert "on disk" not in plain


def test_a_plan_that_is_not_there_is_named(resting: Chain) -> None:
    for number in ("000000000000", "../journal"):
        assert f"there is no plan {number} in " in resting.here("roll", "--plan", number, code=2).err
    assert (
        "--plan cannot be combined with"
        in resting.here("roll", "edge", "--to", "v2", "--plan", "000000000000", code=2).err
    )
