"""The controller is killed at every write to its journal, and whoever resumes brings the rollout to its end.

`make soak` kills it at all of them, `make test` at some. An engine that performs before it writes must be caught.
"""

from __future__ import annotations

import json
import subprocess
from itertools import count
from pathlib import Path
from signal import SIGKILL

import pytest
from tests.chain.chains import PATIENCE, Chain, Command, running_in, until

pytestmark = pytest.mark.timeout(300)  # a dozen controllers, one after the other

DYING = Path(__file__).with_name("dying.py")
STRATEGIES = ("rolling", "canary", "blue-green")
LOST_NOTHING = " 0 lost, 0 duplicated, 0 corrupted"
ENDS = {"before": -SIGKILL, "after": -SIGKILL, "full": 2, "unwritten": -SIGKILL}
"""The exit code of a command to which that has happened."""


def dying(chain: Chain, what: str, number: int, *words: object) -> Command:
    return Command((what, number, *words, "--state", chain.state), chain.folder, program=DYING)


def rolling(chain: Chain, strategy: str) -> tuple[str, ...]:
    return ("roll", "runtime", "--to", chain.other("runtime"), "--strategy", strategy)


def at_rest(chain: Chain, goal: str, patience: float = PATIENCE) -> None:
    """Insist that the whole chain serves, the runtime at its goal, and that nothing else of it runs."""
    told = chain.status()
    assert told["active_command"] is None
    assert [(t["status"], t["serving"]) for t in told["tiers"]] == [("resting", t["size"]) for t in told["tiers"]]
    chain.serves("runtime", goal)
    balancer = json.loads((chain.state / "platform.json").read_text())["pid"]
    known = {i["pid"] for i in told["instances"]} | {told["keeper_pid"], balancer}
    until(lambda: set(running_in(chain.state)) == known, f"nothing but {known}", patience)


def unknown(chain: Chain) -> set[str]:
    """Instances that run and of which the journal knows nothing."""
    folders = (chain.state / "instances").iterdir()
    return {folder.name for folder in folders if running_in(folder)} - {i["name"] for i in chain.status()["instances"]}


def stopped_and_resumed(chain: Chain, traffic: Command, strategy: str, what: str, number: int) -> bool:
    """Whether a rollout has that many writes. If so it was stopped there, and is where it was to go."""
    goal, moment = chain.other("runtime"), f"{what} write {number}"
    done = dying(chain, what, number, *rolling(chain, strategy)).end()
    if done.code == 0:
        return False
    assert done.code == ENDS[what], done
    assert not unknown(chain), moment
    if chain.run("resume", "--json").json["outcome"] == "nothing to do":
        chain.roll("runtime", goal, "--strategy", strategy)  # it had not been written down yet, or all had been
    at_rest(chain, goal)
    assert LOST_NOTHING in traffic.last, f"{moment}: {traffic.last}"
    return True


@pytest.mark.soak
@pytest.mark.parametrize("what", ["before", "after", "full"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_roll_that_is_stopped_at_any_write_is_carried_to_its_end(
    two_tiers: Chain, traffic: Command, strategy: str, what: str
) -> None:
    writes = next(n for n in count(1) if not stopped_and_resumed(two_tiers, traffic, strategy, what, n)) - 1
    print(f"\n{strategy}: stopped at each of {writes} writes ({what})")
    assert writes > 15


@pytest.mark.parametrize(
    ("strategy", "what", "number"),
    [
        ("rolling", "before", 5),
        pytest.param("canary", "after", 5, marks=pytest.mark.soak),
        ("blue-green", "before", 6),
        *(pytest.param(strategy, "after", 4, marks=pytest.mark.soak) for strategy in STRATEGIES),
    ],
)
def test_a_roll_whose_every_process_is_killed_comes_to_its_end(
    two_tiers: Chain, traffic: Command, strategy: str, what: str, number: int
) -> None:
    goal, kills = two_tiers.other("runtime"), 0
    done = dying(two_tiers, what, number, *rolling(two_tiers, strategy)).end()
    while done.code != 0:
        assert done.code == -SIGKILL, done
        assert not unknown(two_tiers)
        kills += 1
        done = dying(two_tiers, what, number, "resume").end()
    assert kills >= 3
    at_rest(two_tiers, goal)
    assert LOST_NOTHING in traffic.last


@pytest.mark.parametrize("number", [2, 3], ids=["the release is written", "its rollout is written"])
def test_a_roll_that_is_killed_before_its_tier_moves_is_begun_as_it_was_meant(
    two_tiers: Chain, traffic: Command, number: int
) -> None:
    assert stopped_and_resumed(two_tiers, traffic, "canary", "after", number)
    last = two_tiers.here("history", "--json").json["rollouts"][-1]
    request, first = two_tiers.here("show", last["id"], "--json").json["log"][:2]
    assert (last["outcome"], request["kind"], first["kind"]) == ("completed", "request", "event")
    assert "strategy canary" in first["text"]


@pytest.mark.parametrize("number", [2, 3], ids=["the release is written", "its rollout is written"])
def test_a_roll_that_is_killed_before_its_tier_moves_can_be_aborted(two_tiers: Chain, number: int) -> None:
    serves = two_tiers.template("runtime")
    dying(two_tiers, "after", number, *rolling(two_tiers, "rolling")).end(-SIGKILL)
    told = two_tiers.run("abort", "--json", code=1).json
    assert told["outcome"] == "undone"
    at_rest(two_tiers, serves)
    assert all(row["ended"] for row in two_tiers.here("history", "--json").json["rollouts"])
    assert "No rollout is unfinished" in two_tiers.run("resume").out


def test_an_engine_that_performs_before_it_writes_would_be_noticed(two_tiers: Chain) -> None:
    creates = 4  # lease, release, rollout, first step
    goal = two_tiers.other("runtime")
    dying(two_tiers, "unwritten", creates, *rolling(two_tiers, "rolling")).end(-SIGKILL)
    assert [name.split("-")[:2] for name in unknown(two_tiers)] == [["runtime", goal]]
    two_tiers.run("resume")
    at_rest(two_tiers, goal)


def test_a_process_that_nobody_knows_would_be_noticed(two_tiers: Chain) -> None:
    with subprocess.Popen(("sleep", "1000"), cwd=two_tiers.state / "instances") as stray:
        with pytest.raises(AssertionError, match="in vain for nothing but"):
            at_rest(two_tiers, two_tiers.template("runtime"), patience=3)
        stray.kill()
