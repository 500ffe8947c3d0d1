"""A plan as one object and as tables: steps, durations, uploads that would be cut, disk, and what it leaves out."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from tests.unit.cli.rendering.printed import shown

from changeover.cli.rendering.plan import data, picture
from changeover.engine.long_lived import LongLived
from changeover.engine.release.plan import Plan, TierPlan
from changeover.engine.release.pooled import ShortStep
from changeover.engine.release.saved_plan import SavedPlan
from changeover.model.instance import Upload
from changeover.ports import CallRate
from changeover.rollout.simulation.rehearsal import Planned, Rehearsal
from changeover.rollout.simulation.upload_forecast import PassingUpload, UploadOutcome

STEPS = (
    Planned(0.0, "create", "v2", "runtime-v2-3"),
    Planned(0.0, "create", "v2", "runtime-v2-4"),
    Planned(12.0, "wait", "hooks"),
    Planned(40.0, "finish", "completed"),
)
REHEARSAL = Rehearsal("canary", STEPS, {"runtime-v1-1": 12.0}, 40.0, 20.0, 3, ("hooks",), "completed", 5.0)
TIER = TierPlan("runtime", "v1", "v2", 2, 5.0, REHEARSAL)
PLAN = Plan(SavedPlan("0123456789ab", {"runtime": "v2"}, None, {}), (TIER,), 7, (), (), ())
DISK = {"runtime": {"v1": 1_000_000, "v2": 2_000_000}}


def passing(outcome: UploadOutcome, left: float | None = 600.0, instance: str | None = "runtime-v1-1") -> PassingUpload:
    return PassingUpload("runtime", instance, Upload(1_000_000, 50_000_000, 10.0), 12.0, left, outcome)


def test_times_count_from_the_start_of_the_whole() -> None:
    (tier,) = data(PLAN, {}, 8192)["tiers"]
    assert (tier["starts_at_seconds"], tier["seconds"], tier["lower_bound_seconds"]) == (5.0, 40.0, 20.0)
    assert [step["at_seconds"] for step in tier["steps"]] == [5.0, 5.0, 17.0, 45.0]


def test_buffered_bodies_take_the_larger_template_for_each_instance_that_exists_at_once() -> None:
    (tier,) = data(PLAN, DISK, 8192)["tiers"]
    assert tier["buffered_bytes_limit"] == 3 * 2_000_000
    assert "runtime buffers bodies on disk: 3 instances x 2.0 MB = 6.0 MB." in shown(picture(PLAN, DISK, 8192))
    assert "buffers bodies" not in shown(picture(PLAN, {}, 8192))


def test_the_connections_that_the_load_balancer_can_hold_are_shown() -> None:
    assert "can hold 1,982 connections at once, over all tiers." in shown(picture(PLAN, {}, 1982))
    assert "It is not known how many connections" in shown(picture(PLAN, {}, None))
    assert data(PLAN, {}, 1982)["max_connections"] == 1982


def test_vms_that_are_being_deleted_are_counted_unless_the_next_one_waits_for_them() -> None:
    steps = (
        Planned(0.0, "create", "v2", "runtime-v2-3"),
        Planned(10.0, "stop", "v1", "runtime-v1-1"),
        Planned(10.0, "create", "v2", "runtime-v2-4"),
        Planned(30.0, "stop", "v1", "runtime-v1-2"),
    )
    rehearsal = replace(REHEARSAL, planned=steps, peak=3)
    google = replace(TIER, rehearsal=rehearsal, deletion=360.0)
    quick = replace(google, deletion=5.0)
    waits = replace(google, counts_deleting=True)
    assert [one.machines for one in (TIER, google, quick, waits)] == [3, 4, 4, 3]
    text = shown(picture(replace(PLAN, tiers=(google,)), {}, None))
    assert "up to 6m to delete a VM of runtime" in text
    assert "at most 4 VMs exist at once" in text
    assert "It is not known how many connections" not in text
    assert "update.count_deleting" in shown(picture(replace(PLAN, tiers=(waits,)), {}, None))


def test_the_calls_of_a_roll_stand_beside_their_quota_and_too_many_are_a_warning() -> None:
    within = replace(PLAN, tiers=(replace(TIER, calls=CallRate(264, 1500, 0.9)),))
    text = shown(picture(within, {}, None))
    assert "The roll of runtime makes at most 264 calls per minute to the Compute API; the default quota" in text
    assert "Warning" not in text
    (tier,) = data(within, {}, None)["tiers"]
    assert (tier["calls_per_minute"], tier["calls_quota"]) == (264, 1500)
    over = shown(picture(replace(PLAN, tiers=(replace(TIER, calls=CallRate(6600, 1500, 0.9)),)), {}, None))
    assert "Warning: The roll of runtime makes at most 6,600 calls per minute" in over
    assert "set `platform.look` to 0.9s" in over
    assert data(PLAN, {}, None)["tiers"][0]["calls_per_minute"] is None
    assert "Compute API" not in shown(picture(PLAN, {}, None))


def test_a_rollout_that_never_ends_has_no_duration() -> None:
    endless = replace(PLAN, tiers=(replace(TIER, rehearsal=replace(REHEARSAL, outcome="held up")),))
    assert (data(endless, {}, 8192)["seconds"], data(endless, {}, 8192)["tiers"][0]["seconds"]) == (None, None)
    assert "until its uploads end" in shown(picture(endless, {}, 8192))


def test_a_plan_without_a_step_has_no_id_and_names_what_runs() -> None:
    nothing = replace(PLAN, tiers=())
    assert data(nothing, {}, 8192)["id"] is None
    assert shown(picture(nothing, {}, 8192)) == "runtime already runs v2. Nothing to do."


def test_steps_of_a_kind_at_one_time_are_one_row() -> None:
    text = shown(picture(PLAN, {}, 8192))
    assert "5s │ runtime │ create v2 │ runtime-v2-3, runtime-v2-4" in text
    assert "17s │ runtime │ wait for hooks │" in text
    assert "Not included: the wait for hooks (runtime)." in text
    assert text.endswith(
        "Execute it with `changeover roll --plan 0123456789ab`. That is refused if the chain has changed since."
    )


def test_an_upload_that_would_be_cut_is_counted_and_named() -> None:
    plan = replace(PLAN, uploads=(passing("cut"), passing("ends", 1.0)))
    assert data(plan, {}, 8192)["uploads_cut"] == 1
    text = shown(picture(plan, {}, 8192))
    assert "runtime │ runtime-v1-1 │ 1.0 MB of 50.0 MB │ 100.0 kB/s │ 10m │ 12s │ cut at the drain deadline" in text
    assert "1 of 2 uploads in flight would be cut. 1 end in time." in text


def test_an_upload_whose_end_is_not_known_has_none() -> None:
    plan = replace(PLAN, uploads=(passing("unknown", None, None), passing("held", inf)))
    assert [one["remaining_seconds"] for one in data(plan, {}, 8192)["uploads"]] == [None, None]
    text = shown(picture(plan, {}, 8192))
    assert "runtime │ any │ 1.0 MB of 50.0 MB │ 100.0 kB/s │ ? │ 12s │ unknown" in text
    assert "never ends │ 12s │ kept beyond the drain deadline" in text
    assert "0 of 2 uploads in flight would be cut." in text


def test_instances_that_report_no_requests_are_named() -> None:
    plan = replace(PLAN, silent=("runtime-v1-2",))
    assert data(plan, {}, 8192)["instances_without_counts"] == ["runtime-v1-2"]
    text = shown(picture(plan, {}, 8192))
    assert "No upload is in flight." in text
    assert "Requests in flight are unknown for: runtime-v1-2." in text


def test_several_tiers_have_a_line_for_the_whole() -> None:
    two = replace(PLAN, tiers=(TIER, replace(TIER, tier="edge", begins=45.0)))
    assert "together" in shown(picture(two, {}, 8192))
    assert "7 in total │ 40s │ 1m20s" in shown(picture(two, {}, 8192))


def test_a_step_that_a_pool_outlasts_is_warned_of() -> None:
    short = [ShortStep("runtime", "edge", 30.0, 60.0)]
    found = data(PLAN, {}, 8192, short)["steps_shorter_than_connections"]
    assert found == [{"tier": "runtime", "pool": "edge", "step_seconds": 30.0, "connection_seconds": 60.0}]
    assert "edge uses one for 1m. A step of 30s sees less than its share" in shown(picture(PLAN, {}, 8192, short))


def test_a_guard_that_may_compare_nothing_is_warned_of() -> None:
    plan = replace(PLAN, uncompared=(("runtime", "latency-not-worse"),))
    found = data(plan, {}, 8192)["guards_without_comparison"]
    assert found == [{"tier": "runtime", "guard": "latency-not-worse"}]
    assert "The rolling update of runtime may end before it has enough samples" in shown(picture(plan, {}, 8192))


def test_a_key_of_another_strategy_is_warned_of() -> None:
    plan = replace(PLAN, unread=(("runtime", "steps", "canary"),))
    assert data(plan, {}, 8192)["unused_settings"] == [{"tier": "runtime", "key": "update.steps", "strategy": "canary"}]
    assert "`update.steps` of runtime has no effect in this roll: `--strategy canary` uses it" in shown(
        picture(plan, {}, 8192)
    )


def test_long_lived_connections_are_named_with_their_number_and_age() -> None:
    plan = replace(PLAN, long_lived=(("runtime", "runtime-v1-2", LongLived(3, 300.0)),))
    assert "runtime-v1-2 (runtime) has 3 long-lived connections, the oldest 5m: its drain waits" in shown(
        picture(plan, {}, 100)
    )
