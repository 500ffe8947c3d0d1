"""What `demo` refuses before it starts a chain. The demo itself: tests/chain/test_whole_job.py."""

from __future__ import annotations

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import COULD_NOT


def test_a_state_folder_whose_chain_is_up_is_left_alone(chain: StandingChain) -> None:
    refused = chain.run("demo", "-f", chain.file)
    assert refused.code == COULD_NOT
    assert f"a chain is already up in {chain.state}" in refused.err
    assert f"changeover down --state {chain.state}" in refused.err
    with chain.journal() as journal:
        assert journal.is_up()


def test_a_chain_file_that_is_malformed_is_refused_before_anything_starts(chain: StandingChain) -> None:
    file = chain.folder / "broken.yaml"
    file.write_text("tiers: [")
    refused = chain.run("demo", "-f", file)
    assert refused.code == COULD_NOT
    assert str(file) in refused.err
