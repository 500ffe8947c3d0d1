from __future__ import annotations

from tests.unit.cli.standing import StandingChain

from changeover.cli.exits import DONE


def test_without_an_unfinished_rollout_resume_changes_nothing(chain: StandingChain) -> None:
    done = chain.run("resume", "--json")
    assert done.code == DONE
    assert done.json == {"outcome": "nothing to do", "rolls": []}
    assert "No rollout is unfinished. Nothing to do." in chain.run("resume").out
