"""The journal: who may write, what is whole, and what happens when it cannot be written or read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from changeover.engine.journal.journal import Journal, LeaseHeld
from changeover.engine.journal.records import KeeperProcess, LogLine
from changeover.engine.journal.schema import FORMAT
from changeover.kit.user import current_user
from changeover.model.errors import ChangeoverError
from changeover.model.instance import InFlight
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Cause, Phase
from changeover.rollout.tier.actions import Answer
from changeover.rollout.tier.state import Rolling, Rollout, TierState

RESTING = TierState("v1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[Journal]:
    """Its lease is held."""
    found = Journal(file)
    found.take_lease("test", 100.0)
    yield found
    found.close()


@pytest.fixture
def other(journal: Journal, file: Path) -> Iterator[Journal]:
    """Somebody else's view of it."""
    found = Journal(file)
    yield found
    found.close()


def bury_holder(file: Path) -> None:
    """Make the lease that of a process that is gone: of this number, but started at another time."""
    with sqlite3.connect(file) as database:
        database.execute("update lease set born = born + 1")
    database.close()


def step(journal: Journal, *added: Member, state: TierState = RESTING, tier: str = "web") -> None:
    journal.write_step(101.0, tier, state, added, [LogLine("note", "hello", "web-v1-1")])


# -- who may write -------------------------------------------------------------------------------------------------


def test_the_lease_of_a_live_process_is_not_to_be_had(journal: Journal, other: Journal) -> None:
    with pytest.raises(LeaseHeld, match=r"test \(process \d+\)") as held:
        other.take_lease("second", 101.0)
    assert (held.value.holder.purpose, held.value.holder.since) == ("test", 100.0)


def test_the_lease_of_a_dead_process_is_taken_over(journal: Journal, other: Journal, file: Path) -> None:
    bury_holder(file)
    other.take_lease("second", 101.0)
    holder = other.holder()
    assert holder is not None
    assert (holder.purpose, holder.epoch, holder.is_alive()) == ("second", 2, True)


def test_a_lease_that_was_given_back_is_to_be_had(journal: Journal, other: Journal) -> None:
    journal.release_lease()
    assert other.holder() is None
    other.take_lease("second", 101.0)


def test_a_lease_that_was_lost_is_not_given_back_for_the_new_holder(
    journal: Journal, other: Journal, file: Path
) -> None:
    bury_holder(file)
    other.take_lease("second", 101.0)
    journal.release_lease()
    assert other.holder() is not None
    step(other)


def test_whoever_was_taken_over_writes_nothing_any_more(journal: Journal, other: Journal, file: Path) -> None:
    step(journal, Member("web-v1-1", "v1", 1))
    bury_holder(file)
    other.take_lease("second", 101.0)
    with pytest.raises(ChangeoverError, match="no longer holds the lease of the chain: another one has taken over"):
        step(journal, Member("web-v1-2", "v1", 2), state=replace(RESTING, goal="v9"))
    with pytest.raises(ChangeoverError, match="no longer holds the lease"):
        journal.begin_rollout(102.0, "web", "v1", "v9")
    assert other.tier("web") == RESTING
    assert [member.name for member in other.fleet("web")] == ["web-v1-1"]
    assert other.rollouts() == []


def test_a_rollout_has_the_user_and_the_command_that_asked_for_it(journal: Journal, other: Journal) -> None:
    row = journal.begin_rollout(100.0, "web", "v1", "v2")
    assert other.requests() == {row.id: f"{current_user()}: test"}


def test_nobody_writes_without_a_lease(journal: Journal, other: Journal) -> None:
    with pytest.raises(ChangeoverError, match="no longer holds the lease"):
        step(other)


def test_a_question_may_be_left_without_a_lease(journal: Journal, other: Journal) -> None:
    number = other.request_action("web", "abort", "me", 101.0)
    (request,) = journal.action_requests()
    assert (request.id, request.tier, request.action, request.requested_by) == (number, "web", "abort", "me")
    assert other.answer_to(number) is None
    journal.answer(number, Answer(True, "done"))
    assert other.answer_to(number) == Answer(True, "done")
    assert journal.action_requests() == []


# -- a step --------------------------------------------------------------------------------------------------------


def test_a_step_is_there_whole_for_everybody(journal: Journal, other: Journal) -> None:
    number = journal.begin_rollout(100.5, "web", "v1", "v2").id
    state = TierState("v2", Rolling(Rollout("v1")), serial=7, failures=2, not_before=103.5)
    step(journal, Member("web-v2-7", "v2", 7), state=state)
    assert other.tier("web") == state
    assert [member.name for member in other.fleet("web")] == ["web-v2-7"]
    assert [(row.at, row.instance, row.kind, row.text) for row in other.log(number)[1:]] == [
        (101.0, "web-v1-1", "note", "hello")
    ]
    assert other.latest() == 101.0


