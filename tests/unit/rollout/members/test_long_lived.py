"""Long-lived connections at a drain: cut after a time of their own, beside the deadline, and no loss."""

from __future__ import annotations

from math import inf

import pytest
from pydantic import ValidationError
from tests.unit.rollout.playbook import BUSY, UPLOAD, A, C, Said, draining, script

from changeover.engine.runtime import rollout_settings
from changeover.model.chain import Drain, Tier
from changeover.rollout.commands import CreateInstance, LameDuck, Note, Remove, Stop
from changeover.rollout.events import ActionRequested, InFlightSeen, RouterConfirmed, Started, Tick
from changeover.rollout.tier.actions import Action


def test_what_is_open_so_long_after_the_removal_is_cut_and_is_not_a_lost_request() -> None:
    with script(size=2, surge=1, long_lived_after=30.0) as s:
        draining(s)
        s.event(InFlightSeen(34, A, BUSY))
        text = "cutting 1 request, 1 connection, open 30 s after its removal (drain.long_lived)"
        s.event(InFlightSeen(35, A, BUSY)).expect(Note(text, A, "warning", "long-lived"), Stop(A, kill=True))
        assert s.machine.fleet.members[A].cut == ""


def test_an_instance_is_asked_to_close_them_some_time_after_its_removal() -> None:
    """Its lame duck asks; without this policy it comes before the removal. A command that was lost is given again."""
    with script(size=2, surge=1, long_lived_asked_after=30.0, deadline=100) as s:
        s.event(Started(0, "v2")).expect(CreateInstance(C, "v2"))
        s.serve(C, at=2).expect(Remove(A))
        s.event(RouterConfirmed(5, A, admitted=False))
        s.event(InFlightSeen(34, A, BUSY))
        s.event(Tick(34.9))
        s.event(Tick(35)).expect(Said("asked to close what it has open", A), LameDuck(A, on=True))
        s.event(Tick(36))
        s.event(Tick(37)).expect(LameDuck(A, on=True))
        s.event(ActionRequested(38, Action.ABORT, reason="no")).expect(Said("going back"), LameDuck(A, on=False))


def test_a_router_that_follows_health_needs_the_lame_duck_for_the_removal() -> None:
    with script(size=2, surge=1, long_lived_asked_after=30.0, follows_health=True) as s:
        assert not s.machine.settings.asks_later


def test_an_upload_that_the_instance_counts_is_waited_for() -> None:
    with script(size=2, surge=1, long_lived_after=30.0, deadline=100) as s:
        draining(s)
        s.event(InFlightSeen(40, A, UPLOAD))
        s.event(InFlightSeen(105, A, UPLOAD)).expect(Said("still waiting", A))
        s.event(InFlightSeen(106, A, BUSY)).expect(Said("open 101 s", A), Stop(A, kill=True))


def test_without_the_policy_the_deadline_alone_counts() -> None:
    with script(size=2, surge=1, deadline=100) as s:
        draining(s)
        s.event(InFlightSeen(99, A, BUSY))
        s.event(Tick(105)).expect(Said("still waiting", A))


def test_an_instance_that_comes_back_has_its_whole_time_at_its_next_drain() -> None:
    with script(size=2, surge=1, long_lived_after=30.0) as s:
        draining(s)
        s.event(ActionRequested(20, Action.ABORT, reason="no")).expect(Said("going back"), LameDuck(A, on=False))
        s.event(InFlightSeen(36, A, BUSY))


def test_the_chain_file_gives_the_time_and_the_policy() -> None:
    def after(**drain: object) -> float:
        tier = Tier.model_validate({"name": "web", "kind": "app", "templates": {"v1": {}}, "drain": drain})
        return rollout_settings(tier, weighed=False).long_lived_after

    asking = Tier.model_validate(
        {"name": "web", "kind": "app", "templates": {"v1": {}}, "drain": {"long_lived": {"policy": "ask"}}}
    )
    assert rollout_settings(asking, weighed=False).long_lived_asked_after == 30.0
    assert after() == after(long_lived={"after": "5s"}) == inf
    assert after(long_lived={"policy": "cut"}) == 30.0
    assert after(long_lived={"policy": "cut", "after": "5s"}) == 5.0
    with pytest.raises(ValidationError, match=r"long_lived\.after must be shorter than deadline"):
        Drain.model_validate({"deadline": "20s", "long_lived": {"policy": "cut"}})
    with pytest.raises(ValidationError, match=r"long_lived\.after must be shorter than deadline"):
        Drain.model_validate({"deadline": "20s", "long_lived": {"policy": "ask"}})
