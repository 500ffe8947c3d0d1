"""Rolls that must not go through: refused at once, or undone with the old version serving everything."""

from __future__ import annotations

import re

import pytest
from tests.chain.chains import Chain, Done, Said, chain_file, tier_of
from tests.chain.conftest import TEMPLATES


def impatient(said: Said) -> None:
    tier_of(said, "runtime")["update"] = {"min_ready": "100ms", "progress_deadline": "1s"}


def unchanged(chain: Chain, tier: str, *words: object, code: int) -> Done:
    """Run a command that must leave the tier's v1 instances as they are: the very same processes, serving."""
    done = chain.run(*words, code=code)
    assert "Traceback" not in done.err
    assert chain.serves(tier, "v1") <= chain.processes
    return done


@pytest.mark.parametrize(
    ("tier", "to", "reason"),
    [
        ("runtime", "dies", "no such table: reels"),
        ("runtime", "missing", "/nowhere/server: No such file or directory"),
    ],
)
def test_a_template_that_does_not_start_is_undone_and_its_own_software_says_why(
    resting: Chain, tier: str, to: str, reason: str
) -> None:
    done = unchanged(resting, tier, "roll", tier, "--to", to, code=1)
    assert re.search(reason, done.out), done
    assert f"{tier}: v1 -> {to} was undone" in done.out
    assert "2 instances of v1 serve all traffic" in done.out


@pytest.mark.parametrize(
    ("tier", "reason"),
    [
        ("edge", 'unknown directive "this_is_not" in the template\'s snippet:1'),
        ("l4", '"proxy_pass" directive is not allowed here in the template\'s snippet:1'),
    ],
)
@pytest.mark.parametrize("command", ["plan", "roll"])
def test_a_line_of_the_users_that_nginx_refuses_is_named_before_anything_starts(
    resting: Chain, tier: str, reason: str, command: str
) -> None:
    done = unchanged(resting, tier, command, tier, "--to", "garbage", code=2)
    assert f"the configuration of template garbage of tier {tier} is refused" in done.err
    assert reason in done.err


def test_a_template_that_is_never_ready_is_undone_after_its_progress_deadline(resting: Chain) -> None:
    file = chain_file(resting.folder, *TEMPLATES, impatient, name="impatient.yaml")
    done = unchanged(resting, "runtime", "roll", "runtime", "--to", "never", "-f", file, "--json", code=1)
    told = done.json
    assert (told["outcome"], told["from"], told["to"]) == ("undone", "v1", "never")
    assert re.match(r"runtime-never-\d+ was not ready after \d+ s \(progress_deadline\): GET http://", told["reason"])
    (new,) = (m for m in told["instances"] if m["template"] == "never")
    assert new["phase"] == "gone"
    assert "admitted" not in new["times"]


def test_rolling_to_what_runs_already_is_nothing_to_do(resting: Chain) -> None:
    assert "Nothing to do." in unchanged(resting, "edge", "roll", "edge", "--to", "v1", code=0).out
    told = resting.roll("edge", "v1")
    assert (told["tier"], told["from"], told["to"]) == ("edge", "v1", "v1")
    assert (told["outcome"], told["instances"]) == ("nothing to do", [])


def test_an_unknown_tier_or_template_is_refused_with_what_there_is(resting: Chain) -> None:
    done = resting.here("roll", "middle", "--to", "v2", code=2)
    assert "there is no tier middle" in done.err
    assert "edge, l4, gateway, runtime" in done.err
    done = resting.here("roll", "l4", "--to", "v9", code=2)
    assert "tier l4 has no template v9" in done.err
    assert "v1, v2, garbage" in done.err


def test_a_chain_file_that_does_not_hold_up_is_refused_with_file_and_line(resting: Chain) -> None:
    text = resting.file.read_text()
    bad = resting.folder / "bad.yaml"
    bad.write_text(text.replace("deadline: 60s", "dedline: 60s", 1))
    line = [text.strip() for text in bad.read_text().splitlines()].index("dedline: 60s") + 1
    done = resting.here("roll", "edge", "--to", "v2", "-f", bad, code=2)
    assert f"bad.yaml:{line}: tiers.0.drain.dedline: no such key" in done.err
    assert "Did you mean deadline?" in done.err
    resting.serves("edge", "v1")


@pytest.mark.parametrize("tier", ["runtime", "edge"], ids=["of the tier", "of another tier"])
def test_a_template_that_was_changed_while_it_runs_is_refused_and_not_taken_over(resting: Chain, tier: str) -> None:
    kept = (resting.state / "chain.yaml").read_text()

    def changed(said: Said) -> None:
        v1 = tier_of(said, tier)["templates"]["v1"]
        v1.update({"version": "v1.1"} if tier == "runtime" else {"headers": {"X-Edge-Version": "v1.1"}})

    file = chain_file(resting.folder, *TEMPLATES, changed, name="changed.yaml")
    done = unchanged(resting, "runtime", "roll", "runtime", "--to", "v2", "-f", file, code=2)
    assert f"Template v1 of tier {tier} was changed while instances of it are running" in done.err
    # What the keeper would start a dead instance from.
    assert (resting.state / "chain.yaml").read_text() == kept