def test_a_step_that_fails_half_way_leaves_nothing(journal: Journal, other: Journal) -> None:
    def lines() -> Iterator[LogLine]:
        yield LogLine("note", "one")
        raise RuntimeError("killed here")

    step(journal, Member("web-v1-1", "v1", 1))
    with pytest.raises(RuntimeError):
        journal.write_step(102.0, "web", TierState("v2"), [Member("web-v2-2", "v2", 2)], lines())
    assert other.tier("web") == RESTING
    assert [member.name for member in other.fleet("web")] == ["web-v1-1"]
    assert other.latest() == 101.0
    step(journal)  # and the next one can be written


def test_a_member_that_moved_is_where_it_moved_to(journal: Journal, other: Journal) -> None:
    fleet = Fleet([Member("web-v1-1", "v1", 1), Member("web-v1-2", "v1", 2)])
    step(journal, *fleet)
    for cause in (Cause.BECAME_READY, Cause.READY_LONG_ENOUGH):
        fleet.move(fleet.members["web-v1-1"], cause, 105.0)
    for cause in (Cause.EXITED, Cause.REMOVAL_CONFIRMED):
        fleet.move(fleet.members["web-v1-2"], cause, 106.0)
    journal.write_step(106.0, "web", RESTING, [move.member for move in fleet.take_changes()[0]], [])
    (member,) = other.fleet("web")
    assert (member.name, member.phase, member.since) == ("web-v1-1", Phase.READY, 105.0)
    assert [member.phase for member in other.members_since("web", 106.0)] == [Phase.GONE]


def times() -> st.SearchStrategy[float]:
    return st.floats(0, 1e10)


@st.composite
def members(draw: st.DrawFn) -> list[Member]:
    """Of any history, but for those that are gone."""
    phases = st.sampled_from([phase for phase in Phase if phase is not Phase.GONE])
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    found = draw(
        st.lists(
            st.builds(
                Member,
                name=st.just(""),
                template=st.sampled_from(["v1", "v2"]),
                serial=st.just(0),
                phase=phases,
                times=st.dictionaries(st.sampled_from(["created", *Phase]), times()),
                patience_from=times(),
                asked_at=times(),
                deadline=st.none() | times(),
                in_flight=st.just(InFlight(1, 1)),
                last_busy=st.none() | times(),
                quiet=st.integers(0, 3),
                overdue=st.booleans(),
                cut=text,
                served=st.booleans(),
                given_up=st.booleans(),
            ),
            max_size=5,
        )
    )
    for serial, member in enumerate(found, start=1):
        member.name, member.serial = f"web-{member.template}-{serial}", serial
    return found


@given(fleet=members())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_known_of_an_instance_is_read_as_it_was_written(journal: Journal, fleet: list[Member]) -> None:
    """But for what was in flight, and how often nothing was: that has to be seen again."""
    journal.clear_tiers(100.0)
    step(journal, *fleet)
    kept = [field.name for field in fields(Member) if field.name not in ("in_flight", "quiet")]
    read = list(journal.fleet("web"))
    assert [[getattr(m, name) for name in kept] for m in read] == [[getattr(m, name) for name in kept] for m in fleet]
    assert all(member.in_flight is None and member.quiet == 0 for member in read)


# -- rollouts and the rest -----------------------------------------------------------------------------------------


def test_a_rollout_that_was_not_finished_is_found_again(journal: Journal) -> None:
    row = journal.begin_rollout(100.0, "web", "v1", "v2")
    assert journal.begin_rollout(200.0, "web", "v1", "v2") == row
    assert journal.begin_rollout(200.0, "api", "v1", "v2").id != row.id
    journal.end_rollout(row.id, 300.0, "completed", "")
    assert journal.begin_rollout(400.0, "web", "v1", "v2").id != row.id
    first = journal.rollouts()[0]
    assert (first.started, first.ended, first.outcome) == (100.0, 300.0, "completed")
    assert [row.tier for row in journal.rollouts(unfinished=True)] == ["api", "web"]


def test_what_hooks_said_is_kept_with_their_rollout_also_after_its_end(journal: Journal, other: Journal) -> None:
    row = journal.begin_rollout(100.0, "web", "v1", "v2")
    journal.end_rollout(row.id, 200.0, "completed", "")
    journal.write_line(201.0, row.id, "web", LogLine("hook", "after_tier hook mine passed"))
    assert [(line.at, line.kind, line.text) for line in other.log(row.id)[1:]] == [
        (201.0, "hook", "after_tier hook mine passed")
    ]
    assert [row.hooks_done for row in other.rollouts()] == [False]
    journal.mark_hooks_done(row.id)
    assert [row.hooks_done for row in other.rollouts()] == [True]


