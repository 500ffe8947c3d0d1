from __future__ import annotations

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT

EXACTLY_ONE = "give exactly one of: `TIER --to V`, `--all --to V`, `--release FILE`"


@pytest.mark.parametrize(
    "words",
    [(), ("edge",), ("--to", "v2"), ("edge", "--all", "--to", "v2"), ("edge", "--release", "release.yaml")],
    ids=" ".join,
)
@pytest.mark.parametrize("command", ["roll", "plan"])
def test_options_that_name_no_target_or_two_are_refused(
    chain: StandingChain, command: str, words: tuple[str, ...]
) -> None:
    refused = chain.run(command, *words)
    assert refused.code == COULD_NOT
    assert EXACTLY_ONE in refused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("middle", "--to", "v2"), "there is no tier middle"),
        (("edge", "--to", "v9"), "tier edge has no template v9"),
        (("--all", "--to", "v9"), "no tier has a template v9"),
    ],
)
def test_a_target_that_the_chain_does_not_have_is_refused(
    chain: StandingChain, words: tuple[str, ...], message: str
) -> None:
    refused = chain.run("plan", *words)
    assert refused.code == COULD_NOT
    assert message in refused.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- edge\n", "a release file is a mapping of tier to template"),
        ("{}", "a release file is a mapping of tier to template"),
        ("edge: 2\n", "a release file is a mapping of tier to template"),
        ("edge: [", "the release file cannot be read"),
        ("middle: v2\n", "there is no tier middle"),
    ],
)
def test_a_release_file_that_is_none_is_refused(chain: StandingChain, text: str, message: str) -> None:
    file = chain.folder / "release.yaml"
    file.write_text(text)
    refused = chain.run("plan", "--release", file)
    assert refused.code == COULD_NOT
    assert message in refused.err


@pytest.mark.parametrize(
    "words",
    [
        ("--restart",),
        ("edge", "--all", "--restart"),
        ("edge", "--to", "v1", "--restart"),
        ("--release", "r", "--restart"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("command", ["roll", "plan"])
def test_a_restart_takes_a_tier_or_all_and_no_template(
    chain: StandingChain, command: str, words: tuple[str, ...]
) -> None:
    refused = chain.run(command, *words)
    assert refused.code == COULD_NOT
    assert "give exactly one of: `TIER --restart`, `--all --restart`" in refused.err


def test_a_restart_of_a_tier_that_the_chain_does_not_have_is_refused(chain: StandingChain) -> None:
    refused = chain.run("roll", "middle", "--restart")
    assert refused.code == COULD_NOT
    assert "there is no tier middle" in refused.err
