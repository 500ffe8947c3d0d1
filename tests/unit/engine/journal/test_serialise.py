"""What the journal stores of an instance, a release, a keeper and an answer, in words of its own."""

from __future__ import annotations

import json

import pytest

from changeover.engine.journal import serialise
from changeover.engine.journal.records import KeeperProcess
from changeover.model.instance import InFlight
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.actions import Answer

MEMBER = Member(
    "web-v2-3",
    "v2",
    3,
    Phase.DRAINING,
    {"created": 1.0, Phase.LEAVING: 2.0, Phase.DRAINING: 3.5},
    patience_from=1.5,
    asked_at=2.5,
    deadline=603.5,
    last_busy=3.0,
    overdue=True,
    cut="1 upload",
    weight=7,
    weight_seen=5,
    served=True,
    given_up=True,
)


def test_an_instance_is_read_as_it_was_written() -> None:
    assert serialise.load_member(serialise.dump_member(MEMBER)) == MEMBER


def test_what_was_in_flight_is_not_stored_so_that_a_new_controller_counts_anew() -> None:
    busy = Member("web-v2-3", "v2", 3, in_flight=InFlight(1, 1), quiet=1)
    read = serialise.load_member(serialise.dump_member(busy))
    assert (read.in_flight, read.quiet) == (None, 0)


def test_an_instance_in_a_phase_that_does_not_exist_is_refused() -> None:
    stored = json.loads(serialise.dump_member(MEMBER))
    with pytest.raises(ValueError, match="resting"):
        serialise.load_member(json.dumps({**stored, "phase": "resting"}))
    del stored["served"]
    with pytest.raises(KeyError, match="served"):
        serialise.load_member(json.dumps(stored))


def test_templates_a_keeper_and_an_answer_are_read_as_they_were_written() -> None:
    templates, keeper, answer = {"web": "v2"}, KeeperProcess(5, 77, 2), Answer(False, "it is not paused")
    assert serialise.load_templates(serialise.dump_templates(templates)) == templates
    assert serialise.load_keeper(serialise.dump_keeper(keeper)) == keeper
    assert serialise.load_answer(serialise.dump_answer(answer)) == answer