def test_a_release_is_found_again_as_it_was_asked_for(journal: Journal, other: Journal) -> None:
    number = journal.begin_release(100.0, {"web": "v2"}, {"web": "v1"}, "canary")
    assert journal.begin_release(200.0, {"web": "v2"}, {"web": "v1"}) == number
    release = other.unfinished_release()
    assert release is not None
    assert (release.id, release.to_templates, release.strategy, release.undo_reason) == (
        number,
        {"web": "v2"},
        "canary",
        None,
    )
    journal.end_release(number, 300.0, "completed", "")
    assert other.unfinished_release() is None


def test_who_moves_and_how_many_stand_where_is_told_to_whoever_asks(journal: Journal, other: Journal) -> None:
    assert other.tier_state() == {"moving": None, "phases": {}}
    journal.begin_rollout(100.0, "web", "v1", "v2")
    step(
        journal,
        Member("web-v1-1", "v1", 1, Phase.ADMITTED),
        Member("web-v1-2", "v1", 2, Phase.ADMITTED),
        Member("web-v2-3", "v2", 3, Phase.WARMING),
        Member("web-v1-0", "v1", 0, Phase.GONE),
    )
    assert other.tier_state() == {"moving": "web", "phases": {"web": {"admitted": 2, "warming": 1}}}


def test_a_chain_that_was_taken_down_has_no_instances_and_nothing_under_way(journal: Journal) -> None:
    journal.begin_rollout(100.0, "web", "v1", "v2")
    step(journal, Member("web-v1-1", "v1", 1))
    journal.clear_tiers(150.0)
    assert journal.tier("web") is None
    assert list(journal.fleet("web")) == []
    (row,) = journal.rollouts()
    assert (row.ended, row.outcome, row.reason) == (150.0, "failed", "the chain was taken down")


def test_the_chain_file_and_the_keeper_are_recorded(journal: Journal, other: Journal) -> None:
    assert (other.chain_file(), other.keeper(), other.is_up()) == (None, None, False)
    journal.set_chain_file(Path("/chain.yaml"))
    journal.set_keeper(1, 2)
    journal.set_keeper(3, 4)
    journal.set_up()
    assert (other.chain_file(), other.is_up()) == (Path("/chain.yaml"), True)
    assert other.keeper() == KeeperProcess(3, 4, FORMAT)


def test_an_empty_journal_knows_nothing(file: Path) -> None:
    journal = Journal(file)
    assert (journal.holder(), journal.tier("web"), journal.rollouts(), journal.latest()) == (None, None, [], 0.0)
    journal.close()


# -- when it cannot be used ----------------------------------------------------------------------------------------


def test_a_full_disk_stops_the_step_and_says_so(journal: Journal, other: Journal) -> None:
    step(journal, Member("web-v1-1", "v1", 1))
    (pages,) = journal._db.execute("pragma page_count").fetchone()
    journal._db.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(ChangeoverError, match="the journal could not be written: database or disk is full") as told:
        journal.write_step(102.0, "web", TierState("v2"), [], [LogLine("note", "x" * 100_000)])
    assert "The last decision was not carried out" in str(told.value)
    journal._db.execute(f"pragma max_page_count = {pages + 100}")
    step(journal)  # once there is room, it goes on
    assert other.tier("web") == RESTING


def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("dear diary, " * 1000, encoding="utf-8")
    with pytest.raises(ChangeoverError, match="the journal cannot be used: file is not a database") as told:
        Journal(file)
    assert str(file) in str(told.value)
    assert file.read_text(encoding="utf-8").startswith("dear diary")


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChangeoverError, match="the journal cannot be used: unable to open"):
        Journal(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ChangeoverError, match=r"the journal cannot be used: .*(File exists|Not a directory)"):
        Journal(tmp_path / "file" / "journal.db")


def test_a_damaged_journal_is_told_when_it_is_read(journal: Journal, file: Path) -> None:
    step(journal, Member("web-v1-1", "v1", 1))
    journal.close()
    content = file.read_bytes()
    file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    damaged = Journal(file)
    for read in (
        lambda: damaged.fleet("web"),
        lambda: damaged.tier("web"),
        lambda: damaged.rollouts(),
        lambda: damaged.holder(),
        lambda: damaged.tier_state(),
        lambda: damaged.latest(),
    ):
        with pytest.raises(ChangeoverError, match=r"the journal could not be read: .*malformed") as told:
            read()
        assert str(file) in str(told.value)
    damaged.close()
