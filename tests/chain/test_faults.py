"""What goes wrong around a rollout: it is told with what to do, the chain goes on serving, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.chain.chains import Chain, Command, Said, SlowUpload, chain_file, running_in, small, tier_of
from tests.chain.test_kills import LOST_NOTHING, at_rest, dying, rolling, unknown


def test_while_a_tier_is_rolled_another_roll_is_refused_and_there_is_nothing_to_promote(two_tiers: Chain) -> None:
    goal = two_tiers.other("runtime")
    with SlowUpload(two_tiers) as upload:  # keeps the roll where it is for as long as this takes
        holder = upload.arrives()
        roll = two_tiers.start("roll", "runtime", "--to", goal, "--json")
        roll.says(holder["name"], "draining")
        refused = two_tiers.run("roll", "gateway", "--to", two_tiers.other("gateway"), code=2)
        assert f"another command is working on this chain: roll runtime to {goal} (process " in refused.err
        assert "Nothing was changed; the other command goes on." in refused.err
        assert "Wait until it has ended (`changeover status --watch`" in refused.err
        promoted = two_tiers.run("promote", code=2)
        assert "promote runtime: there is no step to promote: it goes on by itself" in promoted.err
        assert two_tiers.get().status_code == 200
        upload.finish()
        assert roll.end(0).json["outcome"] == "completed"
    assert upload.answer is not None, upload.error
    assert upload.answer.status_code == 201
    at_rest(two_tiers, goal)
    promoted = two_tiers.run("promote", code=2)
    assert "promote runtime: no rollout is under way" in promoted.err
    assert "Nothing was changed." in promoted.err
    at_rest(two_tiers, goal)


# -- the journal ---------------------------------------------------------------------------------------------------


def garbage(journal: Path, _: Path) -> None:
    journal.write_text("dear diary, " * 1000, encoding="utf-8")


def damaged(journal: Path, before: Path) -> None:
    """The same, but for its pages after the first."""
    with closing(sqlite3.connect(before)) as database:
        database.execute("vacuum into ?", (str(journal),))
    content = journal.read_bytes()
    journal.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def folder(journal: Path, _: Path) -> None:
    journal.mkdir()


def forbidden(journal: Path, before: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    shutil.copy(before, journal)
    journal.chmod(0)


@contextmanager
def replaced(chain: Chain, make: Callable[[Path, Path], None]) -> Iterator[Path]:
    """Something else in the place of the chain's journal, which is given back after the block."""
    aside = chain.folder / "aside"
    aside.mkdir()
    for file in chain.state.glob("journal.db*"):
        file.rename(aside / file.name)
    journal = chain.state / "journal.db"
    try:
        make(journal, aside / "journal.db")
        yield journal
    finally:
        for file in chain.state.glob("journal.db*"):
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        for file in aside.iterdir():
            file.rename(chain.state / file.name)
        aside.rmdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (garbage, "the journal cannot be used: file is not a database"),
        (damaged, "the journal could not be read: database disk image is malformed"),
        (folder, "the journal cannot be used: unable to open database file"),
        (forbidden, "the journal cannot be used: unable to open database file"),
    ],
)
def test_a_journal_that_cannot_be_read_stops_every_command_and_no_request(
    two_tiers: Chain, traffic: Command, make: Callable[[Path, Path], None], message: str
) -> None:
    serves, goal = two_tiers.template("runtime"), two_tiers.other("runtime")
    with replaced(two_tiers, make) as journal:
        for words in (("roll", "runtime", "--to", goal), ("resume",), ("status",), ("history",)):
            told = two_tiers.here(*words, code=2).err
            assert f"{journal}: {message}" in told
            assert "Nothing was changed; the chain goes on serving." in told
            assert "restore the file" in told.lower()
        assert two_tiers.get().status_code == 200
    at_rest(two_tiers, serves)


def test_without_its_journal_a_chain_can_still_be_taken_down(chain: Chain) -> None:
    """Its keeper is not written down anywhere any more, and must go all the same."""
    chain.file = chain_file(chain.folder, small)
    chain.up()
    for file in chain.state.glob("journal.db*"):
        file.unlink()
    chain.down()
    assert running_in(chain.folder) == {}


def test_on_a_full_disk_a_roll_stops_where_it_is_and_is_resumed_when_there_is_room(
    two_tiers: Chain, traffic: Command
) -> None:
    goal = two_tiers.other("runtime")
    told = dying(two_tiers, "full", 9, *rolling(two_tiers, "rolling")).end(2).err
    assert "the journal could not be written: " in told
    assert "The last decision was not carried out. The chain goes on serving as it is." in told
    assert "Make room on the disk or restore the file's permissions, then run the same command again" in told
    assert not unknown(two_tiers)
    assert two_tiers.get().status_code == 200
    assert two_tiers.run("resume", "--json").json["outcome"] == "completed"
    at_rest(two_tiers, goal)
    assert LOST_NOTHING in traffic.last


# -- the clock -----------------------------------------------------------------------------------------------------

JUMPING = """
import time
from pathlib import Path
right, jumped = time.time, Path("jumped")
time.time = lambda: right() - 3600 * jumped.exists()
from changeover.cli.main import main
main()
"""
"""`changeover` by a clock that is an hour slow as soon as there is a file `jumped`."""


def two_seconds(said: Said) -> None:
    small(said)
    tier_of(said, "runtime")["drain"] = {"deadline": "2s"}


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "is killed and resumed"])
def test_a_clock_that_is_set_back_an_hour_moves_no_deadline_and_cuts_nothing(
    two_tiers: Chain, tmp_path: Path, killed: bool
) -> None:
    def start(*words: object) -> Command:
        file = chain_file(tmp_path, two_seconds)
        return Command((*words, "-f", file, "--state", two_tiers.state), tmp_path, program=("-c", JUMPING))

    goal = two_tiers.other("runtime")
    with SlowUpload(two_tiers) as upload:
        holder = upload.arrives()
        roll = start("roll", "runtime", "--to", goal)
        roll.says(holder["name"], "draining")
        (tmp_path / "jumped").touch()
        if killed:
            roll.signal(signal.SIGKILL).end()
            roll = start("resume")
        roll.says(holder["name"], "drain deadline passed: still waiting for")
        upload.finish()
        assert "was cut" not in roll.end(0).out
    assert upload.answer is not None, upload.error
    assert upload.answer.status_code == 201
    at_rest(two_tiers, goal)
