"""An undo starts what ran before, whatever the chain file has become, or names the difference and changes nothing."""

from __future__ import annotations

from tests.chain.chains import Chain, Said, chain_file, small, tier_of


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
