"""The text of /metrics over real journals: what is known is there, what is not is absent, promtool finds no fault."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import threading
import time
from itertools import count
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.cli.standing import StandingChain, standing_chain
from tests.unit.web.asked import HERE

from changeover.engine.figures import FILE, FiguresStore, Labels
from changeover.engine.journal.records import LogLine
from changeover.kit import process
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.state import (
    Baking,
    Paused,
    Prepared,
    Preparing,
    Rolling,
    Rollout,
    Stepping,
    TierState,
)
from changeover.web.app import create_app
from changeover.web.metrics import collector
from changeover.web.metrics.collector import Exposition, MetricsText
from changeover.web.metrics.definitions import METRICS, PREFIX
from changeover.web.site import Site

Seen = dict[str, dict[tuple[str, ...], float]]
"""Metric -> values of its labels, in order -> value."""
CANARY = """
name: pair
listen: 127.0.0.1:8080
tiers:
  - name: edge
    kind: nginx-stream
    size: 2
    templates: {v1: {}, v2: {}}
  - name: runtime
    kind: app
    size: 4
    templates: {v1: {}, v2: {}}
    update:
      strategy: canary
      max_unavailable: 1
      steps: [{set_weight: 25}, {pause: 60s}, {set_weight: 50}, {pause: until-promoted}]
