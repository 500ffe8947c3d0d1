"""What a controller measures: sums of what it saw, nothing of what is unknown, and no full disk stops it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.unit.in_loop import in_loop

from changeover.engine.figures import FILE, FiguresStore, GuardSample, read_figures, read_samples
from changeover.engine.measured import Measured, guard_sample, guard_values, in_flight_values
from changeover.model.guard import Condition, Guard
from changeover.model.instance import InFlight, Upload
from changeover.rollout.guard.evaluate import GuardRun, Missing, Sample
from changeover.rollout.members.fleet import Fleet
from changeover.rollout.members.member import Member
from changeover.rollout.members.phases import Phase
from changeover.rollout.tier.machine import Machine
from changeover.rollout.tier.settings import RolloutSettings
from changeover.rollout.tier.state import Rolling, Rollout, TierState

PATIENCE = 40
SAMPLE = Sample(1.0, "g/broken", 0.25)
SETTINGS = RolloutSettings("web", 2, 1, 0, 0.0, 60.0, 60.0, False)


def draining(serial: int, seen: InFlight | None, phase: Phase = Phase.DRAINING) -> Member:
    return Member(f"web-v1-{serial}", "v1", serial, phase, in_flight=seen)


def test_what_is_in_flight_is_summed_by_version() -> None:
    uploads = (Upload(10, 100, 1.0), Upload(0, 50, 1.0))
    fleet = Fleet([draining(1, InFlight(3, 4, uploads)), draining(2, InFlight(1, 1), Phase.LEAVING)])
    assert in_flight_values("web", fleet) == {
        ("requests_in_flight", ("web", "v1")): 4,
        ("uploads_in_flight", ("web", "v1")): 2,
        ("upload_left_bytes", ("web", "v1")): 140,
    }


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    values = in_flight_values("web", Fleet([draining(1, InFlight(None, 4)), draining(2, InFlight(1, 1))]))
    assert {name for name, _ in values} == {"uploads_in_flight", "upload_left_bytes"}


def test_instances_that_were_not_counted_have_no_value() -> None:
    assert in_flight_values("web", Fleet([draining(1, None), draining(2, None, Phase.ADMITTED)])) == {}


def guarded() -> GuardRun:
    rule = {"name": "broken", "source": "probe", "measure": "error_ratio", "at_most": 0.5, "interval": "1s", "count": 3}
    run = GuardRun((Guard(name="g", conditions=(Condition.model_validate(rule),)),), 0.0)
    run.take(SAMPLE)
    return run


def test_a_condition_has_its_last_sample_and_its_limit() -> None:
    assert guard_values("web", guarded()) == {
        ("guard_value", ("web", "g/broken")): 0.25,
        ("guard_threshold", ("web", "g/broken")): 0.5,
    }


def test_a_sample_that_is_missing_has_no_value_although_an_earlier_one_had() -> None:
    run = guarded()
    missing = Missing(2.0, "g/broken", "the source did not answer")
    run.take(missing)
    assert guard_values("web", run) == {("guard_threshold", ("web", "g/broken")): 0.5}
    assert guard_sample("web", run, missing) == GuardSample(
        "web", "g/broken", 2.0, None, None, 0.5, 1.0, "the source did not answer"
    )


@in_loop
async def test_the_last_samples_of_a_rollout_are_recorded_although_the_controller_ends(tmp_path: Path) -> None:
    measured = Measured(FiguresStore(tmp_path), {}, lambda: 100.0, lambda _: None)
    task = asyncio.create_task(measured.run())
    async with asyncio.timeout(PATIENCE):
        while not (tmp_path / FILE).exists():
            await asyncio.sleep(0)
    measured.sampled("web", guarded(), SAMPLE)
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(PATIENCE):
        while not (found := read_samples(tmp_path, "web", 0, 10)):  # a thread of the cancelled write may have taken it
            await asyncio.sleep(0.01)
    assert [(one.at, one.value) for one in found] == [(1.0, 0.25)]


@in_loop
async def test_values_are_written_while_the_rollout_moves_and_the_guard_ends_with_it(tmp_path: Path) -> None:
    machine = Machine(SETTINGS, TierState("v2", Rolling(Rollout("v1"))), Fleet([draining(1, InFlight(3, 4))]))
    measured = Measured(FiguresStore(tmp_path), {"web": machine}, lambda: 100.0, lambda _: None)
    measured.sampled("web", guarded(), SAMPLE)
    task = asyncio.create_task(measured.run())
    async with asyncio.timeout(PATIENCE):
        while not (seen := read_figures(tmp_path, 100).measured):
            await asyncio.sleep(0)
    task.cancel()
    assert seen["requests_in_flight", ("web", "v1")] == 3
    assert seen["guard_value", ("web", "g/broken")] == 0.25
    resting = Measured(FiguresStore(tmp_path), {"web": Machine(SETTINGS, TierState("v2"), Fleet())}, lambda: 0, print)
    resting.sampled("web", guarded(), SAMPLE)
    assert resting._values() == {}


@in_loop
async def test_figures_that_cannot_be_written_are_named_once(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("nonsense" * 100)
    warned = asyncio.Event()
    measured = Measured(FiguresStore(tmp_path), {}, lambda: 100.0, lambda _: warned.set())
    task = asyncio.create_task(measured.run())
    await asyncio.wait_for(warned.wait(), PATIENCE)
    assert not task.done()
    task.cancel()
