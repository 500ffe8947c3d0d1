"""A guard over a real chain: what is wrong is undone, what cannot be known pauses, what is right passes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest
import yaml
from tests.chain.chains import Chain, Command, Said, as_canary, tier_of, until
from tests.chain.conftest import own_chain
from tests.process.foreign_server import foreign_server
from tests.process.prometheus import prometheus_server, success

FAULTY = [sys.executable, str(Path(__file__).with_name("faulty_app.py"))]
PLACES = ["{port}", "{name}", "{version}", "{shared}", "{lame_duck}"]


def faulty(said: Said) -> None:
    templates = tier_of(said, "runtime")["templates"]
    templates["breaks"] = {"command": [*FAULTY, "every=50", *PLACES]}
    templates["slow"] = {"command": [*FAULTY, "late=0.03", *PLACES]}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with own_chain(tmp_path_factory.mktemp("guarded"), faulty) as chain:
        chain.up()
        yield chain


def guard(chain: Chain, guard: str, share: int, *conditions: Said, **more: Any) -> None:
    """From now on the runtime is rolled as a canary of that share, which that guard, shipped or made here, analyses."""
    said: Said = yaml.safe_load(chain.file.read_text())
    steps: list[Said] = [{"set_weight": share}, {"analyse": "60s"}]
    as_canary(said, steps, guard=[guard])
    said |= {"guards": [{"name": guard, "conditions": conditions}] if conditions else [], **more}
    chain.file.write_text(yaml.safe_dump(said, sort_keys=False))


def probing(chain: Chain, *load: object) -> Command:
    probe = chain.start("probe", "--rate", 100, *load, "--json")
    probe.says("GET")
    return probe


def test_two_percent_of_500s_are_undone_by_the_shipped_guard_and_the_rollout_breaks_nothing(chain: Chain) -> None:
    guard(chain, "no-broken-requests", 20)
    probe = probing(chain, "--uploads", 2, "--upload-size", "2MB", "--upload-time", "2s")
    bad = chain.roll("runtime", "breaks", code=1)
    assert bad["outcome"] == "undone"
    assert bad["reason"].startswith("guard: no-broken-requests/broken: ")
    chain.serves("runtime", "v1")
    told = probe.signal(SIGTERM).end(3).json
    # The first line is the format of the ledger, the last one its end.
    _, *lines, _ = Path(told["ledger"]).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    canary = [row for row in rows if str(row.get("instance")).startswith("runtime-breaks-") and row["kind"] == "get"]
    broken = [row for row in rows if row["outcome"] != "ok"]
    assert {(row["kind"], row["status"], row["reason"]) for row in broken} == {("get", 500, "status 500")}
    assert [row for row in broken if row not in canary] == []
    assert len(broken) == len(canary) // 50
    assert (told["lost"], told["duplicated"], told["corrupted"]) == (len(broken), 0, 0)
    assert told["counts"]["upload"]["ok"] == told["counts"]["upload"]["sent"] > 0


@pytest.mark.soak
def test_a_slow_template_is_found_by_comparison_and_one_that_is_as_fast_passes(chain: Chain) -> None:
    """The condition of the shipped latency-not-worse, asked every second instead of every five."""
    p90 = {"name": "p90", "source": "probe", "measure": "latency", "against_baseline": True, "margin": 5}
    guard(chain, "compared", 50, {**p90, "interval": "1s"})
    probe = probing(chain, "--uploads", 0)
    slow = chain.roll("runtime", "slow", code=1)
    assert slow["outcome"] == "undone"
    assert slow["reason"].startswith("guard: compared/p90: p90 ")
    assert "of the baseline" in slow["reason"]
    fast = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
    assert "compared/p90: p90 " in fast.says("analysis passed")
    assert fast.end(0).json["outcome"] == "completed"
    assert probe.signal(SIGTERM).end(0).json["clean"]


def test_a_template_whose_metrics_vanish_is_paused_and_the_chain_serves_on(chain: Chain) -> None:
    query = 'sum(rate(http_errors_total{instance=~"$addresses"}[$interval]))'
    asks = {"name": "errors", "source": "prometheus", "measure": "query", "query": query, "at_most": 0.01}
    before, goal = chain.template("runtime"), chain.other("runtime")
    with prometheus_server() as server:
        guard(chain, "scraped", 20, {**asks, "interval": "300ms", "count": 100}, prometheus={"url": f"{server.url}"})
        roll = chain.start("roll", "runtime", "--to", goal, "--json")
        until(lambda: len(server.queries) > 3, "answers of Prometheus")
        asked = server.queries[-1]["query"]
        server.reply = lambda _: success([])
        assert "4 of " in (why := roll.says("paused: guard: scraped/errors: ")), why
    (canary,) = [i for i in chain.instances("runtime", phase="admitted") if i["template"] == goal]
    assert canary["address"].partition(":")[2] in asked, "somebody else's metrics were asked for"
    assert [chain.get().status_code for _ in range(6)] == [200] * 6
    assert chain.run("abort", "--json").json["action"] == "abort"
    assert roll.end(1).json["outcome"] == "undone"
    chain.serves("runtime", before)


def test_without_data_a_rollout_is_paused_and_goes_back_when_asked(chain: Chain) -> None:
    """The ledger of the last probe is there, and nobody writes to it any more."""
    broken = {"name": "broken", "source": "probe", "measure": "broken_requests", "at_most": 0}
    guard(chain, "watched", 20, {**broken, "interval": "1s", "count": 3})
    roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
    roll.says("paused: guard: ")
    assert chain.run("abort", "--json").json["action"] == "abort"
    assert roll.end(1).json["outcome"] == "undone"


@pytest.mark.soak
def test_a_canary_step_without_a_request_to_the_new_version_is_paused_and_says_so(chain: Chain) -> None:
    """A probe writes rows, of another server: no request of a client reaches the canary."""
    broken = {"name": "broken", "source": "probe", "measure": "broken_requests", "at_most": 0}
    guard(chain, "unseen", 20, {**broken, "interval": "500ms", "count": 2})
    said: Said = yaml.safe_load(chain.file.read_text())
    tier_of(said, "runtime")["update"]["steps"] = [{"set_weight": 20}, {"analyse": "8s"}]
    chain.file.write_text(yaml.safe_dump(said, sort_keys=False))
    before = chain.template("runtime")
    with foreign_server() as elsewhere:
        probe = chain.start("probe", elsewhere.url, "--get", "/shop/", "--json")
        probe.says("GET")
        roll = chain.start("roll", "runtime", "--to", chain.other("runtime"), "--json")
        assert "no request reached runtime-" in roll.says("paused: the analysis came to no end within 8 s: ")
        assert chain.run("abort", "--json").json["action"] == "abort"
        assert roll.end(1).json["outcome"] == "undone"
        probe.signal(SIGTERM).end(0)
    chain.serves("runtime", before)
