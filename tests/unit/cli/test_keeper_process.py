from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.unit.cli.standing import StandingChain

from changeover.cli import keeper_process
from changeover.cli.keeper_process import end_keeper, ensure_keeper, start_keeper
from changeover.engine.journal.journal import Journal
from changeover.kit import process


@pytest.fixture
def journal(chain: StandingChain) -> Iterator[Journal]:
    with chain.controlled("up") as journal:
        yield journal


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that were started; each counts as this very process, which lives."""
    commands: list[tuple[str, ...]] = []

    def spawn(command: tuple[str, ...], **_: object) -> tuple[int, int]:
        commands.append(command)
        return os.getpid(), process.start_time(os.getpid()) or 0

    monkeypatch.setattr("changeover.kit.process.spawn", spawn)
    return commands


def test_a_keeper_is_started_for_the_state_folder_and_recorded(
    chain: StandingChain, journal: Journal, spawned: list[tuple[str, ...]]
) -> None:
    start_keeper(chain.state, journal)
    assert spawned[0][-3:] == ("keep", "--state", str(chain.state))
    recorded = journal.keeper()
    assert recorded is not None
    assert recorded.pid == os.getpid()


def test_a_keeper_that_runs_is_not_started_again(
    chain: StandingChain, journal: Journal, spawned: list[tuple[str, ...]]
) -> None:
    start_keeper(chain.state, journal)
    start_keeper(chain.state, journal)
    assert len(spawned) == 1


def test_a_keeper_that_has_ended_is_replaced(
    chain: StandingChain, journal: Journal, spawned: list[tuple[str, ...]]
) -> None:
    journal.set_keeper(os.getpid(), -1)
    start_keeper(chain.state, journal)
    assert len(spawned) == 1


def test_while_another_command_holds_the_lease_no_keeper_is_started(
    chain: StandingChain, spawned: list[tuple[str, ...]]
) -> None:
    with chain.controlled("roll"), chain.journal() as other:
        ensure_keeper(chain.state, other)
    assert spawned == []


def test_a_keeper_that_was_started_and_never_recorded_is_ended(chain: StandingChain, journal: Journal) -> None:
    folder = keeper_process.keeper_folder(journal)
    folder.mkdir()
    pid, born = process.spawn(("sleep", "60"), home=folder, env={})
    end_keeper(journal)
    assert not process.is_alive(pid, born)