"""


@pytest.fixture
def chain(tmp_path: Path) -> StandingChain:
    return standing_chain(tmp_path, CANARY)


def scraped(*states: Path) -> Seen:
    seen: Seen = {}
    for family in text_string_to_metric_families(MetricsText(states).build().decode()):
        for sample in family.samples:
            name = sample.name.removeprefix(PREFIX)
            metric = METRICS.get(name) or METRICS[name.rpartition("_")[0]]
            order = [*metric.labels, *(["le"] if "le" in sample.labels else [])]
            seen.setdefault(name, {})[tuple(sample.labels[label] for label in order)] = sample.value
    return seen


def roll(chain: StandingChain, state: TierState, *members: Member, ended: str = "") -> None:
    """The runtime is being rolled from v1 to v2."""
    with chain.controlled("roll") as journal:
        row = journal.begin_rollout(time.time() - 100, "runtime", "v1", "v2")
        journal.write_step(time.time(), "runtime", state, members, [LogLine("note", "hello")])
        if ended:
            journal.end_rollout(row.id, time.time(), ended, "")


def member(name: str, template: str, phase: Phase, **more: object) -> Member:
    number = int(name.rpartition("-")[2])
    return Member(name, template, number, phase, {phase: time.time() - 30}, **more)  # type: ignore[arg-type]


def test_a_rollout_in_progress_is_shown_by_tier_version_and_phase(chain: StandingChain) -> None:
    roll(
        chain,
        TierState("v2", Stepping(Rollout("v1", "canary"), 1, time.time())),
        member("runtime-v1-1", "v1", Phase.ADMITTED),
        member("runtime-v1-2", "v1", Phase.ADMITTED),
        member("runtime-v1-3", "v1", Phase.LEAVING),
        member("runtime-v1-4", "v1", Phase.DRAINING, deadline=time.time() + 50),
        member("runtime-v1-5", "v1", Phase.DRAINING, deadline=time.time() - 5),
        member("runtime-v2-6", "v2", Phase.ADMITTED, weight_seen=100),
    )
    seen = scraped(chain.state)
    at = ("pair", "runtime")
    assert seen["rollout_info"] == {(*at, "1", "canary", "v1", "v2", "rolling"): 1}
    assert seen["tier_info"] == {(*at, "app", "v2", "rolling"): 1}
    assert seen["instances"] == {
        (*at, "v1", "admitted"): 2,
        (*at, "v1", "leaving"): 1,
        (*at, "v1", "draining"): 2,
        (*at, "v2", "admitted"): 1,
    }
    assert (seen["tier_size_instances"][at], seen["tier_floor_instances"][at]) == (4, 3)
    assert (seen["tier_serving_instances"][at], seen["draining_instances"][at]) == (3, 2)
    assert -7 < seen["drain_remaining_seconds"][at] < -4.9
    assert (seen["overdue_drains"][at], seen["router_unconfirmed_instances"][*at, "removal"]) == (1, 1)
    assert 29 < seen["phase_oldest_seconds"][*at, "leaving"] < 60
    assert (seen["rollout_step"][at], seen["rollout_steps"][at]) == (2, 4)
    assert seen["canary_target_ratio"][at] == 0.25
    assert seen["canary_actual_ratio"][at] == pytest.approx(1 / 3)
    assert 50 < seen["step_remaining_seconds"][at] <= 60
    assert seen["controller_up"] == {("pair",): 0}  # the journal has no holder, and the rollout has not ended
    assert seen["instance_failures_total"][at] == 0


def test_while_a_controller_works_it_is_up(chain: StandingChain) -> None:
    roll(chain, TierState("v2", Rolling(Rollout("v1"))))
    with chain.controlled("roll"):
        assert scraped(chain.state)["controller_up"] == {("pair",): 1}


def test_what_is_unknown_is_absent_and_not_zero(chain: StandingChain) -> None:
    seen = scraped(chain.state)
    assert (seen["chain_up"], seen["journal_readable"]) == ({("pair",): 1}, {(str(chain.state),): 1})
    unknown = {"keeper_up", "controller_up", "requests_in_flight", "probe_requests_total", "rollout_info", "instances"}
    assert unknown & set(seen) == set()


def test_the_thresholds_of_guards_are_there_while_no_controller_samples(tmp_path: Path) -> None:
    conditions = "[{name: broken, source: probe, measure: error_ratio, at_most: 0.5, interval: 2s, count: 2}]"
    guarded = CANARY.replace("max_unavailable: 1", "max_unavailable: 1\n      guard: [few]")
    chain = standing_chain(tmp_path, f"{guarded}guards: [{{name: few, conditions: {conditions}}}]\n")
    key = ("pair", "runtime", "few/broken")
    seen = scraped(chain.state)
    assert seen["guard_threshold"] == {key: 0.5}
    assert "guard_value" not in seen
    labels: Labels = key[1:]
    measured = {("guard_value", labels): 0.1, ("guard_threshold", labels): 0.4}
    FiguresStore(chain.state).show("controller", measured, time.time())
    seen = scraped(chain.state)
    assert (seen["guard_value"], seen["guard_threshold"]) == ({key: 0.1}, {key: 0.4})


def test_a_paused_rollout_has_no_time_left(chain: StandingChain) -> None:
    position = Stepping(Rollout("v1", "canary"), 1, time.time())
    roll(chain, TierState("v2", Paused("an operator", position)))
    seen = scraped(chain.state)
    assert "step_remaining_seconds" not in seen
    assert [labels[-1] for labels in seen["rollout_info"]] == ["paused"]


def test_an_ended_rollout_stays_with_its_outcome_and_duration(chain: StandingChain) -> None:
    roll(chain, TierState("v1"), member("runtime-v1-1", "v1", Phase.ADMITTED), ended="undone")
    seen = scraped(chain.state)
    assert seen["rollout_info"] == {("pair", "runtime", "1", "", "v1", "v2", "undone"): 1}
    assert seen["rollout_duration_seconds_bucket"]["pair", "runtime", "undone", "120.0"] == 1
    assert seen["rollout_duration_seconds_bucket"]["pair", "runtime", "undone", "60.0"] == 0
    assert "rollout_started_timestamp_seconds" not in seen


def test_a_dead_keeper_is_down_and_one_of_another_pid_namespace_is_unknown(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    with chain.controlled("up") as journal:
        journal.set_keeper(os.getpid(), process.start_time(os.getpid()) or 0)
    assert scraped(chain.state)["keeper_up"] == {("pair",): 1}
    with chain.controlled("up") as journal:
        journal.set_keeper(os.getpid(), -1)
    assert scraped(chain.state)["keeper_up"] == {("pair",): 0}
    monkeypatch.setattr(process, "pid_namespace", lambda: "pid:[1]")
    assert "keeper_up" not in scraped(chain.state)


def test_after_down_the_counters_stay_and_the_tiers_are_gone(chain: StandingChain) -> None:
    roll(chain, TierState("v1"), member("runtime-v1-1", "v1", Phase.ADMITTED), ended="completed")
    with chain.controlled("down") as journal:
        journal.clear_tiers(time.time())
    seen = scraped(chain.state)
    assert (seen["chain_up"], seen["rollout_duration_seconds_count"]) == (
        {("pair",): 0},
        {("pair", "runtime", "completed"): 1},
    )
    assert {"tier_info", "instances", "tier_size_instances"} & set(seen) == set()


def test_counts_of_probes_and_measured_values_carry_the_chain(chain: StandingChain) -> None:
    FiguresStore(chain.state).add(
        {
            ("probe_requests_total", ("get", "ok")): 3,
            ("probe_requests_total", ("get", "lost")): 0,
            ("probe_latency_seconds_bucket", ("get", "0.01")): 2,
            ("probe_latency_seconds_bucket", ("get", "+Inf")): 1,
            ("probe_latency_seconds_sum", ("get",)): 130.5,
            ("probe_version_requests_total", ("v1", "ok")): 2,
            ("probe_version_latency_seconds_bucket", ("v1", "0.01")): 2,
            ("probe_version_latency_seconds_sum", ("v1",)): 0.01,
        }
    )
    FiguresStore(chain.state).show(
        "a", {("requests_in_flight", ("runtime", "v1")): 7, ("nonsense", ("x",)): 1}, time.time()
    )
    seen = scraped(chain.state)
    assert seen["probe_requests_total"] == {("pair", "get", "ok"): 3, ("pair", "get", "lost"): 0}
    buckets = seen["probe_latency_seconds_bucket"]
    assert [buckets["pair", "get", bound] for bound in ("0.005", "0.01", "120.0", "+Inf")] == [0, 2, 2, 3]
    assert seen["probe_version_requests_total"] == {("pair", "v1", "ok"): 2}
    assert seen["probe_version_latency_seconds_bucket"]["pair", "v1", "+Inf"] == 2
    assert seen["requests_in_flight"] == {("pair", "runtime", "v1"): 7}
    assert f"{PREFIX}nonsense" not in seen


def test_a_folder_without_a_journal_is_not_readable_and_stays_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = MetricsText([tmp_path / "none"])
    for _ in range(2):
        text = metrics.build().decode()
    assert f'{PREFIX}journal_readable{{state="{tmp_path}/none"}} 0.0' in text
    assert not (tmp_path / "none").exists()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]  # once


@pytest.mark.parametrize("file", ["journal.db", "chain.yaml", FILE])
def test_a_file_that_cannot_be_read_leaves_no_figure_of_its_chain(chain: StandingChain, file: str) -> None:
    for old in chain.state.glob(f"{file}*"):
        old.unlink()
    (chain.state / file).write_text("nonsense" * 1000)
    seen = scraped(chain.state)
    assert seen == {"journal_readable": {(str(chain.state),): 0}}


def test_a_broken_chain_hides_no_other_and_two_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        folders.append(standing_chain(tmp_path / name).state)
    (folders[2] / "journal.db").unlink()
    seen = scraped(*folders)
    assert seen["chain_up"] == {(f"pair in {folders[0]}",): 1, (f"pair in {folders[1]}",): 1}
    assert [*seen["journal_readable"].values()] == [1, 1, 0]


def test_a_restarted_server_shows_the_same_figures(chain: StandingChain) -> None:
    metrics = MetricsText([chain.state])
    for number in range(1, 4):
        with chain.controlled("roll") as journal:
            row = journal.begin_rollout(time.time(), "runtime", "v1", "v2")
            lines = [LogLine("phase", "admitted -> failed: process ended", f"runtime-v1-{number}")]
            journal.write_step(time.time(), "runtime", TierState("v1"), (), lines)
            journal.end_rollout(row.id, time.time(), "undone", "")
        for one in (metrics, MetricsText([chain.state])):
            line = f'{PREFIX}instance_failures_total{{chain="pair",tier="runtime"}} {number}.0'
            assert line in one.build().decode()


def test_a_new_journal_begins_new_sums(chain: StandingChain) -> None:
    metrics = MetricsText([chain.state])
    roll(chain, TierState("v1"), ended="undone")
    assert 'outcome="undone"' in metrics.build().decode()
    shutil.rmtree(chain.state)
    standing_chain(chain.folder)
    assert 'outcome="undone"' not in metrics.build().decode()


def test_many_scrapes_read_the_journal_once(chain: StandingChain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "AGE", 3600.0)
    metrics, built = MetricsText([chain.state]), count()
    build = metrics.build

    def counted() -> bytes:
        next(built)
        return build()

    monkeypatch.setattr(metrics, "build", counted)

    async def storm() -> set[Exposition]:
        return set(await asyncio.gather(*(metrics.text() for _ in range(1000))))

    assert (len(asyncio.run(storm())), next(built)) == (1, 1)


def test_while_the_next_text_is_built_the_last_one_answers_unless_it_is_outdated(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "AGE", 0.0)
    monkeypatch.setattr(collector, "OUTDATED", 3600.0)
    metrics, go_on = MetricsText([chain.state]), threading.Event()

    async def asked() -> tuple[bool, bool, bool]:
        first = await metrics.text()
        monkeypatch.setattr(metrics, "build", lambda: b"next" if go_on.wait(40) else b"")
        during = await metrics.text()
        monkeypatch.setattr(collector, "OUTDATED", 0.0)
        waiting = [asyncio.create_task(metrics.text()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()  # a client that leaves takes nothing from the others
        go_on.set()
        return during is first, waiting[1].done(), (await waiting[1]).plain == b"next"

    assert asyncio.run(asked()) == (True, False, True)


def test_a_scraper_that_accepts_gzip_gets_the_same_text_in_fewer_bytes(
    chain: StandingChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "AGE", 3600.0)
    app = create_app(Site([chain.state]))

    async def both() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client:
            return [await client.get("/metrics", headers={"Accept-Encoding": how}) for how in ("identity", "gzip")]

    plain, compressed = asyncio.run(both())
    assert plain.text == compressed.text  # httpx decompresses
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert plain.headers["vary"] == compressed.headers["vary"] == "Accept-Encoding"
    assert int(compressed.headers["content-length"]) < int(plain.headers["content-length"])


POSITIONS: dict[str, Stepping | Rolling | Preparing | Prepared | Baking] = {
    "canary": Stepping(Rollout("v1", "canary"), 1, 1.0),
    "a full roll": Rolling(Rollout("v1")),
    "blue-green, new ones start": Preparing(Rollout("v1", "blue-green")),
    "blue-green, complete": Prepared(Rollout("v1", "blue-green")),
    "blue-green, switched": Baking(Rollout("v1", "blue-green"), 1.0),
}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed: Debian's package prometheus")
@pytest.mark.parametrize("position", POSITIONS)
def test_promtool_finds_no_fault(chain: StandingChain, position: str) -> None:
    test_counts_of_probes_and_measured_values_carry_the_chain(chain)
    roll(
        chain,
        TierState("v2", POSITIONS[position]),
        member("runtime-v1-4", "v1", Phase.DRAINING, deadline=time.time() + 50),
    )
    text = MetricsText([chain.state]).build()
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=40, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_two_hundred_instances_have_as_many_series_as_twenty(tmp_path: Path) -> None:
    """Each of the ten phases of each version is one series, however many instances are in it."""
    numbers = []
    for size in (20, 200):
        folder = tmp_path / str(size)
        folder.mkdir()
        chain = standing_chain(folder, CANARY.replace("size: 4", f"size: {size}"))
        phases = [phase for phase in Phase if phase is not Phase.GONE]
        members = [
            member(f"runtime-{version}-{number}", version, phases[number // 2 % len(phases)])
            for number, version in enumerate(["v1", "v2"] * (size // 2), start=1)
        ]
        roll(chain, TierState("v2", Stepping(Rollout("v1", "canary"), 1, time.time())), *members)
        seen = scraped(chain.state)
        assert sum(seen["instances"].values()) == size
        numbers.append(sum(map(len, seen.values())))
    assert numbers[0] == numbers[1] < 150


def test_every_metric_says_what_it_is_and_names_no_instance() -> None:
    for name, metric in METRICS.items():
        assert metric.help.endswith("."), name
        assert "instance" not in metric.labels, name
        assert (metric.kind == "counter") == name.endswith("_total"), name
        assert (metric.kind == "histogram") == bool(metric.buckets), name
