"""An undo starts what ran before, whatever the chain file has become, or names the difference and changes nothing."""

from __future__ import annotations

import os
import signal

from tests.chain.chains import Chain, Said, chain_file, running_in, small, tier_of, until


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
    assert [tier["serving"] for tier in chain.here("status", "--json").json["tiers"]] == [0, 0]
    revived = chain.run("up", "--json")
    assert "parts of it have died" in revived.err
    assert [tier["serving"] for tier in revived.json["tiers"]] == [tier["size"] for tier in revived.json["tiers"]]
    assert revived.json["load_balancer_running"]
