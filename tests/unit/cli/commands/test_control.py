"""What control commands refuse before they act. With a controller that answers: tests/chain/test_json.py."""

from __future__ import annotations

import asyncio
import os

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli.commands.control import control
from changeover.cli.exits import COULD_NOT
from changeover.cli.rendering.output import Output
from changeover.model.errors import ChangeoverError
from changeover.rollout.tier.actions import Action


@pytest.mark.parametrize("action", ["pause", "promote", "abort", "undo", "retry"])
def test_without_any_rollout_there_is_nothing_to_control(chain: StandingChain, action: str) -> None:
    refused = chain.run(action)
    assert refused.code == COULD_NOT
    assert f"cannot {action}: no tier has been rolled" in refused.err


def test_an_unknown_tier_is_refused_with_those_that_exist(chain: StandingChain) -> None:
    refused = chain.run("pause", "middle")
    assert refused.code == COULD_NOT
    assert "there is no tier middle" in refused.err
    assert "Tiers: edge, runtime." in refused.err


@pytest.mark.parametrize("action", ["undo", "retry"])
def test_a_tier_that_was_never_rolled_has_no_rollout_to_return_to(chain: StandingChain, action: str) -> None:
    refused = chain.run(action, "runtime")
    assert refused.code == COULD_NOT
    assert "the tier has no earlier rollout" in refused.err
    assert "Nothing was changed." in refused.err


def test_a_controller_that_does_not_respond_is_named_and_the_request_stays_queued(chain: StandingChain) -> None:
    asking = control(Output(as_json=False), "runtime", None, chain.state, Action.PAUSE, answer_timeout=0.1)
    with chain.controlled("roll runtime to v2"):
        with pytest.raises(ChangeoverError) as refused:
            asyncio.run(asking)
        with chain.journal() as journal:
            (request,) = journal.action_requests()
    assert f"the controller (pid {os.getpid()}) did not respond within 0 s" in str(refused.value)
    assert "The request stays queued." in str(refused.value)
    assert (request.tier, request.action) == ("runtime", "pause")


@pytest.mark.parametrize("action", ["promote", "abort", "undo", "retry", "resume"])
def test_a_report_is_refused_where_another_command_carries_the_rollout_on(chain: StandingChain, action: str) -> None:
    with chain.controlled("roll runtime to v2") as journal:
        journal.begin_rollout(1.0, "runtime", "v1", "v2")
        refused = chain.run(action, "--report", chain.folder / "page.html")
        assert journal.action_requests() == []
    assert refused.code == COULD_NOT
    assert f"{action} writes no report: the command with process {os.getpid()} carries the rollout on" in refused.err
    assert "then `changeover wait` with them." in refused.err
