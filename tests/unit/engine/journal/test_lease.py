"""One command writes at a time. It waits for the keeper, and for no other process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from changeover.engine.journal.journal import Journal
from changeover.engine.journal.lease import KEEPER, LeaseTiming, lease, patient_lease
from changeover.kit import process
from changeover.model.errors import ChangeoverError

AT_ONCE = LeaseTiming(keeper_patience=0.0, look=0.0)
FOR_EVER = LeaseTiming(keeper_patience=60.0, look=0.0)


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield journal


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "journal.db")) as journal:
        yield journal


def purpose(journal: Journal) -> str | None:
    holder = journal.holder()
    return None if holder is None else holder.purpose


def test_the_lease_is_held_while_the_block_runs(mine: Journal, other: Journal) -> None:
    with lease(mine, "roll web to v2", 1.0):
        assert purpose(other) == "roll web to v2"
    assert purpose(other) is None


def test_the_lease_is_given_back_when_the_block_fails(mine: Journal, other: Journal) -> None:
    with pytest.raises(RuntimeError), lease(mine, "roll web to v2", 1.0):
        raise RuntimeError
    assert purpose(other) is None


def test_a_command_is_refused_while_another_one_holds_the_lease(mine: Journal, other: Journal) -> None:
    with (
        lease(other, "roll web to v2", 1.0),
        pytest.raises(ChangeoverError, match=r"another command is working on this chain: roll web to v2 \(process \d+"),
        lease(mine, "down", 2.0),
    ):
        pass


async def wait_for(journal: Journal, timing: LeaseTiming) -> str | None:
    async with patient_lease(journal, "roll web to v2", 2.0, timing):
        return purpose(journal)


def test_a_patient_command_waits_until_the_keeper_has_given_back_the_lease(mine: Journal, other: Journal) -> None:
    other.take_lease(KEEPER, 1.0)

    async def both() -> str | None:
        waiting = asyncio.create_task(wait_for(mine, FOR_EVER))
        await asyncio.sleep(0)
        assert not waiting.done()
        other.release_lease()
        return await waiting

    assert asyncio.run(both()) == "roll web to v2"
    assert purpose(other) is None


def test_a_patient_command_does_not_wait_for_another_command(mine: Journal, other: Journal) -> None:
    with lease(other, "demo", 1.0), pytest.raises(ChangeoverError, match="demo"):
        asyncio.run(wait_for(mine, FOR_EVER))


def test_patience_with_the_keeper_ends(mine: Journal, other: Journal) -> None:
    with lease(other, KEEPER, 1.0), pytest.raises(ChangeoverError, match="healing"):
        asyncio.run(wait_for(mine, AT_ONCE))


def test_a_command_in_another_pid_namespace_takes_no_lease_of_a_live_chain(
    mine: Journal, other: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process of the chain would seem dead there, the holder of the lease, too."""
    with lease(mine, "roll web to v2", 1.0):
        monkeypatch.setattr(process, "pid_namespace", lambda: "pid:[1]")
        with pytest.raises(ChangeoverError, match="run in another PID namespace") as refused, lease(other, "up", 2.0):
            pass
        assert "delete the state folder" in str(refused.value)
        assert purpose(mine) == "roll web to v2"
        monkeypatch.undo()
        mine.set_up()
    monkeypatch.setattr(process, "pid_namespace", lambda: "pid:[1]")
    with pytest.raises(ChangeoverError, match="run in another PID namespace"), lease(other, "roll", 3.0):
        pass


def test_a_chain_that_is_down_or_from_before_a_reboot_may_be_started_in_another_pid_namespace(
    mine: Journal, other: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lease(mine, "up", 1.0):
        mine.set_up()
    monkeypatch.setattr(process, "pid_namespace", lambda: "pid:[1]")
    with monkeypatch.context() as rebooted:
        rebooted.setattr(process, "is_this_boot", lambda _: False)
        with lease(other, "up", 2.0):
            other.clear_tiers(2.0)
    monkeypatch.setattr(process, "pid_namespace", lambda: "pid:[2]")
    with lease(mine, "up", 3.0):
        assert purpose(mine) == "up"
