"""A guard over a real chain: what is wrong is undone, what cannot be known pauses, what is right passes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM

import pytest
from tests.chain.chains import Chain, Said, tier_of
from tests.chain.conftest import own_chain

FAULTY = [sys.executable, str(Path(__file__).with_name("faulty_app.py"))]
PLACES = ["{port}", "{name}", "{version}", "{shared}", "{lame_duck}"]


def guarded(said: Said) -> None:
    runtime = tier_of(said, "runtime")
    runtime["templates"]["faulty"] = {"command": [*FAULTY, *PLACES]}
    runtime["update"] |= {
        "guard": ["quickly"],
        "strategy": "canary",
        "steps": [{"set_weight": 20}, {"analyse": "30s"}],
    }
    question = {"name": "broken", "source": "probe", "measure": "broken_requests", "at_most": 0}
    said["guards"] = [{"name": "quickly", "conditions": [{**question, "interval": "1s", "count": 3}]}]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with own_chain(tmp_path_factory.mktemp("guarded"), guarded) as chain:
        chain.up()
        yield chain


def test_a_template_that_breaks_some_requests_is_undone_and_a_sound_one_passes(chain: Chain) -> None:
    probe = chain.start("probe", "--rate", 100, "--uploads", 0, "--json")
    probe.says("GET")
    bad = chain.roll("runtime", "faulty", code=1)
    assert bad["outcome"] == "undone"
    assert bad["reason"].startswith("guard: quickly/broken: ")
    good = chain.start("roll", "runtime", "--to", "v2", "--json")
    good.says("analysis passed")
    assert good.end(0).json["outcome"] == "completed"
    reasons = probe.signal(SIGTERM).end(3).json["by_reason"]
    assert set(reasons) == {"status 500"}, "the rollout itself broke a request"


def test_without_data_a_rollout_is_paused_and_goes_back_when_asked(chain: Chain) -> None:
    """The ledger of the last probe is there, and nobody writes to it any more."""
    roll = chain.start("roll", "runtime", "--to", "v1", "--json")
    roll.says("paused: guard: ")
    assert chain.run("abort", "--json").json["action"] == "abort"
    assert roll.end(1).json["outcome"] == "undone"
