"""This version takes over a chain that was left by the last version without formats: rolled, nothing lost, no orphans.

The state folders are as that version wrote them: the journals were dumped from it, with the paths, the keeper and the
times replaced, at rest and in the midst of a canary whose controller was killed. The processes are those of this
version, in the same places; what they speak to each other is not stored.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
from tests.chain.chains import Chain, Said, kill, running_in, until
from tests.chain.conftest import own_chain
from tests.chain.test_kills import at_rest

from changeover.kit import process

OLDER = Path(__file__).parent / "before_formats"
LOAD = ("--rate", 50, "--connections", 4, "--uploads", 4, "--upload-size", "1MB", "--upload-time", "800ms", "--json")


@pytest.fixture
def older(tmp_path: Path) -> Iterator[Chain]:
    """A chain from the chain file of that time, which is up."""
    with own_chain(tmp_path) as chain:
        shutil.copy(OLDER / "chain.yaml", chain.file)
        chain.up()
        yield chain


def made_older(chain: Chain, journal: str) -> None:
    """Rewrite the state folder into the layout of that version, while the keeper looks at it."""
    keeper = chain.status()["keeper_pid"]
    script = (OLDER / f"{journal}.sql").read_text()
    script = script.replace("$FILE", str(chain.file)).replace("$KEEPER", f"{keeper} {process.start_time(keeper)}")
    with closing(sqlite3.connect(chain.state / "journal.db", isolation_level=None)) as db:
        db.execute("begin immediate")
        for (table,) in db.execute("select name from sqlite_master where type = 'table'").fetchall():
            db.execute(f"drop table {table}")
        statement = ""
        for line in script.splitlines(keepends=True):
            statement += line
            if sqlite3.complete_statement(statement):
                db.execute(statement)
                statement = ""
        db.execute("pragma user_version = 0")
        db.execute("commit")
    for file in (chain.state / "platform.json", *(chain.state / "instances").glob("*/instance.json")):
        stored = json.loads(file.read_text())
        del stored["format"]
        file.write_text(json.dumps(stored))


def seen(told: Said) -> dict[str, tuple[str, int]]:
    return {i["name"]: (i["phase"], i["pid"]) for i in told["instances"]}


def test_a_chain_at_rest_is_rolled_healed_and_taken_down(older: Chain) -> None:
    before = older.status()
    made_older(older, "resting")
    assert older.status() == before
    assert len(older.here("history", "--json").json["rollouts"]) == 2

    with closing(sqlite3.connect(older.state / "journal.db")) as db:
        assert db.execute("pragma user_version").fetchone() == (0,), "to look at a journal must not migrate it"

    load = older.start("probe", *LOAD)
    load.says(" 4 in flight")
    rolled = older.roll("runtime", "v2")
    older.roll("gateway", "v2")
    load.signal(SIGTERM)
    verdict = load.end(0).json
    assert (verdict["lost"], verdict["duplicated"], verdict["corrupted"]) == (0, 0, 0)
    gone = {m["name"] for m in rolled["instances"] if m["phase"] == "gone"}
    assert gone == {"runtime-v1-1", "runtime-v1-2"}
    at_rest(older, "v2")

    keeper = older.status()["keeper_pid"]
    assert keeper not in (None, before["keeper_pid"]), "a keeper of that version could not read the journal any more"
    assert before["keeper_pid"] not in running_in(older.state)
    victim = older.instances("runtime")[0]
    kill(victim["pid"])
    older.until(lambda told: victim["name"] not in seen(told) and len(seen(told)) == 3, "a replacement")

    assert len(older.down()["stopped"]) == 3
    until(lambda: not running_in(older.state), "nothing running")


def test_a_canary_whose_controller_was_killed_is_promoted_to_its_end(older: Chain) -> None:
    controller = older.start("roll", "runtime", "--to", "v2", "--strategy", "canary")
    controller.says("step 1 of 2 done")
    controller.signal(SIGKILL).end(-SIGKILL)
    before = older.status()
    made_older(older, "canary")
    assert seen(older.status()) == seen(before)
    share = next(tier["canary_share"] for tier in older.status()["tiers"] if tier["name"] == "runtime")
    assert (share["target_percent"], share["actual_percent"]) == (50, 50.0)
    assert older.status()["active_command"] is None

    done = older.run("promote", "--json").json
    assert (done["from"], done["to"], done["outcome"]) == ("v1", "v2", "completed")
    at_rest(older, "v2")
    assert older.status()["keeper_pid"] != before["keeper_pid"]
    last = older.here("history", "--json").json["rollouts"][-1]
    assert (last["id"], last["from"], last["to"], last["outcome"]) == (3, "v1", "v2", "completed")
