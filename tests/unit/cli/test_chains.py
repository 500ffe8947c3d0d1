from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.standing import CHAIN, StandingChain

from changeover.cli.chains import chain_file
from changeover.cli.exits import COULD_NOT
from changeover.model.errors import ChangeoverError
from changeover.rollout.tier.state import Rolling, Rollout, TierState


def test_the_given_file_wins(chain: StandingChain) -> None:
    assert chain_file(Path("given.yaml"), chain.state) == Path("given.yaml")


def test_without_one_it_is_the_file_that_the_chain_was_started_from(chain: StandingChain) -> None:
    assert chain_file(None, chain.state) == chain.file


def test_without_a_started_chain_it_is_the_file_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChangeoverError, match="no chain file is given"):
        chain_file(None, tmp_path / "state")
    (tmp_path / "chain.yaml").touch()
    assert chain_file(None, tmp_path / "state") == Path("chain.yaml")


@pytest.mark.parametrize("command", [("roll", "edge", "--to", "v2"), ("plan", "edge", "--to", "v2"), ("pause",)])
def test_a_chain_that_is_down_is_refused_with_the_command_that_starts_it(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    refused = StandingChain(tmp_path).run(*command)
    assert refused.code == COULD_NOT
    assert f"no chain is up in {tmp_path / 'state'}" in refused.err
    assert "changeover up -f FILE" in refused.err


def test_a_chain_file_with_other_tiers_than_the_running_chain_is_refused(chain: StandingChain) -> None:
    chain.file.write_text(CHAIN.replace("name: edge", "name: front"))
    refused = chain.run("roll", "front", "--to", "v2")
    assert refused.code == COULD_NOT
    assert "other tiers than the running chain: front (nginx-stream), runtime (app); running: edge" in refused.err
    assert "Nothing was changed." in refused.err


def test_a_chain_file_with_another_preview_is_refused(chain: StandingChain) -> None:
    preview = "    update: {strategy: blue-green, preview: '127.0.0.1:9090'}\n"
    chain.file.write_text(CHAIN.rstrip() + "\n" + preview)
    refused = chain.run("roll", "runtime", "--to", "v2")
    assert refused.code == COULD_NOT
    assert "sets the preview of tier runtime to 127.0.0.1:9090; the chain was started with none" in refused.err


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("listen: 127.0.0.1:8080", "listen: 127.0.0.1:8090", "sets listen to 127.0.0.1:8090; the chain was started"),
        (
            "nginx-stream\n",
            "nginx-stream\n    affinity: client-ip\n",
            "the affinity of tier edge to client-ip; the chain",
        ),
        (
            "kind: app\n",
            "kind: app\n    health: {fall: 9, headers: {Token: hunter2}}\n",
            "health.headers of tier runtime to Token (a value with the hash f52fbd32); the chain was started with none",
        ),
    ],
    ids=["listen", "affinity", "health"],
)
def test_a_change_that_takes_effect_only_when_a_chain_starts_is_named_and_refused(
    chain: StandingChain, was: str, now: str, message: str
) -> None:
    assert was in CHAIN
    chain.file.write_text(CHAIN.replace(was, now))
    for command in ("roll", "plan"):
        refused = chain.run(command, "edge", "--to", "v2")
        assert refused.code == COULD_NOT
        assert message in refused.err
        assert "Nothing was changed." in refused.err


def test_a_rollout_is_not_resumed_with_another_size(chain: StandingChain) -> None:
    with chain.controlled("roll") as journal:
        journal.begin_rollout(1.0, "edge", "v1", "v2")
        moving = TierState("v2", Rolling(Rollout("v1", "rolling", 0)))
        journal.write_step(1.0, "edge", moving, (), ())
        journal.begin_release(1.0, {"edge": "v2"}, {"edge": "v1"}, None)
    chain.file.write_text(CHAIN.replace("size: 2", "size: 1", 1))
    refused = chain.run("resume")
    assert refused.code == COULD_NOT
    assert "sets the size of tier edge to 1; its unfinished rollout began with 2" in refused.err
